"""Serve the portal of the fictional town: two numbers, or a civil identity, and a consent give a price.

``people/`` has the numbers to try, ``demarches.toml`` the routes and the prices of the town. Each démarche has a key of
its own, with the scopes that it needs, which stays on this server. What is typed is not stored or logged.

``python -m sandbox.town.portail --port PORT`` serves it; ``PORTAIL`` holds its settings, as JSON.
"""

import argparse
import json
import os
import re
import sys
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import requests
from flask import Flask, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict
from werkzeug.serving import make_server

from api_particulier.public import site
from release.usages import Source, donnees, fields
from release.website import BUILT
from sandbox import simulators
from sandbox.simulators import Silent
from sandbox.town import identite
from sandbox.town.demarches import SIRET, TOWN, Demarche, demarches

_POLICY: Final = site.POLICY.replace("form-action 'none'", "form-action 'self'")
_NUMBERS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "impots": {
        "numeroFiscal": (r"\d{13}", "Le numéro fiscal a 13 chiffres."),
        "referenceAvis": (r"[0-9A-Za-z]{13,14}", "La référence de l’avis a 13 ou 14 lettres ou chiffres."),
    },
    "caf": {
        "numeroAllocataire": (r"\d{1,7}[A-Za-z]?", "Le numéro d’allocataire a 7 chiffres."),
        "codePostal": (r"\d{5}", "Le code postal a 5 chiffres."),
    },
}
"""For each source, the fields of its form: the pattern, and the message for a value that does not match."""
_AGREED: Final = "oui"
"""The value of a ticked box: any other value, or none, is no consent."""
_CONSENT: Final = "Sans votre accord, la Ville ne peut rien demander."
_LABELS: Final = {
    "annee": "Année",
    "mois": "Mois du quotient",
    "dateReference": "Date de l’adresse",
    "adresseStructuree": "Adresse, partie par partie",
    "coordonnees": "Position de l’adresse",
    "score": "Assurance de la position",
    "quotient_familial.fournisseur": "Caisse",
    "quotient_familial.valeur": "Quotient familial",
    "quotient_familial.annee": "Année demandée",
    "quotient_familial.mois": "Mois demandé",
    "quotient_familial.annee_calcul": "Année du calcul",
    "quotient_familial.mois_calcul": "Mois du calcul",
    **{
        f"parametres_calcul_participation_familiale.{field}": name
        for field, name in {
            "nombre_enfants_a_charge": "Enfants à charge",
            "nombre_enfants_beneficiaire_aeeh": "Enfants qui ont droit à l’AEEH",
            "base_ressources_annuelles.valeur": "Ressources annuelles",
            "base_ressources_annuelles.annee_calcul": "Année des ressources",
        }.items()
    },
}
"""Names of the fields that share their scope with another one."""
_CORRECTED: Final = (
    "Un avis plus récent remplace celui-ci. Donnez la référence de l’avis le plus récent, que vous trouvez dans votre "
    "espace sur impots.gouv.fr."
)
_PARTIAL: Final = (
    "Cet avis ne couvre qu’une partie de l’année : il ne suffit pas à calculer votre tarif. Prenez contact avec la "
    "mairie, avec chacun des avis de l’année."
)


class Portal(BaseModel):
    """The addresses and the keys of the portal."""

    model_config = ConfigDict(frozen=True)

    api_url: str
    """Ends with ``/api``."""
    v3_url: str
    site_url: str
    keys: dict[str, str]
    """The key of each démarche, by its path."""


class NoPrice(Exception):
    """There is no price; the message is for the parent."""


def app(portal: Portal, town: Path = TOWN) -> Flask:
    """Make the portal; the file ``town`` is read again at each request."""
    service = Flask(__name__)
    service.jinja_env.globals.update(asset=_asset, site_url=portal.site_url, euros=_euros, donnees=donnees())
    service.jinja_env.globals.update(pays=identite.COUNTRIES, plancher=identite.PLANCHER, plafond=identite.PLAFOND)

    def find(path: str) -> Demarche:
        return next((demarche for demarche in demarches(town) if demarche.chemin == path), None) or abort(404)

    @service.get("/")
    def home() -> ResponseReturnValue:
        return render_template("accueil.html", demarches=demarches(town))

    @service.get("/tarifs")
    def prices() -> ResponseReturnValue:
        return render_template("tarifs.html", demarches=demarches(town))

    @service.get("/assets/<path:name>")
    def asset(name: str) -> ResponseReturnValue:
        response: Any = site.serve_file(
            f"assets/{name}", "portail", accepts_gzip=request.accept_encodings.quality("gzip") > 0
        )
        body = b64decode(response["body"]) if response["isBase64Encoded"] else response["body"]
        return Response(body, response["statusCode"], response["headers"])

    @service.get("/<path>")
    def form(path: str) -> ResponseReturnValue:
        return render_template("demarche.html", demarche=find(path), source=None, typed={}, wrong={})

    @service.post("/<path>/<any(impots, caf, identite):source>")
    def result(path: str, source: Source) -> ResponseReturnValue:
        demarche = find(path)
        if source not in demarche.sources:
            abort(404)
        typed = _typed(source, request.form)
        wrong = _messages(source, typed, agreed=request.form.get("accord") == _AGREED)
        if wrong:
            page = render_template("demarche.html", demarche=demarche, source=source, typed=typed, wrong=wrong)
            return page, 400
        consent = f"{demarche.chemin}-{token_hex(4)}"
        try:
            received = _fetch(portal, demarche, source, typed, consent)
            quotient = _checked_quotient(received) if demarche.grille else None
            participation = _participation(received)
        except NoPrice as reason:
            faults = simulators.unreadable()
            return render_template("refus.html", demarche=demarche, why=reason, faults=faults), 502
        return render_template(
            "resultat.html",
            demarche=demarche,
            quotient=quotient,
            participation=participation,
            tranche=None if quotient is None else demarche.tranche(quotient),
            demandes=demarche.demandes(source),
            received=_named(demarche, source, received),
            never_asked=[name for scope, name in donnees().items() if _is_left_out(scope, demarche, source)],
            consent=consent,
            source=source,
            provider={"impots": "À la DGFIP", "caf": "À la CAF", "identite": "À la caisse de la famille"}[source],
        )

    service.after_request(_protect)
    return service


def _protect(response: Response) -> Response:
    """Forbid caching of pages, which may show a family's data, and foreign files."""
    if response.mimetype == "text/html":
        response.headers |= {
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }
    return response


def _typed(source: Source, form: Mapping[str, str]) -> dict[str, str]:
    """Return what was typed in each field of a form."""
    if source == "identite":
        return identite.typed(form)
    return {name: re.sub(r"\s", "", form.get(name, "")) for name in _NUMBERS[source]}


def _messages(source: Source, typed: Mapping[str, str], *, agreed: bool) -> dict[str, str]:
    """Return the message of each wrong field of the form."""
    if source == "identite":
        messages = identite.messages(typed)
    else:
        rules = _NUMBERS[source].items()
        messages = {name: message for name, (pattern, message) in rules if not re.fullmatch(pattern, typed[name])}
    return messages if agreed else messages | {"accord": _CONSENT}


def _asset(name: str) -> str:
    """Return the path of a file of the site, by its name without the build's digest."""
    stem, suffix = name.rsplit(".", 1)
    return next(path for path in site.paths() if re.fullmatch(rf"assets/{re.escape(stem)}\.\w+\.{suffix}", path))


def _euros(price: float) -> str:
    return f"{price:.2f}".replace(".", ",") + "\u00a0€"


def _fetch(
    portal: Portal, demarche: Demarche, source: Source, typed: Mapping[str, str], consent: str
) -> dict[str, Any]:
    """Return what the API gives of a source; raise ``NoPrice`` when it gives nothing."""
    headers = {"X-API-Key": portal.keys[demarche.chemin], "X-Consent": consent}
    by_identity = source == "identite"
    base = portal.v3_url if by_identity else portal.api_url
    query = identite.query(typed, SIRET) if by_identity else typed
    received: dict[str, Any] = {}
    for demande in demarche.demandes(source):
        try:
            response = requests.get(base + demande.route, query, headers=headers, timeout=30)
            body: dict[str, Any] = response.json()
        except (requests.RequestException, ValueError):
            raise NoPrice("Le service qui certifie vos données ne répond pas. Réessayez dans un moment.") from None
        if response.status_code != requests.codes.ok:
            raise NoPrice(_explain(response.status_code, body, response.headers))
        received |= body["data"] if by_identity else body
    return received


def _checked_quotient(received: Mapping[str, Any]) -> float:
    """Return the monthly quotient; raise ``NoPrice`` without one, or for a replaced or partial notice."""
    if received.get("erreurCorrectif"):
        raise NoPrice(_CORRECTED)
    if received.get("situationPartielle"):
        raise NoPrice(_PARTIAL)
    quotient = _quotient(received)
    if quotient is None:
        raise NoPrice("Ces données ne suffisent pas à calculer un quotient. Essayez d’une autre façon.")
    return quotient


def _named(demarche: Demarche, source: Source, received: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """Return each field received: its name in the API, its name in French, and its value."""
    names = {
        field: name
        for dataset in fields().values()
        for field, name in dataset.items()
        if name in {donnees()[scope] for scope in demarche.portees_de(source)}
    }
    return [(field, _LABELS.get(field) or names.get(field, field), value) for field, value in _flat(received).items()]


_HOLDERS: Final = frozenset(
    {"foyerFiscal", "quotient_familial", "parametres_calcul_participation_familiale", "base_ressources_annuelles"}
)
"""Members of a response that hold fields."""


def _flat(received: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the fields of a response, by their paths; some of its members hold fields too."""
    flat: dict[str, Any] = {}
    for name, value in received.items():
        flat |= _flat(value, f"{before}{name}.") if name in _HOLDERS else {f"{before}{name}": value}
    return flat


def _is_left_out(scope: str, demarche: Demarche, source: Source) -> bool:
    begins = {"impots": ("dgfip_",), "caf": ("cnaf_",), "identite": ("cnaf_", "cnav_part")}[source]
    of_source = scope.startswith(begins)
    return of_source and scope not in demarche.portees and "declarant2" not in scope


def _quotient(received: Mapping[str, Any]) -> float | None:
    """Return the monthly quotient: the fund's, or the income by month and part."""
    by_identity = received.get("quotient_familial", {}).get("valeur")
    if by_identity is not None:
        return float(by_identity)
    if received.get("quotientFamilial") is not None:
        return float(received["quotientFamilial"])
    income, parts = received.get("revenuFiscalReference"), received.get("nombreParts")
    return income / 12 / parts if income is not None and parts else None


def _participation(received: Mapping[str, Any]) -> identite.Participation | None:
    parametres = received.get("parametres_calcul_participation_familiale")
    return identite.participation(parametres) if parametres else None


def _explain(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return the message for a parent of an error of the API."""
    if "errors" in body and (explained := identite.explain(status, body["errors"][0]["code"])):
        return explained
    match status:
        case 404:
            return "Ces numéros ne correspondent à aucun dossier. Vérifiez-les, puis réessayez."
        case 400:
            return str(body["message"])
        case 401 | 403:
            return "La Ville n’est pas autorisée à demander ces données. Prévenez-la : ce n’est pas de votre fait."
        case _:
            later = f" dans {headers['Retry-After']} secondes" if "Retry-After" in headers else " dans un moment"
            return f"Le service qui certifie vos données n’est pas disponible. Réessayez{later}."


def command(port: int) -> list[str]:
    return [sys.executable, "-m", "sandbox.town.portail", "--port", str(port)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the fictional town's portal on loopback.")
    parser.add_argument("--port", type=int, required=True)
    sys.path.insert(0, str(BUILT / "python"))  # the site's files, as in its layer
    portal = Portal.model_validate(json.loads(os.environ["PORTAIL"]))
    port = parser.parse_args().port
    make_server("127.0.0.1", port, app(portal), threaded=True, request_handler=Silent).serve_forever()


if __name__ == "__main__":
    main()
