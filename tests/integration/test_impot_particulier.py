"""API Impôt particulier as the tax service's other interface (docs/decisions/0007-impot-particulier.md)."""

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import environ
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from uuid import UUID

import boto3
import pytest
from flask import Flask
from openapi_schema_validator import OAS30Validator
from pydantic import ValidationError
from werkzeug.wrappers import Request

from api_particulier.settings import settings
from sandbox import impot_particulier, svair
from sandbox.simulators import PEOPLE
from sandbox.svair import Person
from tests import wire
from tests.conftest import EVERY_SCOPE, Cloud, ask, forget
from tests.integration.conftest import NOTICE
from tests.template import ROOT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

NUMBERS = {"numeroFiscal": "2690000000001", "referenceAvis": "2690000000001"}
PATH = "/impotparticulier/1.0/spi/2690000000001/situations/ir/assiettes/annrev/2025"
_NOT_TOLD = {"erreurCorrectif", "situationPartielle"}
BODY = {name: value for name, value in NOTICE.items() if name not in _NOT_TOLD} | {"montantImpot": 0}
_DERIVED = {"foyerFiscal", "anneeImpots", "anneeRevenus"}
PERSON = Person.model_validate(
    {name: value for name, value in BODY.items() if name not in _DERIVED}
    | NUMBERS
    | {"adresse": ["BAT C", "3 allée des Frênes", "01234 BOURG-EXEMPLE"]}
)
SITUATION = impot_particulier.situation_of(PERSON)
OPENAPI = (ROOT / environ.get("REFERENCE_DATA", "../shared/data")).resolve() / "openapi" / "api-impot-particulier.json"


@dataclass
class Service:
    """The simulated service, what it was asked, and what it is told to answer instead."""

    simulated: Flask
    url: str = ""
    asked: list[Request] = field(default_factory=list)
    instead: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """A status and a body for each path that is not to answer as it should."""

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Any:
        """Answer, as a WSGI application."""
        request = Request(environ)
        request.get_data(cache=True)
        self.asked.append(request)
        if request.path in self.instead:
            status, content = self.instead[request.path]
            start(f"{status} Status", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
            return [content]
        environ["wsgi.input"].seek(0)
        return self.simulated(environ, start)

    def says(self, situation: object) -> None:
        self.instead[PATH] = 200, json.dumps(situation).encode()

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.asked]


@pytest.fixture
def everybody() -> list[Person]:
    return [PERSON]


@pytest.fixture
def service(cloud: Cloud, everybody: list[Person], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The service, which knows our client, and is the one that is configured."""
    assert cloud.tokens.name
    made = Service(impot_particulier.app_of(lambda: everybody))
    boto3.client("secretsmanager").create_secret(Name="client", SecretString=json.dumps(impot_particulier.CLIENT))
    with wire.serve(made) as made.url:
        monkeypatch.setenv("DGFIP_PROVIDER", "impot_particulier")
        monkeypatch.setenv("IMPOT_PARTICULIER_URL", made.url)
        monkeypatch.setenv("IMPOT_PARTICULIER_SECRET_ID", "client")
        monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")  # a test of 2026 passes in 2036
        yield made


@pytest.fixture
def key(cloud: Cloud, service: Service) -> str:
    assert service.url
    return cloud.token(*EVERY_SCOPE)


def put_secret(value: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="client", SecretString=value)


# ── The question ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_notice_is_told_in_the_contract_s_words_and_order(key: str) -> None:
    for generation in ("v2", "v1"):
        answer = ask(f"avis_imposition/{generation}", key=key)
        assert (answer.status, answer.body) == (200, BODY)
        assert list(answer.body) == list(BODY)


def test_the_year_of_income_is_asked_with_a_token_a_correlation_and_our_number(key: str, service: Service) -> None:
    ask("avis_imposition/v2", key=key)
    granting, question = service.asked
    assert (granting.method, granting.path) == ("POST", "/token")
    kind, _, secret = granting.headers["Authorization"].partition(" ")
    assert (kind, b64decode(secret)) == ("Basic", b"bac-a-sable:le-secret-du-bac-a-sable")
    assert dict(parse_qsl(granting.get_data(as_text=True))) == {
        "grant_type": "client_credentials",
        "scope": "RessourceIR",
    }
    assert (question.method, question.path, question.query_string) == ("GET", PATH, b"")
    assert question.headers["Authorization"].partition(" ")[2] in service.simulated.config["TOKENS"]
    assert question.headers["ID_Teleservice"] == impot_particulier.CLIENT["id_teleservice"]
    assert UUID(question.headers["X-Correlation-ID"]).version == 4


def test_each_question_has_a_correlation_of_its_own(key: str, service: Service) -> None:
    for _ in range(3):
        ask("avis_imposition/v2", key=key)
    assert len({request.headers.get("X-Correlation-ID") for request in service.asked if request.path == PATH}) == 3


def test_one_token_serves_many_questions(key: str, service: Service) -> None:
    for _ in range(3):
        ask("avis_imposition/v2", key=key)
    assert service.paths == ["/token", PATH, PATH, PATH]


def test_a_token_is_not_used_when_it_is_about_to_expire(key: str, service: Service) -> None:
    service.simulated.config["TOKEN_SECONDS"] = 20
    for _ in range(2):
        assert ask("avis_imposition/v2", key=key).status == 200
    assert service.paths == ["/token", PATH] * 2


def test_a_token_that_the_service_forgot_is_asked_for_again(key: str, service: Service) -> None:
    assert ask("avis_imposition/v2", key=key).status == 200
    service.simulated.config["TOKENS"].clear()
    assert ask("avis_imposition/v2", key=key).body == BODY
    assert ask("avis_imposition/v2", key=key).body == BODY
    assert service.paths == ["/token", PATH, PATH, "/token", PATH, PATH]


def test_a_service_that_accepts_no_token_is_asked_twice_and_no_more(key: str, service: Service) -> None:
    service.instead[PATH] = 401, b"{}"
    answer = ask("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == (503, "rate_limited")
    assert answer.headers["Retry-After"]
    assert service.paths == ["/token", PATH] * 2


@pytest.mark.parametrize("suffix", ["/", "/impotparticulier/1.0", "/impotparticulier/1.0/"])
def test_the_address_may_be_that_of_the_gateway_or_of_the_service(
    key: str, service: Service, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("IMPOT_PARTICULIER_URL", f"{service.url}{suffix}")
    assert ask("avis_imposition/v2", key=key).body == BODY


# ── Who we are ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_that_is_refused_is_read_again_at_the_next_question(key: str) -> None:
    put_secret(json.dumps(impot_particulier.CLIENT | {"client_secret": "ancien"}))
    refused = ask("avis_imposition/v2", key=key)
    assert (refused.status, refused.body["error"]) == (503, "rate_limited")
    put_secret(json.dumps(impot_particulier.CLIENT))
    assert ask("avis_imposition/v2", key=key).status == 200


@pytest.mark.parametrize(
    "secret", ["", "x", "[]", "{}", json.dumps({"client_id": "a", "client_secret": "b"}), '{"client_id": 1}']
)
def test_a_secret_that_is_not_filled_is_our_own_error_and_tells_nothing(
    key: str, service: Service, capfd: pytest.CaptureFixture[str], secret: str
) -> None:
    put_secret(secret or " ")
    answer = ask("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == (500, "internal_server_error")
    assert service.asked == []
    assert '"exception": "ValidationError"' in "".join(capfd.readouterr())


def test_a_secret_that_does_not_exist_is_our_own_error(
    key: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPOT_PARTICULIER_SECRET_ID", "another")
    assert ask("avis_imposition/v2", key=key).body["error"] == "internal_server_error"
    assert service.asked == []


@pytest.mark.parametrize("missing", ["IMPOT_PARTICULIER_URL", "IMPOT_PARTICULIER_SECRET_ID"])
@pytest.mark.parametrize("value", [None, ""])
def test_the_service_is_not_configured_by_halves(
    service: Service, monkeypatch: pytest.MonkeyPatch, missing: str, value: str | None
) -> None:
    assert service.url
    if value is None:
        monkeypatch.delenv(missing)
    else:
        monkeypatch.setenv(missing, value)
    with pytest.raises(ValidationError):
        settings()


@pytest.mark.parametrize("url", ["http://impots.exemple.fr", "http://10.0.0.1", "ftp://127.0.0.1", "impots.exemple.fr"])
def test_the_service_is_not_asked_in_clear(service: Service, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert service.url
    monkeypatch.setenv("IMPOT_PARTICULIER_URL", url)
    with pytest.raises(ValidationError):
        settings()


# ── What it cannot give, or will not ─────────────────────────────────────────────────────────────────────────────────


def refusal(message: str, codeapp: object = None) -> bytes:
    return json.dumps({"erreur": {"message": message} | ({"codeapp": codeapp} if codeapp else {})}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (204, b"", (404, "not_found")),
        (404, refusal("aucune situation"), (404, "not_found")),
        (410, refusal("", "4102"), (404, "not_found")),
        (400, refusal("format SPI incorrect"), (404, "not_found")),
        (400, refusal("", "4001"), (404, "not_found")),
        (400, refusal("", 4001), (404, "not_found")),
        (400, refusal("X-Correlation-ID incorrect"), (502, "invalid_response")),
        (400, b"Bad Request", (502, "invalid_response")),
        (400, b'{"rfr": 1}', (502, "invalid_response")),
        (301, b"{}", (502, "invalid_response")),
        (406, b"{}", (502, "invalid_response")),
        (403, refusal("accès refusé", "4031"), (503, "rate_limited")),
        (429, b"{}", (503, "rate_limited")),
        (500, b"{}", (503, "network_error")),
        (503, b"{}", (503, "network_error")),
    ],
)
def test_a_refusal_has_its_meaning(
    key: str, service: Service, status: int, body: bytes, expected: tuple[int, str]
) -> None:
    service.instead[PATH] = status, body
    answer = ask("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"error": "invalid_scope"}', (503, "rate_limited")),
        (400, b"<html>", (502, "invalid_response")),
        (401, b'{"error": "invalid_client"}', (503, "rate_limited")),
        (401, b"", (503, "rate_limited")),
        (403, b"{}", (503, "rate_limited")),
        (429, b"{}", (503, "rate_limited")),
        (404, b"{}", (502, "invalid_response")),
        (302, b"{}", (502, "invalid_response")),
        (500, b"{}", (503, "network_error")),
        (200, b"", (502, "invalid_response")),
        (200, b"<html>", (502, "invalid_response")),
        (200, b"[]", (502, "invalid_response")),
        (200, b'{"access_token": "a"}', (502, "invalid_response")),
        (200, b'{"access_token": "", "token_type": "Bearer"}', (502, "invalid_response")),
        (200, b'{"access_token": "a\\r\\nX-A: b", "token_type": "Bearer"}', (502, "invalid_response")),
        (200, b'{"access_token": "\\u00e9", "token_type": "Bearer"}', (502, "invalid_response")),
        (200, b'{"access_token": 1, "token_type": "Bearer"}', (502, "invalid_response")),
        (200, b'{"access_token": "a", "token_type": "mac"}', (502, "invalid_response")),
        (200, b'{"access_token": "a", "token_type": "Bearer", "expires_in": -1}', (502, "invalid_response")),
        (200, b'{"access_token": "a", "token_type": "Bearer", "expires_in": "x"}', (502, "invalid_response")),
    ],
)
def test_without_a_token_nobody_is_asked_about(
    key: str, service: Service, status: int, body: bytes, expected: tuple[int, str]
) -> None:
    service.instead["/token"] = status, body
    answer = ask("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == expected
    assert service.paths == ["/token"]


def test_a_token_that_does_not_say_how_long_it_lives_serves_one_question(key: str, service: Service) -> None:
    service.simulated.config["TOKENS"]["a"] = float("inf")
    service.instead["/token"] = 200, b'{"access_token": "a", "token_type": "bearer"}'
    for _ in range(2):
        assert ask("avis_imposition/v2", key=key).status == 200
    assert service.paths == ["/token", PATH] * 2


GRANTED = wire.response(b'{"access_token": "a", "token_type": "Bearer", "expires_in": 3600}')


def reset(connection: Any, _: Any) -> None:
    connection.shutdown(2)


def wait(_: Any, over: Any) -> None:
    over.wait()


def cut_short(connection: Any, _: Any) -> None:
    connection.sendall(wire.response(b'{"rfr": 1', headers={"Content-Length": "999"}))


def drip(connection: Any, over: Any) -> None:
    connection.sendall(wire.response(b"", headers={"Content-Length": "999"}))
    while not over.wait(wire.DRIP_SECONDS):
        connection.sendall(b" ")


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        (reset, (503, "network_error")),
        (wait, (503, "network_error")),
        (drip, (503, "network_error")),
        (cut_short, (502, "invalid_response")),
    ],
)
@pytest.mark.usefixtures("service")
def test_a_service_that_grants_a_token_and_then_fails_is_answered_as_any_other(
    key: str, monkeypatch: pytest.MonkeyPatch, fail: wire.Conversation, expected: tuple[int, str]
) -> None:
    """The failures of every provider (``tests/contract/test_provider_failures.py``) do not come that far."""

    def talk(connection: Any, over: Any) -> None:
        while request := wire.read_request(connection):
            if not request.startswith(b"POST /token "):
                return fail(connection, over)
            connection.sendall(GRANTED)
        return None

    with wire.converse(talk) as url:
        monkeypatch.setenv("IMPOT_PARTICULIER_URL", url)
        answer = ask("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == expected


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "HTML": b"<!doctype html><title>Maintenance</title>",
    "another encoding": json.dumps(SITUATION, ensure_ascii=False).encode("latin-1"),
    "a truncated document": json.dumps(SITUATION).encode()[:-1],
    "a bottomless document": b'{"rev":' + b"[" * 100_000,
    "a list": json.dumps([SITUATION]).encode(),
    "null": b"null",
    "nothing known": b'{"fipNum": "1"}',
    **{
        f"{name}: {json.dumps(value)[:20]}": json.dumps(SITUATION | {name: value}).encode()
        for name, value in [
            ("rfr", "39119"),
            ("rfr", 39119.5),
            ("rfr", True),
            ("rfr", 10**400),
            ("montTotIr", []),
            ("nbPart", "2.5"),
            ("nbPart", -1),
            ("nbPart", float("nan")),
            ("nbPart", float("inf")),
            ("sitFam", "Z"),
            ("sitFam", 1),
            ("pac", 1),
            ("pac", {"nbPac": 1.5}),
            ("pac", {"nbPac": -1}),
            ("nmNaiDec1", ["A"]),
            ("nmNaiDec1", "\ud800"),
            ("dateNaisDec1", "02/05/1971"),
            ("dateNaisDec1", {"jour": "02", "mois": "mai", "annee": "1971"}),
            ("dateNaisDec1", {"jour": "02"}),
            ("dateNaisDec1", {"jour": 2, "mois": 5, "annee": 1971}),
            ("datRec", "hier"),
            ("datEtab", 20260708),
            ("datEtab", "٢٠٢٦-٠٧-٠٨"),
            ("aft", {"voie": "x"}),
        ]
    },
}


@pytest.mark.parametrize("what", MALFORMED)
def test_an_answer_that_is_anything_else_is_not_understood(key: str, service: Service, what: str) -> None:
    service.instead[PATH] = 200, MALFORMED[what]
    answer = ask("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == (502, "invalid_response")


# ── The notice's reference ───────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_of_the_reference_but_its_year_can_be_checked(key: str) -> None:
    """The service is not asked with it and does not return it (docs/decisions/0007-impot-particulier.md)."""
    other, another_year = "26ZZZZZZZZZZZ", "2590000000001"
    spi = NUMBERS["numeroFiscal"]
    assert ask("avis_imposition/v2", key=key, numeroFiscal=spi, referenceAvis=other).body == BODY
    assert ask("avis_imposition/v2", key=key, numeroFiscal=spi, referenceAvis=another_year).status == 404


@pytest.mark.parametrize(("established", "status"), [("2025-12-31", 404), ("2026-01-01", 200), ("2027-03-01", 200)])
def test_a_notice_made_before_the_year_of_its_reference_is_another_notice(
    key: str, service: Service, established: str, status: int
) -> None:
    service.says(SITUATION | {"datEtab": established})
    assert ask("avis_imposition/v2", key=key).status == status


def test_a_year_that_cannot_be_had_is_refused_before_anybody_is_asked(
    key: str, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "1")
    old = ask("avis_imposition/v2", key=key, numeroFiscal="2690000000001", referenceAvis="1990000000001")
    assert old.status == 404
    assert service.asked == []


# ── What it says ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("written", ["2026-07-31", "2026-07-31T00:00:00.000+02:00", "20260731", "31/07/2026"])
def test_a_date_is_read_however_it_is_written(key: str, service: Service, written: str) -> None:
    service.says(SITUATION | {"datRec": written})
    assert ask("avis_imposition/v2", key=key).body["dateRecouvrement"] == "31/07/2026"


def test_a_date_of_birth_is_written_in_full(key: str, service: Service) -> None:
    service.says(SITUATION | {"dateNaisDec1": {"jour": "2", "mois": "5", "annee": "1971"}})
    assert ask("declarants/v2", key=key).body["declarant1"]["dateNaissance"] == "02/05/1971"


@pytest.mark.parametrize(("number", "told"), [(2, "2"), (2.0, "2"), (2.5, "2.5"), (1.25, "1.25"), (0, "0")])
def test_a_whole_number_of_parts_is_whole(key: str, service: Service, number: float, told: str) -> None:
    service.says(SITUATION | {"nbPart": number})
    assert f'"nombreParts":{told},' in ask("revenu_fiscal_reference/v2", key=key).text


@pytest.mark.parametrize("missing", [None, "absent"])
def test_what_is_not_given_is_absent(key: str, service: Service, missing: str | None) -> None:
    known = {"rfr", "nmNaiDec1"}
    service.says({name: value if name in known else None for name, value in SITUATION.items()})
    if missing:
        service.says({name: value for name, value in SITUATION.items() if name in known})
    assert ask("avis_imposition/v2", key=key).body == {
        "declarant1": {"nomNaissance": "CHARME"},
        "declarant2": dict.fromkeys(("nom", "nomNaissance", "prenoms", "dateNaissance"), ""),
        "revenuFiscalReference": 39119,
        "foyerFiscal": {"annee": 2026},
        "anneeImpots": "2026",
        "anneeRevenus": "2025",
    }


def test_an_amount_of_nothing_is_nothing_and_not_null(key: str, service: Service) -> None:
    service.says(SITUATION | {"montTotIr": 0, "impAvImput": -1350})
    body = ask("avis_imposition/v2", key=key).body
    assert (body["montantImpot"], body["impotRevenuNetAvantCorrections"]) == (0, -1350)


def test_what_is_not_used_of_an_answer_is_not_read(key: str, service: Service) -> None:
    service.says(SITUATION | {"rev": "?", "sitPart": 1, "pac": {"nbPac": 1, "nbPacF": "x"}, "numRole": [], "new": {}})
    assert ask("avis_imposition/v2", key=key).body == BODY


# ── Both interfaces ──────────────────────────────────────────────────────────────────────────────────────────────────

NOT_GIVEN = {"erreurCorrectif", "situationPartielle"}
"""What a notice says that this service has not."""


def paths(body: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in body.items():
        flat |= paths(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


@pytest.mark.parametrize("everybody", [svair.people(PEOPLE / "avis.toml")])
def test_the_same_person_gives_the_same_bodies_through_both_interfaces(
    key: str, service: Service, everybody: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.url
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "2")
    monkeypatch.setenv("PROVIDER_READ_TIMEOUT", "0.3")
    events = ["avis_imposition/v2", "avis_imposition/v1", "declarants/v2", "revenu_fiscal_reference/v2"]
    events += ["adresse_fiscale/v2", "adresse_fiscale/v1"]
    questions = [(event, one) for one in everybody for event in (events if one.reponse == "avis" else events[:1])]
    with wire.serve(svair.app_of(lambda: everybody)) as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        answers = {}
        for provider in ("svair", "impot_particulier"):
            monkeypatch.setenv("DGFIP_PROVIDER", provider)
            forget()
            answers[provider] = [
                ask(event, key=key, numeroFiscal=one.numero_fiscal, referenceAvis=one.reference_avis)
                for event, one in questions
            ]
    told = 0
    for printed, given in zip(answers["svair"], answers["impot_particulier"], strict=True):
        assert (printed.status, printed.body.get("error")) == (given.status, given.body.get("error"))
        if printed.status != 200:
            continue
        on_page, in_json = paths(printed.body), paths(given.body)
        shared = on_page.keys() & in_json.keys()
        told += len(shared)
        assert {name: in_json[name] for name in shared} == {name: on_page[name] for name in shared}
        # What the page says without a value, or in words ("Non imposable"), is no value to give.
        lost = {name for name in on_page.keys() - in_json.keys() if on_page[name] not in {None, ""}}
        assert lost <= NOT_GIVEN
        assert in_json.keys() - on_page.keys() <= {"foyerFiscal.annee", "annee", "dateReference"}
    assert told > 300


# ── The simulator, by the service's own description ──────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    if not OPENAPI.exists():
        pytest.skip(f"no {OPENAPI}: set REFERENCE_DATA")
    read: dict[str, Any] = json.loads(OPENAPI.read_text())
    return read


@pytest.mark.parametrize("everybody", [[*svair.people(PEOPLE / "avis.toml"), PERSON]])
def test_the_simulator_answers_as_the_service_describes_itself(
    key: str, service: Service, everybody: list[Person], openapi: dict[str, Any]
) -> None:
    operation = openapi["paths"]["/spi/{spi}/situations/ir/assiettes/annrev/{annrev}"]["get"]
    [(media_type, described)] = operation["responses"]["200"]["content"].items()
    schema = {**described["schema"], "components": openapi["components"]}
    names = openapi["components"]["schemas"]["SituationsIRAssiettesJAXBbean"]["properties"].keys()
    ask("avis_imposition/v2", key=key)  # for its token
    headers = {name: value for name, value in service.asked[-1].headers.items() if name != "Host"}
    client = service.simulated.test_client()
    seen = set()
    for one in everybody:
        if one.reponse != "avis":
            continue
        path = f"/impotparticulier/1.0/spi/{one.numero_fiscal}/situations/ir/assiettes/annrev/{one.annee_revenus}"
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.mimetype) == (200, media_type)
        OAS30Validator(schema).validate(answer.json)
        assert answer.json is not None
        assert answer.json.keys() <= names
        seen |= answer.json.keys()
    assert seen == SITUATION.keys()


def test_the_simulator_takes_what_the_service_says_that_it_takes(
    key: str, service: Service, openapi: dict[str, Any]
) -> None:
    flow = openapi["components"]["securitySchemes"]["Authorization"]["flows"]["clientCredentials"]
    ask("avis_imposition/v2", key=key)
    granting, question = service.asked
    assert flow["tokenUrl"].endswith(granting.path)
    assert dict(parse_qsl(granting.get_data(as_text=True)))["scope"] in flow["scopes"]
    parameters = openapi["components"]["parameters"]
    for name in ("paramAuthorization", "paramXCorrelationID", "paramIdTeleservice"):
        OAS30Validator(parameters[name]["schema"]).validate(question.headers[parameters[name]["name"]])
    good = {name: value for name, value in question.headers.items() if name != "Host"}
    client = service.simulated.test_client()
    for headers, status in [
        (good, 200),
        (good | {"Authorization": "Bearer x"}, 401),
        ({name: value for name, value in good.items() if name != "Authorization"}, 401),
        (good | {"X-Correlation-Id": "x"}, 400),
        (good | {"Id-Teleservice": "x"}, 403),
    ]:
        assert client.get(PATH, headers=headers).status_code == status
    assert client.get(PATH.replace("2690000000001", "x"), headers=good).status_code == 400


# ── What leaves no trace, and the ping ───────────────────────────────────────────────────────────────────────────────


def test_who_is_asked_about_is_nowhere_in_logs_whatever_the_answer(
    cloud: Cloud, key: str, service: Service, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [ask("avis_imposition/v2", key=key)]
    for status in (204, 400, 401, 403, 404, 500):
        service.instead[PATH] = status, refusal("2690000000001")
        answers.append(ask("avis_imposition/v2", key=key))
    service.says(SITUATION | {"rfr": "TILLEUL"})
    answers.append(ask("avis_imposition/v2", key=key))
    forget()
    with wire.refusing() as url:
        monkeypatch.setenv("IMPOT_PARTICULIER_URL", url)
        answers.append(ask("avis_imposition/v2", key=key))
    written = "".join(capfd.readouterr()) + str(cloud.entries()) + "".join(one.text for one in answers[1:])
    assert "provider_failed" in written
    token = next(iter(service.simulated.config["TOKENS"]))
    for secret in ("2690000000001", "TILLEUL", "39119", "/spi/", token, *impot_particulier.CLIENT.values()):
        assert secret not in written


def test_a_ping_asks_for_a_token_and_for_nobody(key: str, service: Service) -> None:
    assert key
    assert ask("ping/dgfip").body == "pong"
    assert service.paths == ["/token"]


def test_a_ping_tells_that_the_service_does_not_know_us(service: Service) -> None:
    service.instead["/token"] = 401, b"{}"
    assert ask("ping/dgfip").status == 503
