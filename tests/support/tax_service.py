"""The tax service, played on the wire by hand: it shows the page, or fails in the way, that a test tells it to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler
from typing import ClassVar, override
from urllib.parse import parse_qs

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
"""What v2 answers, to whom every scope is open, of a page made by ``page(NOTICE)``."""

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


def page(notice: Mapping[str, object]) -> str:
    """Render a notice as the service does; a field that ``notice`` does not have has no row."""
    rows = [("", "Déclarant 1", "Déclarant 2")]
    people = [notice.get("declarant1"), notice.get("declarant2")]
    for label, name in _DECLARANT_ROWS.items():
        first, second = (str(one.get(name, "")) if isinstance(one, Mapping) else "" for one in people)
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
class Provider:
    """What the played service shows, and what it was asked."""

    url: str = ""
    form: str = FORM_PAGE
    page: str = page(NOTICE)
    """Shown to whoever posts the form."""
    status: int = 200
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Each request, as its method and its form."""
    before: Callable[[], object] = lambda: None
    """Called when a request has come, before it is answered."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    provider: ClassVar[Provider]

    def do_GET(self) -> None:
        self._answer(self.provider.form)

    def do_POST(self) -> None:
        self._answer(self.provider.page)

    def _answer(self, text: str) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        self.provider.asked.append((self.command, {name: values[0] for name, values in form.items()}))
        self.provider.before()
        content = text.encode()
        self.send_response(self.provider.status)
        self.send_header("Content-Type", "text/html;charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""
