"""The tax service on the wire, scripted: any numbers get the page or the status that a test chooses.

Tests of the service's own protocol and pages use the simulator instead (``tests/support/svair.py``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from sandbox.simulators.svair import Person
from tests.support.svair import render_notice

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

NOTICE: dict[str, Any] = {
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

BLANK_PAGE = "<html><body><p>Bienvenue sur ce service</p></body></html>"
NOT_FOUND_PAGE = "<html><body><div id='nonTrouve'>Vous devez vérifier les identifiants saisis.</div></body></html>"
REFUSED_PAGE = "<html><body><div class='interdit'>Accès interdit</div></body></html>"
FORM_PAGE = """<html><body><form id="j_id_7" method="post" action="/secavis/faces/commun/index.jsf">
<input name="j_id_7:spi"/><input name="j_id_7:num_facture"/><input name="j_id_7_SUBMIT" value="1"/>
<input type="hidden" name="javax.faces.ViewState" value="état+de/vue=="/></form></body></html>"""


def notice_page(notice: Mapping[str, Any]) -> str:
    """Return the page of a notice given as v2 returns it, without rows for the fields that ``notice`` lacks."""
    fields = {name: notice[name] for name in notice if name not in {"foyerFiscal", "montantImpot"}}
    if "montantImpot" in notice:
        fields["montantImpot"] = "Non imposable" if notice["montantImpot"] is None else notice["montantImpot"]
    if "foyerFiscal" in notice:
        fields |= {"annee": notice["foyerFiscal"]["annee"], "adresse": [notice["foyerFiscal"]["adresse"]]}
    numbers = {"numeroFiscal": "2690000000001", "referenceAvis": "2690000000001"}
    return render_notice(Person.model_validate(numbers | fields))


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
