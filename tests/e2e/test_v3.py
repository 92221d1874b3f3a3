"""The 2026 generation on the deployed stack: a client of the official API, and one limit over both APIs."""

import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from sandbox.simulators import PEOPLE, api_secu
from sandbox.simulators.api_secu import FUNDS
from sandbox.town.demarches import SIRET
from sandbox.town.identite import identity_of
from tests.integration.dss.test_dss_random_people import MAKE
from tests.support.api_secu import SCOPES, Gate
from tests.support.stack import Stack
from tests.support.wire import serve

PEOPLE_BY_NAME = {person.nom_naissance: person for person in api_secu.personnes(PEOPLE / "assures.toml")}


class ApiError(Exception):
    """An error of the official API, as its clients know it: by its status alone, and the first object of the body."""

    def __init__(self, response: requests.Response) -> None:
        first = response.json()["errors"][0]
        self.status, self.code, self.title = response.status_code, first["code"], first["title"]
        self.source, self.meta = first.get("source"), first["meta"]
        reset = response.headers.get("RateLimit-Reset")
        self.wait = int(reset) if reset else self.meta.get("retry_in")
        super().__init__(f"{self.status} {self.code}")


class NotFound(ApiError): ...


class Unprocessable(ApiError): ...


class RateLimited(ApiError): ...


_BY_STATUS = {404: NotFound, 422: Unprocessable, 429: RateLimited}


@dataclass(frozen=True)
class OfficialClient:
    """A client written for the official API: nothing here is of this project, but ``base_url``."""

    base_url: str
    token: str
    recipient: str

    def get(self, benefit: str, identity: Mapping[str, Any]) -> Any:
        """Return the ``data`` of an answer; raise an ``ApiError``."""
        response = requests.get(
            f"{self.base_url}/v3/dss/{benefit}/identite",
            {**identity, "recipient": self.recipient},
            headers={"Authorization": f"Bearer {self.token}", "Accept": "application/json"},
            timeout=60,
        )
        assert response.headers["Content-Type"] == "application/vnd.api+json"
        if response.ok:
            return response.json()["data"]
        raise _BY_STATUS.get(response.status_code, ApiError)(response)


def identity(name: str) -> dict[str, Any]:
    return identity_of(PEOPLE_BY_NAME[name])


@pytest.fixture(scope="module")
def official(stack: Stack) -> OfficialClient:
    return OfficialClient(stack.description["v3_url"], stack.api_key, SIRET)


def test_a_client_of_the_official_api_reads_a_quotient_and_a_right(official: OfficialClient) -> None:
    quotient = official.get("quotient_familial", identity("DELMAS"))["quotient_familial"]
    assert (quotient["fournisseur"], quotient["valeur"]) == ("CNAF", 842)
    right = official.get("complementaire_sante_solidaire", identity("D'ARMOR"))
    assert right == {"est_beneficiaire": True, "avec_participation": False, "date_debut_droit": "2027-01-01"}


def test_a_client_of_the_official_api_understands_a_404_and_a_422(official: OfficialClient) -> None:
    with pytest.raises(NotFound) as absent:
        official.get("quotient_familial", identity("VASSEUR"))
    assert (absent.value.code, absent.value.meta["provider"]) == ("35003", "CNAF & MSA")
    with pytest.raises(Unprocessable) as wrong:
        official.get("quotient_familial", identity("DELMAS") | {"moisDateNaissance": "13"})
    assert (wrong.value.code, wrong.value.source) == ("00363", {"parameter": "anneeDateNaissance"})
    with pytest.raises(Unprocessable) as unknown:
        official.get("allocation_rentree_scolaire", identity("DELMAS") | {"nomNaissance": "INCONNUE"})
    assert unknown.value.code == "36560"


def test_sixty_calls_over_both_apis_share_one_limit_and_each_api_refuses_in_its_form(stack: Stack) -> None:
    key = stack.issue_key("cnaf_quotient_familial")["key"]
    official = OfficialClient(stack.description["v3_url"], key, SIRET)
    stack.get("/introspect", key=key)

    def call(number: int) -> requests.Response | ApiError | None:
        if number % 2:
            return stack.get("/introspect", key=key)
        try:
            official.get("quotient_familial", identity("DELMAS"))
        except ApiError as error:
            return error
        return None

    refused_v2, refused_v3 = list[requests.Response](), list[ApiError]()
    with ThreadPoolExecutor(20) as pool:
        for _ in range(10):  # on a slow machine the first rounds are spent starting functions
            answers = list(pool.map(call, range(60)))
            refused_v2 += [answer for answer in answers if isinstance(answer, requests.Response) and not answer.ok]
            refused_v3 += [answer for answer in answers if isinstance(answer, ApiError)]
            if refused_v2 and refused_v3:
                break
    assert {(answer.status_code, answer.json()["error"]) for answer in refused_v2} == {(429, "rate_limited")}
    assert {(type(error), error.code, error.wait) for error in refused_v3} == {(RateLimited, "00429", 1)}


@pytest.mark.parametrize("benefit", ["quotient_familial", "revenu_solidarite_active"])
def test_random_people_of_another_server_are_read_exactly_for_the_scopes_of_the_key(stack: Stack, benefit: str) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - fictional people
    draw, gate = random.Random(seed), Gate(headers={"X-APISECU-FD": FUNDS["CNAF"]})  # noqa: S311 - the same
    opened_by = {scopes: stack.issue_key(*scopes)["key"] for scopes in (SCOPES[benefit], SCOPES[benefit][1:2])}
    function = "Dss" + "".join(word.capitalize() for word in benefit.split("_"))
    with serve(gate) as url, stack.with_variables(function, API_SECU_URL=url):
        for _ in range(6):
            gate.body, opened = MAKE[benefit](draw)
            for scopes, key in opened_by.items():
                expected: dict[str, Any] = {}
                for scope in scopes:
                    expected |= opened[scope]
                official = OfficialClient(stack.description["v3_url"], key, SIRET)
                assert official.get(benefit, identity("GARREC")) == expected, f"seed {seed}"
    asked = gate.questions[-1]
    assert asked.headers["X-APIPART-FSFINAL"] == SIRET
    assert gate.asked["listePrenoms"] == "LOIC"  # in plain letters
