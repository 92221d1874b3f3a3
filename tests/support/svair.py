"""The tax service (SVAIR) on the wire, played by the simulator, and one of its notices as both sides write it.

Tests that need any numbers to get one page use the scripted service instead (``tests/support/tax_service.py``).
"""

import json
import secrets
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs

from sandbox.simulators import svair
from sandbox.simulators.svair import Declarant, Person
from tests.support.function import Response, call_api

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

NBSP, NARROW_NBSP = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"
NUMBERS: Final = {"numeroFiscal": "2690000000001", "referenceAvis": "2690000000001"}

COUPLE: Final = Person(
    numero_fiscal="2690000000001",
    reference_avis="2690000000001",
    declarant1=Declarant(nom="BRUANT", nom_naissance="BRUANT", prenoms="Cyprien", date_naissance="03/02/1981"),
    declarant2=Declarant(nom="BRUANT", nom_naissance="SITTELLE", prenoms="Ève Rose", date_naissance="29/02/1984"),
    adresse=("8 quai de l'Ill", "67000 STRASBOURG"),
    date_recouvrement="31/07/2026",
    date_etablissement="08/07/2026",
    nombre_parts="2.50",
    situation_famille="Marié(e)s",
    nombre_personnes_charge="1",
    revenu_brut_global=f"38{NBSP}410 €",
    revenu_imposable=f"37{NBSP}960 €",
    impot_revenu_net_avant_corrections=f"1{NBSP}132 €",
    montant_impot="904 €",
    revenu_fiscal_reference=f"37{NBSP}961 €",
)
NOTICE: Final[Mapping[str, Any]] = {
    "declarant1": {"nom": "BRUANT", "nomNaissance": "BRUANT", "prenoms": "Cyprien", "dateNaissance": "03/02/1981"},
    "declarant2": {"nom": "BRUANT", "nomNaissance": "SITTELLE", "prenoms": "Ève Rose", "dateNaissance": "29/02/1984"},
    "dateRecouvrement": "31/07/2026",
    "dateEtablissement": "08/07/2026",
    "nombreParts": 2.5,
    "situationFamille": "Marié(e)s",
    "nombrePersonnesCharge": 1,
    "revenuBrutGlobal": 38410,
    "revenuImposable": 37960,
    "impotRevenuNetAvantCorrections": 1132,
    "montantImpot": 904,
    "revenuFiscalReference": 37961,
    "foyerFiscal": {"annee": 2026, "adresse": "8 quai de l'Ill 67000 STRASBOURG"},
    "anneeImpots": "2026",
    "anneeRevenus": "2025",
}
EMPTY_DECLARANT: Final = {"nom": "", "nomNaissance": "", "prenoms": "", "dateNaissance": ""}
ABSENT: Final = object()


class ReceivedRequest(NamedTuple):
    """A request that the service got."""

    method: str
    path: str
    cookie: str
    form: dict[str, str]
    connection: str
    """The client's port: requests with the same port came on one connection."""


class SimulatedSvair:
    """The simulated service; it keeps the requests it gets, and a test may replace it by an application of its own."""

    def __init__(self) -> None:
        self.url = ""
        self._people: tuple[Person, ...] = (COUPLE,)
        self.simulator = svair.app_of(lambda: self._people)
        self.app: WSGIApplication = self.simulator
        self.requests: list[ReceivedRequest] = []

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Any:
        form = parse_qs(environ["wsgi.input"].read().decode())
        environ["wsgi.input"].seek(0)
        self.requests.append(
            ReceivedRequest(
                environ["REQUEST_METHOD"],
                environ["PATH_INFO"],
                environ.get("HTTP_COOKIE", ""),
                {name: value for name, [value] in form.items()},
                environ["REMOTE_PORT"],
            )
        )
        return self.app(environ, start)

    @property
    def methods(self) -> str:
        return " ".join(request.method for request in self.requests)

    def forget_forms(self) -> None:
        """Stop recognising the forms given so far, as the service does when it restarts."""
        self.simulator.config["SECRET_KEY"] = secrets.token_bytes(32)

    def serve_people(self, *people: Person) -> None:
        """Respond with the notices of these people, as the simulator writes them."""
        self._people, self.app = people, self.simulator

    def show_page(self, page: str | bytes, content_type: str = "text/html;charset=UTF-8") -> None:
        """Respond to every posted form with this page."""
        content = page.encode() if isinstance(page, str) else page

        def show(environ: "WSGIEnvironment", start: "StartResponse") -> Any:
            if environ["REQUEST_METHOD"] == "GET":
                return self.simulator(environ, start)
            start("200 OK", [("Content-Type", content_type)])
            return [content]

        self.app = show


def v1(key: str, **query: str) -> Response:
    return call_api("avis_imposition/v1", key=key, headers=None, **(query or NUMBERS))


def v2(key: str, **query: str) -> Response:
    return call_api("avis_imposition/v2", key=key, headers=None, **(query or NUMBERS))


def to_json(body: Mapping[str, Any]) -> str:
    """Return a body as the API sends it: the order of keys matters, and so does the difference of 2 and 2.0."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def notice_with(changes: Mapping[str, Any]) -> dict[str, Any]:
    body = {**NOTICE, **changes}
    return {name: value for name, value in body.items() if value is not ABSENT}


def render_notice(person: Person, address: str | None = None) -> str:
    """Render a notice in other HTML than the simulator's, with these rows for the address if given."""
    first, second = person.declarant1, person.declarant2
    people = [
        ("Nom", first.nom, second.nom),
        ("Nom de naissance", first.nom_naissance, second.nom_naissance),
        ("Prénom(s)", first.prenoms, second.prenoms),
        ("Date de naissance", first.date_naissance, second.date_naissance),
    ]
    values = [
        ("Date de mise en recouvrement de l'avis d'impôt", person.date_recouvrement),
        ("Date d'établissement", person.date_etablissement),
        ("Nombre de part(s)", person.nombre_parts),
        ("Situation de famille", person.situation_famille),
        ("Nombre de personne(s) à charge", person.nombre_personnes_charge),
        ("Revenu brut global", person.revenu_brut_global),
        ("Revenu imposable", person.revenu_imposable),
        ("Impôt sur le revenu net avant corrections", person.impot_revenu_net_avant_corrections),
        ("Montant de l'impôt", person.montant_impot),
        ("Revenu fiscal de référence", person.revenu_fiscal_reference),
    ]
    rows = ["<tr><td></td><td>Déclarant 1</td><td>Déclarant 2</td></tr>"]
    rows += [
        f"<tr><td>{label}</td><td>{escape(left or '')}</td><td>{escape(right or '')}</td></tr>"
        for label, left, right in people
    ]
    rows.append(_address(person) if address is None else address)
    rows += [
        f"<tr><td colspan='2'>{label}</td><td>{escape(value)}</td></tr>" for label, value in values if value is not None
    ]
    return (
        "<!DOCTYPE html><html><head><meta charset='UTF-8'><title>Avis</title></head><body>"
        f"<div class='titre_affiche_avis'>"
        f"<span>Impôt {person.annee_impots} sur les revenus de l'année {person.annee_revenus}</span></div>"
        f"<div id='erreurCorrectif'>{escape(person.erreur_correctif)}</div>"
        f"<table><tbody>{''.join(rows)}</tbody></table>"
        f"<div id='situationPartielle'>{escape(person.situation_partielle)}</div></body></html>"
    )


def _address(person: Person) -> str:
    if person.adresse is None:
        return ""
    first, *others = map(escape, person.adresse or ("",))
    label = f"Adresse déclarée au 1<sup>er</sup> janvier {person.annee}"
    return f"<tr><td>{label}</td><td>{first}</td><td></td></tr>" + "".join(
        f"<tr><td></td><td colspan='2'>{line}</td></tr>" for line in others
    )
