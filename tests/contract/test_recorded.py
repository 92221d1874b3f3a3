"""Responses are those recorded from the server of 2020, except for the differences listed in ``deviations.toml``.

The simulated providers serve the people of the recorded responses, so that each call is replayed as a whole.
"""

import csv
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask
from lxml import etree

from sandbox.simulators import caf, svair
from tests.support.cloud import Cloud
from tests.support.function import Response, event, invoke
from tests.support.template import ROOT, resources
from tests.support.wire import serve

OLDEST_NOTICE: Final = 2010
"""The year of the oldest recorded notice, which no setting makes available by default."""
DATA: Final = ROOT / os.environ.get("REFERENCE_DATA", "../shared/data")

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the recorded responses are not in {DATA}; set REFERENCE_DATA to their folder"
)


# ── The providers of 2020 ─────────────────────────────────────────────────────────────────────────────────────────────


def _taxpayers() -> Iterator[svair.Person]:
    with (DATA / "dgfip-svair/taxpayers.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            numbers = row["id"].split("+")
            if [len(number) for number in numbers] == [
                13,
                13,
            ]:  # other numbers are now refused before the provider is called
                yield svair.Person(
                    numero_fiscal=numbers[0],
                    reference_avis=numbers[1],
                    annee_impots=int(row["anneeImpots"]),
                    annee_revenus=int(row["anneeRevenus"]),
                    declarant1=_declarant(row, "declarant1"),
                    declarant2=_declarant(row, "declarant2"),
                    adresse=(row["adress.ligne1"], row["adress.ligne2"]),
                    date_recouvrement=row["dateRecouvrement"],
                    date_etablissement=row["dateEtablissement"],
                    nombre_parts=row["nombreParts"],
                    situation_famille=row["situationFamiliale"],
                    nombre_personnes_charge=row["nombreDePersonneACharge"],
                    revenu_brut_global=row["revenuBrutGlobal"],
                    revenu_imposable=row["revenuImposable"],
                    impot_revenu_net_avant_corrections=row["impotsNetAvantCorrections"],
                    montant_impot=row["impots"],
                    revenu_fiscal_reference=row["revenuFiscalReference"],
                    erreur_correctif=row["erreurCorrectif"],
                    situation_partielle=row["situationPartielle"],
                )


def _declarant(row: Mapping[str, str], prefix: str) -> svair.Declarant:
    return svair.Declarant(
        nom=row[f"{prefix}.nom"],
        nom_naissance=row[f"{prefix}.nomNaissance"],
        prenoms=row[f"{prefix}.prenoms"],
        date_naissance=row[f"{prefix}.dob"],
    )


def _tax_service() -> Flask:
    people = list(_taxpayers())
    return svair.app_of(lambda: people)


def _families() -> Iterator[caf.Famille]:
    for recorded in json.loads((DATA / "cnaf-soap/families.json").read_text()):
        file = recorded["response"]
        quotient = caf.Quotient(
            quotient_familial=int(file["quotientFamilial"]), mois=int(file["mois"]), annee=int(file["annee"])
        )
        yield caf.Famille(
            numero_allocataire=recorded["numeroAllocataire"].zfill(7),
            code_postal=recorded["codePostal"],
            allocataires=[_person(person) for person in file["allocataires"]],
            enfants=[_person(person) for person in file["enfants"]],
            adresse=caf.Adresse(**file["adresse"]),
            quotients=[quotient],
        )


def _person(recorded: Mapping[str, str]) -> caf.Personne:
    # A few have further keys, which the responses never had.
    return caf.Personne(**{name: recorded.get(name) for name in ("nomPrenom", "dateDeNaissance", "sexe")})


def _family_fund() -> Flask:
    people = list(_families())
    return caf.app_of(lambda: people)


PROVIDERS: Final[Mapping[str, Callable[[], Flask]]] = {"DGFIP_SVAIR_URL": _tax_service, "CAF_URL": _family_fund}
"""The provider of 2020 for each setting of an address."""


# ── Recorded calls and their replay ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Line:
    """A recorded call with its response."""

    path: str
    query: dict[str, str]
    scopes: list[str] | None
    """The scopes of the key; None without a key."""
    accept: str
    status: int
    content_type: str
    body: Any


def _lines() -> list[Line]:
    return [Line(**json.loads(line)) for line in (DATA / "recorded-2020.jsonl").read_text().splitlines()]


@dataclass(frozen=True)
class Route:
    """A route that the template declares."""

    function: str
    event: str
    needs_key: bool


@lru_cache(maxsize=1)
def _routes() -> Mapping[str, Route]:
    events = {
        request["resource"]: f"{path.parent.name}/{path.stem}"
        for path in (ROOT / "events").glob("*/*.json")
        if "resource" in (request := json.loads(path.read_text()))  # events of streams have none
    }
    return {
        declared["Properties"]["Path"]: Route(
            Path(properties["CodeUri"]).name,
            events[declared["Properties"]["Path"]],
            needs_key=declared["Properties"].get("Auth", {}).get("ApiKeyRequired", True),
        )
        for properties in resources("AWS::Serverless::Function").values()
        for declared in properties.get("Events", {}).values()
        if declared["Type"] == "Api" and declared["Properties"]["Path"] in events
    }


def _gateway_response(kind: str) -> Response:
    """Return a response of the gateway itself, as declared in the template."""
    declared = resources("AWS::Serverless::Api")["Api"]["GatewayResponses"][kind]
    [(content_type, body)] = declared["ResponseTemplates"].items()
    return Response(declared["StatusCode"], {"Content-Type": content_type}, body)


def _replay(line: Line, key: str | None) -> Response:
    route = _routes().get(line.path)
    if route is None:
        return _gateway_response("MISSING_AUTHENTICATION_TOKEN")
    if key is None and route.needs_key:
        return _gateway_response("INVALID_API_KEY")
    request = event(route.event, key=key, headers={"Accept": line.accept})
    request["queryStringParameters"] = line.query or None
    request["multiValueQueryStringParameters"] = {name: [value] for name, value in line.query.items()} or None
    return invoke(request, route.function)


def _is_the_same(line: Line, response: Response) -> bool:
    kind = line.content_type.partition(";")[0]
    if line.status != response.status or kind != response.headers["Content-Type"].partition(";")[0]:
        return False
    if kind == "application/xml":
        return bool(_tree(line.body) == _tree(response.text))
    return bool(line.body == _data(response))


def _data(response: Response) -> Any:
    """Return the data of a JSON response, or the text of another."""
    return response.body if response.headers["Content-Type"].startswith("application/json") else response.text


def _tree(xml: str) -> Any:
    def of(element: etree._Element) -> Any:
        return element.tag, (element.text or "").strip(), [of(child) for child in element]

    return of(etree.fromstring(xml.encode(), etree.XMLParser(resolve_entities=False, no_network=True)))


# ── Documented differences ────────────────────────────────────────────────────────────────────────────────────────────


def _without_empty_lines(body: Any) -> Any:
    return body | {"adresse": {name: line for name, line in body["adresse"].items() if line}}


def _with_a_quotient_in_numbers(body: Any) -> Any:
    return body | {name: int(body[name]) for name in ("quotientFamilial", "mois", "annee")}


REWRITTEN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "without empty address lines": _without_empty_lines,
    "with a quotient in numbers": _with_a_quotient_in_numbers,
}


@dataclass(frozen=True)
class Deviation:
    """A difference that the contract requires."""

    id: str
    date: date
    contract: str
    """The section that requires it."""
    differs: str
    recorded: Mapping[str, Any]
    """The recorded calls with this difference: allowed values of attributes, and patterns of query parameters."""
    ours: Mapping[str, Any]
    """The new response: a status and an error code, or the name in ``REWRITTEN`` of the change to the recorded data."""
    used: list[Line] = field(default_factory=list)

    def covers(self, line: Line) -> bool:
        patterns: Mapping[str, str] = self.recorded.get("query", {})
        values = {name: wanted for name, wanted in self.recorded.items() if name != "query"}
        return all(getattr(line, name) in wanted for name, wanted in values.items()) and all(
            re.fullmatch(pattern, line.query.get(name, "")) for name, pattern in patterns.items()
        )


def _reasons(line: Line, response: Response, deviations: list[Deviation]) -> list[Deviation]:
    """Return the deviations that explain the whole difference together; none if a part is unexplained."""
    covering = [deviation for deviation in deviations if deviation.covers(line)]
    data = _data(response)
    refusal = {"status": response.status, "error": data.get("error")} if isinstance(data, dict) else None
    refusals = [deviation for deviation in covering if deviation.ours == refusal]
    if refusals:
        return refusals
    rewriting = []
    body = line.body
    for deviation in covering:
        rewritten = REWRITTEN[deviation.ours["data"]](body) if "data" in deviation.ours else body
        if rewritten != body:
            rewriting.append(deviation)
            body = rewritten
    return rewriting if (response.status, data) == (line.status, body) else []


def _deviations() -> list[Deviation]:
    written = tomllib.loads((ROOT / "tests/contract/deviations.toml").read_text())
    return [Deviation(**table) for table in written["deviation"]]


# ── The tests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_recorded_response_is_the_same_or_differs_for_a_documented_reason(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    deviations = _deviations()
    lines = _lines()
    keys = {str(line.scopes): cloud.issue_key(*line.scopes) for line in lines if line.scopes is not None}
    unexplained = []
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", str(datetime.now(UTC).year - OLDEST_NOTICE + 1))
    with ExitStack() as servers:
        for setting, provider in PROVIDERS.items():
            monkeypatch.setenv(setting, servers.enter_context(serve(provider())))
        for line in lines:
            response = _replay(line, keys.get(str(line.scopes)))
            if not _is_the_same(line, response):
                reasons = _reasons(line, response, deviations)
                for reason in reasons:
                    reason.used.append(line)
                if not reasons:
                    unexplained.append((line, response))

    explained = {deviation.id: len(deviation.used) for deviation in deviations}
    print(f"{len(lines)} calls replayed, unexplained differences: {len(unexplained)}; explained: {explained}")  # noqa: T201 - for -s
    assert unexplained == []
    assert [deviation.id for deviation in deviations if not deviation.used] == []
