"""Hold the simulator against the service's OpenAPI, and both interfaces against each other."""

import json
from collections.abc import Mapping
from os import environ
from typing import Any
from urllib.parse import parse_qsl

import pytest
from openapi_schema_validator import OAS30Validator

from sandbox.simulators import PEOPLE, svair
from sandbox.simulators.svair import Person
from tests.support import wire
from tests.support.function import Response, call_api, new_environment, shorten_timeouts
from tests.support.impot_particulier import PATH, PERSON, SITUATION, ImpotParticulier
from tests.support.template import ROOT

OPENAPI = (ROOT / environ.get("REFERENCE_DATA", "../shared/data")).resolve() / "openapi" / "api-impot-particulier.json"

# ── Both interfaces ──────────────────────────────────────────────────────────────────────────────────────────────────

TAXES = {"montantImpot", "impotRevenuNetAvantCorrections"}
NOT_GIVEN = {"erreurCorrectif", "situationPartielle"}
"""Fields of a notice that this service does not have."""


def paths(body: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in body.items():
        flat |= paths(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


@pytest.mark.slow
@pytest.mark.parametrize("people", [svair.people(PEOPLE / "avis.toml")])
def test_both_interfaces_give_the_same_bodies_for_the_same_person(
    key: str, service: ImpotParticulier, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.url
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "2")
    events = ["avis_imposition/v2", "avis_imposition/v1", "declarants/v2", "revenu_fiscal_reference/v2"]
    events += ["adresse_fiscale/v2", "adresse_fiscale/v1"]
    slow_last = sorted(people, key=lambda person: person.reponse == "lent")
    calls = [(event, person) for person in slow_last for event in (events if person.reponse == "avis" else events[:1])]
    with wire.serve(svair.app_of(lambda: people)) as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        answers: dict[str, list[Response]] = {"svair": [], "impot_particulier": []}
        for provider, given in answers.items():
            with monkeypatch.context() as patched:
                patched.setenv("DGFIP_PROVIDER", provider)
                new_environment()
                for event, person in calls:
                    if person.reponse == "lent":
                        shorten_timeouts(patched)
                    given.append(
                        call_api(event, key=key, numeroFiscal=person.numero_fiscal, referenceAvis=person.reference_avis)
                    )
    compared = 0
    for printed, given, (_, person) in zip(*answers.values(), calls, strict=True):
        if person.reponse == "interdit":  # SVAIR refuses every call, this service the person
            assert (printed.status, given.status) == (503, 404)
            continue
        assert (printed.status, printed.body.get("error")) == (given.status, given.body.get("error"))
        if printed.status != 200:
            continue
        on_page, in_json = paths(printed.body), paths(given.body)
        # This service has the tax in figures, where a notice may print 0 or "Non imposable".
        on_page |= {name: None for name in TAXES & on_page.keys() if str(on_page[name])[:1] in "-0"}
        shared = on_page.keys() & in_json.keys()
        compared += len(shared)
        assert {name: in_json[name] for name in shared} == {name: on_page[name] for name in shared}
        # An empty cell and "Non imposable" have no counterpart in this service.
        lost = {name for name in on_page.keys() - in_json.keys() if on_page[name] not in {None, ""}}
        assert lost <= NOT_GIVEN
        assert in_json.keys() - on_page.keys() <= {"foyerFiscal.annee", "annee", "dateReference"}
    assert compared > 300


# ── The simulator and the OpenAPI of the service ─────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    if not OPENAPI.exists():
        pytest.skip(f"no {OPENAPI}: set REFERENCE_DATA")
    read: dict[str, Any] = json.loads(OPENAPI.read_text())
    return read


@pytest.mark.parametrize("people", [[*svair.people(PEOPLE / "avis.toml"), PERSON]])
def test_the_simulator_responds_according_to_the_openapi_of_the_service(
    key: str, service: ImpotParticulier, people: list[Person], openapi: dict[str, Any]
) -> None:
    operation = openapi["paths"]["/spi/{spi}/situations/ir/assiettes/annrev/{annrev}"]["get"]
    [(media_type, described)] = operation["responses"]["200"]["content"].items()
    schema = {**described["schema"], "components": openapi["components"]}
    names = openapi["components"]["schemas"]["SituationsIRAssiettesJAXBbean"]["properties"].keys()
    call_api("avis_imposition/v2", key=key)  # for its token
    headers = {name: value for name, value in service.requests[-1].headers.items() if name != "Host"}
    client = service.simulator.test_client()
    seen = set()
    for person in people:
        if person.reponse != "avis":
            continue
        path = f"/impotparticulier/1.0/spi/{person.numero_fiscal}/situations/ir/assiettes/annrev/{person.annee_revenus}"
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.mimetype) == (200, media_type)
        OAS30Validator(schema).validate(answer.json)
        assert answer.json is not None
        assert answer.json.keys() <= names
        seen |= answer.json.keys()
    assert seen == SITUATION.keys()


def test_the_simulator_accepts_requests_according_to_the_openapi_of_the_service(
    key: str, service: ImpotParticulier, openapi: dict[str, Any]
) -> None:
    flow = openapi["components"]["securitySchemes"]["Authorization"]["flows"]["clientCredentials"]
    call_api("avis_imposition/v2", key=key)
    granting, question = service.requests
    assert flow["tokenUrl"].endswith(granting.path)
    assert dict(parse_qsl(granting.get_data(as_text=True)))["scope"] in flow["scopes"]
    parameters = openapi["components"]["parameters"]
    for name in ("paramAuthorization", "paramXCorrelationID", "paramIdTeleservice"):
        OAS30Validator(parameters[name]["schema"]).validate(question.headers[parameters[name]["name"]])
    good = {name: value for name, value in question.headers.items() if name != "Host"}
    client = service.simulator.test_client()
    for headers, status in [
        (good, 200),
        (good | {"Authorization": "Bearer x"}, 401),
        ({name: value for name, value in good.items() if name != "Authorization"}, 401),
        (good | {"X-Correlation-Id": "x"}, 400),
        (good | {"Id-Teleservice": "x"}, 403),
    ]:
        assert client.get(PATH, headers=headers).status_code == status
    assert client.get(PATH.replace("2690000000001", "x"), headers=good).status_code == 400
