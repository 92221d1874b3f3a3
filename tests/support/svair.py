"""The tax service's notice verification ("SVAIR") as tests play it on the wire, and a notice told both ways."""

import json
import secrets
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs

from sandbox.simulators import svair
from sandbox.simulators.svair import Declarant, Person
from tests.support.function import Answer, ask

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
NOBODY: Final = {"nom": "", "nomNaissance": "", "prenoms": "", "dateNaissance": ""}
ABSENT: Final = object()


class Asked(NamedTuple):
    """A request that reached the service."""

    method: str
    path: str
    cookie: str
    form: dict[str, str]
    connection: str
    """What tells a connection from another."""


class Service:
    """A service on the wire: the simulated one, unless a test gives another; it remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self._people: tuple[Person, ...] = (COUPLE,)
        self.simulated = svair.app_of(lambda: self._people)
        self.app: WSGIApplication = self.simulated
        self.asked: list[Asked] = []

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Any:
        form = parse_qs(environ["wsgi.input"].read().decode())
        environ["wsgi.input"].seek(0)
        self.asked.append(
            Asked(
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
        return " ".join(one.method for one in self.asked)

    def forget(self) -> None:
        """Forget every form."""
        self.simulated.config["SECRET_KEY"] = secrets.token_bytes(32)

    def simulates(self, *people: Person) -> None:
        """Know these people, and show them as the simulated service does."""
        self._people, self.app = people, self.simulated

    def shows(self, page: str | bytes, content_type: str = "text/html;charset=UTF-8") -> None:
        """Show this page to whoever posts the form."""
        content = page.encode() if isinstance(page, str) else page

        def show(environ: "WSGIEnvironment", start: "StartResponse") -> Any:
            if environ["REQUEST_METHOD"] == "GET":
                return self.simulated(environ, start)
            start("200 OK", [("Content-Type", content_type)])
            return [content]

        self.app = show


def v1(key: str, **query: str) -> Answer:
    return ask("avis_imposition/v1", key=key, headers=None, **(query or NUMBERS))


def v2(key: str, **query: str) -> Answer:
    return ask("avis_imposition/v2", key=key, headers=None, **(query or NUMBERS))


def written(body: Mapping[str, Any]) -> str:
    """Return a body as it is sent: the order of its keys counts, and so does 2 for 2.0."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    body = {**NOTICE, **changes}
    return {name: value for name, value in body.items() if value is not ABSENT}


def rendered(person: Person, address: str | None = None) -> str:
    """Render a notice on a page that is not the simulated service's, with these rows for the address if given."""
    one, two = person.declarant1, person.declarant2
    people = [
        ("Nom", one.nom, two.nom),
        ("Nom de naissance", one.nom_naissance, two.nom_naissance),
        ("Prénom(s)", one.prenoms, two.prenoms),
        ("Date de naissance", one.date_naissance, two.date_naissance),
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
