"""Simulate API Impôt particulier for the people of ``people/avis.toml``.

It returns the fields of its OpenAPI description that a notice prints. A row that is absent or empty, or an amount that
is not a number ("Non imposable"), is a field that is left out. Like the real API, it takes only the tax number and the
year of income, and has no notice reference, corrective notice or partial situation.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from sandbox.simulators.svair import Declarant, Person, people

CLIENT: Final = {
    "client_id": "bac-a-sable",
    "client_secret": "le-secret-du-bac-a-sable",
    "id_teleservice": "TELESERVICE-BAC-A-SABLE",
}
"""The only client that it accepts, in the format of the API's secret."""
TOKEN_SECONDS: Final = 3600

_SCOPE: Final = "RessourceIR"
_MEDIA_TYPE: Final = "application/prs.dgfip.part.situations.ir.assiettes.v1+json"
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CODES: Final = {"Célibataire": "C", "Divorcé(e)": "D", "Marié(e)s": "M", "Pacsé(e)s": "O", "Veuf(ve)": "V"}


def app(people_file: Path) -> Flask:
    """Make the service for the people of a file, read again when it has changed."""
    return app_of(lambda: people(people_file))


def app_of(load_people: Callable[[], Iterable[Person]]) -> Flask:
    """Make the service for the people that ``load_people`` returns at each request.

    A test may change two values of its ``config``: ``TOKENS``, each token with its expiry (once cleared, no token is
    accepted any more), and ``TOKEN_SECONDS``.
    """
    service = Flask(__name__)
    service.config.update(TOKENS={}, TOKEN_SECONDS=TOKEN_SECONDS)

    @service.post("/token")
    def token() -> ResponseReturnValue:
        client = request.authorization
        if client is None or (client.username, client.password) != (CLIENT["client_id"], CLIENT["client_secret"]):
            return {"error": "invalid_client"}, 401, {"WWW-Authenticate": "Basic"}
        if request.form.get("grant_type") != "client_credentials":
            return {"error": "unsupported_grant_type"}, 400
        if request.form.get("scope") != _SCOPE:
            return {"error": "invalid_scope"}, 400
        issued = secrets.token_urlsafe(32)
        seconds: int = service.config["TOKEN_SECONDS"]
        service.config["TOKENS"][issued] = time.time() + seconds
        response = {"access_token": issued, "token_type": "Bearer", "expires_in": seconds, "scope": _SCOPE}
        return response, 200, {"Cache-Control": "no-store"}

    @service.get("/impotparticulier/1.0/spi/<spi>/situations/ir/assiettes/annrev/<int:annrev>")
    def situation(spi: str, annrev: int) -> ResponseReturnValue:
        authorization = request.authorization
        bearer = authorization.token if authorization is not None and authorization.type == "bearer" else None
        if service.config["TOKENS"].get(bearer, 0) <= time.time():
            return _error(401, "jeton invalide ou expiré")
        if not _UUID.fullmatch(request.headers.get("X-Correlation-ID", "")):
            return _error(400, "X-Correlation-ID incorrect")
        if request.headers.get("ID_Teleservice") != CLIENT["id_teleservice"]:
            return _error(403, "accès refusé")
        if not re.fullmatch(r"[0-9]{13}", spi):
            return _error(400, "format SPI incorrect")
        notices = [person for person in load_people() if (person.numero_fiscal, person.annee_revenus) == (spi, annrev)]
        # The most recent first: a notice that was replaced has an ``erreur_correctif``.
        notices.sort(key=lambda notice: bool(notice.erreur_correctif))
        return _response(notices[0]) if notices else _error(404, "aucune situation")

    return service


def _response(person: Person) -> ResponseReturnValue:
    if person.reponse == "interdit":
        return _error(403, "accès refusé")
    if person.reponse == "panne":
        return _error(503, "service indisponible")
    if person.reponse == "illisible":
        return "<!doctype html><title>Bienvenue</title>"
    if person.reponse == "lent":
        time.sleep(person.secondes)
    return Response(json.dumps(situation_of(person), ensure_ascii=False), content_type=_MEDIA_TYPE)


def _error(status: int, message: str) -> ResponseReturnValue:
    return {"erreur": {"message": message}}, status


def situation_of(person: Person) -> dict[str, object]:
    """Return the service's ``SituationsIRAssiettesJAXBbean`` of a notice."""
    values = {
        "rfr": _amount(person.revenu_fiscal_reference),
        "sitFam": _CODES.get(person.situation_famille or ""),
        "nbPart": _number(person.nombre_parts),
        "pac": _pac(person.nombre_personnes_charge),
        **_declarant(person.declarant1, "1"),
        **_declarant(person.declarant2, "2"),
        "aft": " ".join(person.adresse or ()),
        "revenuBrutGlobal": _amount(person.revenu_brut_global),
        "datRec": _iso(person.date_recouvrement),
        "datEtab": _iso(person.date_etablissement),
        "impAvImput": _amount(person.impot_revenu_net_avant_corrections),
        "montTotIr": _amount(person.montant_impot),
        "revImposable": _amount(person.revenu_imposable),
    }
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _declarant(declarant: Declarant, number: str) -> dict[str, object]:
    day, month, year = declarant.date_naissance.split("/") if declarant.date_naissance else (None, None, None)
    return {
        f"nmUsaDec{number}": declarant.nom,
        f"nmNaiDec{number}": declarant.nom_naissance,
        f"prnmDec{number}": declarant.prenoms,
        f"dateNaisDec{number}": {"jour": day, "mois": month, "annee": year} if year else None,
    }


def _iso(date: str | None) -> str | None:
    return "-".join(reversed(date.split("/"))) if date else None


def _number(text: str | None) -> float | None:
    return float(text.replace(",", ".")) if text else None


def _pac(text: str | None) -> dict[str, int] | None:
    number = _number(text)
    return None if number is None else {"nbPac": int(number)}


def _amount(text: str | None) -> int | None:
    digits = re.sub(r"\s", "", text or "").removesuffix("€")
    return int(digits) if re.fullmatch(r"-?[0-9]+", digits) else None
