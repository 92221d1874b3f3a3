"""The portal of a fictional town, a caller of the API: two numbers, an agreement, and a price, with no paper.

``people/`` says who may try it, ``demarches.toml`` what the town asks and how it prices. Each démarche has a
key of its own, of the scopes that it needs, which stays on this server. Nothing that is typed is kept or logged.

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
from typing import Any, Final

import requests
from flask import Flask, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict
from werkzeug.serving import make_server

from api_particulier.public import site
from release.website import BUILT
from sandbox.simulators import Silent
from sandbox.town.demarches import TOWN, Asked, Demarche, Source, demarches

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
"""What each source is asked with, as one types it, and what to say of what is not."""
_CONSENT: Final = "Sans votre accord, la Ville ne peut rien demander."
LABELS: Final = {
    "revenuFiscalReference": "Revenu fiscal de référence",
    "nombreParts": "Nombre de parts",
    "nombrePersonnesCharge": "Personnes à charge",
    "quotientFamilial": "Quotient familial",
    "mois": "Mois du quotient",
    "annee": "Année du quotient",
    "enfants": "Enfants",
}
_NEVER_ASKED: Final = {
    "impots": (
        "Identité des déclarants",
        "Adresse fiscale",
        "Situation de famille",
        "Revenus détaillés",
        "Montant de l’impôt",
    ),
    "caf": ("Identité des parents", "Adresse", "Montant des prestations"),
}


class Portal(BaseModel):
    """Where the portal asks, and with which keys."""

    model_config = ConfigDict(frozen=True)

    api_url: str
    site_url: str
    keys: dict[str, str]
    """Of each démarche, by its path."""


class Refused(Exception):
    """There is no price; says why, to a parent."""


def app(portal: Portal, town: Path = TOWN) -> Flask:
    """Make the portal; ``town`` is read again at each question."""
    service = Flask(__name__)
    service.jinja_env.globals.update(asset=_asset, site_url=portal.site_url, euros=_euros, labels=LABELS)

    def found(path: str) -> Demarche:
        return next((one for one in demarches(town) if one.chemin == path), None) or abort(404)

    @service.get("/")
    def home() -> ResponseReturnValue:
        return render_template("accueil.html", demarches=demarches(town))

    @service.get("/tarifs")
    def prices() -> ResponseReturnValue:
        return render_template("tarifs.html", demarches=demarches(town))

    @service.get("/assets/<path:name>")
    def asset(name: str) -> ResponseReturnValue:
        answer: Any = site.answer(
            f"assets/{name}", "portail", accepts_gzip=request.accept_encodings.quality("gzip") > 0
        )
        return Response(b64decode(answer["body"]), answer["statusCode"], answer["headers"])

    @service.get("/<path>")
    def form(path: str) -> ResponseReturnValue:
        return render_template("demarche.html", demarche=found(path), source=None, typed={}, wrong={})

    @service.post("/<path>/<any(impots, caf):source>")
    def question(path: str, source: Source) -> ResponseReturnValue:
        demarche = found(path)
        asked = demarche.sources.get(source) or abort(404)
        typed = {name: re.sub(r"\s", "", request.form.get(name, "")) for name in _NUMBERS[source]}
        wrong = _wrong(source, typed, agreed="accord" in request.form)
        if wrong:
            page = render_template("demarche.html", demarche=demarche, source=source, typed=typed, wrong=wrong)
            return page, 400
        try:
            received, quotient = _ask(portal, demarche, asked, typed)
        except Refused as refused:
            return render_template("refus.html", demarche=demarche, why=refused), 502
        return render_template(
            "resultat.html",
            demarche=demarche,
            quotient=quotient,
            tranche=demarche.tranche(quotient),
            asked=asked,
            received=received,
            never_asked=_NEVER_ASKED[source],
            provider="DGFIP" if source == "impots" else "CAF",
        )

    service.after_request(_protect)
    return service


def _protect(answer: Response) -> Response:
    """Keep a page, which may show what a family is, out of every memory, and what is not ours out of it."""
    if answer.mimetype == "text/html":
        answer.headers |= {
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }
    return answer


def _wrong(source: Source, typed: Mapping[str, str], *, agreed: bool) -> dict[str, str]:
    """Say what is wrong with what was typed, by field; nothing is asked of anybody until nothing is."""
    wrong = {name: said for name, (rule, said) in _NUMBERS[source].items() if not re.fullmatch(rule, typed[name])}
    return wrong if agreed else wrong | {"accord": _CONSENT}


def _asset(name: str) -> str:
    """Return where a file of the site's is, by its name before it was built."""
    stem, suffix = name.rsplit(".", 1)
    return next(path for path in site.paths() if re.fullmatch(rf"assets/{re.escape(stem)}\.\w+\.{suffix}", path))


def _euros(price: float) -> str:
    return f"{price:.2f}".replace(".", ",") + "\u00a0€"


def _ask(portal: Portal, demarche: Demarche, asked: Asked, typed: Mapping[str, str]) -> tuple[dict[str, Any], float]:
    """Return what the API certifies and the quotient that it makes; ``Refused`` when there is none."""
    headers = {"X-API-Key": portal.keys[demarche.chemin]}
    try:
        answer = requests.get(portal.api_url + asked.route, typed, headers=headers, timeout=30)
        received: dict[str, Any] = answer.json()
    except (requests.RequestException, ValueError):
        raise Refused("Le service qui certifie vos données ne répond pas. Réessayez dans un moment.") from None
    if answer.status_code != requests.codes.ok:
        raise Refused(_explain(answer.status_code, received["message"], answer.headers))
    quotient = _quotient(received)
    if quotient is None:
        raise Refused("Ces données ne suffisent pas à calculer un quotient. Essayez avec les autres numéros.")
    return received, quotient


def _quotient(received: Mapping[str, Any]) -> float | None:
    """Return the monthly quotient that an answer gives: the CAF's, or the income by month and part."""
    if received.get("quotientFamilial") is not None:
        return float(received["quotientFamilial"])
    income, parts = received.get("revenuFiscalReference"), received.get("nombreParts")
    return income / 12 / parts if income is not None and parts else None


def _explain(status: int, message: str, headers: Mapping[str, str]) -> str:
    """Say what a refusal of the API means for a parent."""
    match status:
        case 404:
            return "Ces numéros ne correspondent à aucun dossier. Vérifiez-les, puis réessayez."
        case 400:
            return message
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
    sys.path.insert(0, str(BUILT / "python"))  # the site's files, as its layer brings them
    portal = Portal.model_validate(json.loads(os.environ["PORTAIL"]))
    port = parser.parse_args().port
    make_server("127.0.0.1", port, app(portal), threaded=True, request_handler=Silent).serve_forever()


if __name__ == "__main__":
    main()
