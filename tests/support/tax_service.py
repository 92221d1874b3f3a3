"""The tax service on the wire, scripted: every form gets the page or the status that a test chooses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

NOTICE: dict[str, object] = {
    "declarant1": {
        "nom": "TILLEUL",
        "nomNaissance": "CHARME",
        "prenoms": "Odette Rose",
        "dateNaissance": "02/05/1971",
    },
    "declarant2": {"nom": "TILLEUL", "nomNaissance": "ORME", "prenoms": "Basile", "dateNaissance": "29/02/1968"},
    "dateRecouvrement": "31/07/2026",
    "dateEtablissement": "08/07/2026",
    "nombreParts": 2.5,
    "situationFamille": "Marié(e)s",
    "nombrePersonnesCharge": 1,
    "revenuBrutGlobal": 41207,
    "revenuImposable": 39118,
    "impotRevenuNetAvantCorrections": 2904,
    "montantImpot": None,
    "revenuFiscalReference": 39119,
    "foyerFiscal": {"annee": 2026, "adresse": "BAT C 3 allée des Frênes 01234 BOURG-EXEMPLE"},
    "anneeImpots": "2026",
    "anneeRevenus": "2025",
    "erreurCorrectif": "Un avis correctif annule et remplace cet avis.",
    "situationPartielle": "Situation de l'année au 1er mars.",
}
"""The body of a response of v2 about ``notice_page(NOTICE)``, for a key that opens every field."""

BLANK_PAGE = "<html><body><p>Service en maintenance</p></body></html>"
NOT_FOUND_PAGE = "<html><body><div id='nonTrouve'>Vous devez vérifier les identifiants saisis.</div></body></html>"
REFUSED_PAGE = "<html><body><div class='interdit'>Accès interdit</div></body></html>"
FORM_PAGE = """<html><body><form id="j_id_7" method="post" action="/secavis/faces/commun/index.jsf">
<input name="j_id_7:spi"/><input name="j_id_7:num_facture"/><input name="j_id_7_SUBMIT" value="1"/>
<input type="hidden" name="javax.faces.ViewState" value="état+de/vue=="/></form></body></html>"""

_DECLARANT_ROWS = {
    "Nom": "nom",
    "Nom de naissance": "nomNaissance",
    "Prénom(s)": "prenoms",
    "Date de naissance": "dateNaissance",
}
_ROWS = {
    "Date de mise en recouvrement de l'avis d'impôt": "dateRecouvrement",
    "Date d'établissement": "dateEtablissement",
    "Nombre de part(s)": "nombreParts",
    "Situation de famille": "situationFamille",
    "Nombre de personne(s) à charge": "nombrePersonnesCharge",
    "Revenu brut global": "revenuBrutGlobal",
    "Revenu imposable": "revenuImposable",
    "Impôt sur le revenu net avant corrections": "impotRevenuNetAvantCorrections",
    "Montant de l'impôt": "montantImpot",
    "Revenu fiscal de référence": "revenuFiscalReference",
}


def notice_page(notice: Mapping[str, object]) -> str:
    """Return the page of a notice, without rows for the fields that ``notice`` lacks."""
    rows = [("", "Déclarant 1", "Déclarant 2")]
    people = [notice.get("declarant1"), notice.get("declarant2")]
    for label, name in _DECLARANT_ROWS.items():
        first, second = (str(person.get(name, "")) if isinstance(person, Mapping) else "" for person in people)
        rows.append((label, first, second))
    household = notice.get("foyerFiscal")
    if isinstance(household, Mapping):
        rows.append((f"Adresse déclarée au 1er janvier {household['annee']}", str(household["adresse"]), ""))
    rows += [(label, "", _printed(notice[name])) for label, name in _ROWS.items() if name in notice]
    table = "".join(f"<tr>{''.join(f'<td>{escape(cell)}\n</td>' for cell in row)}</tr>" for row in rows)
    notes = "".join(
        f"<div id='{name}'>\n\t{escape(str(notice.get(name, '')))}\n</div>"
        for name in ("erreurCorrectif", "situationPartielle")
    )
    title = f"Impôt  {notice['anneeImpots']} sur les revenus de l'année  {notice['anneeRevenus']}"
    return (
        f"<html><head><meta charset='UTF-8'></head><body><div class='titre_affiche_avis'><span>{title}</span></div>"
        f"<table>{table}</table>{notes}</body></html>"
    )


def _printed(value: object) -> str:
    match value:
        case None:
            return "Non imposable"
        case int() if value >= 100:
            return f"{value:,} €".replace(",", "\N{NO-BREAK SPACE}")
        case _:
            return str(value)


@dataclass
class TaxService:
    """The scripted service; it keeps the requests it gets."""

    url: str = ""
    form: str = FORM_PAGE
    """The response to GET."""
    page: str = notice_page(NOTICE)
    """The response to POST."""
    status: int = 200
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """The method and form of each request."""
    before_response: Callable[[], object] = lambda: None
    """Called between a request and its response."""

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Any:
        """Respond, as a WSGI application."""
        method = environ["REQUEST_METHOD"]
        form = parse_qs(environ["wsgi.input"].read().decode())
        self.requests.append((method, {name: values[0] for name, values in form.items()}))
        self.before_response()
        start(f"{self.status} Status", [("Content-Type", "text/html;charset=UTF-8")])
        return [(self.form if method == "GET" else self.page).encode()]
