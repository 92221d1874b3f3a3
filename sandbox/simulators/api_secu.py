"""Simulate API-SECU (CNAV) for the people of ``people/assures.toml``: the nine benefits by civil identity.

``POST /token`` takes the OAuth2 client of one benefit, ``GET /<benefit>`` an identity. Like the real gate it checks the
token and its scope, ``X-Correlation-ID`` and ``X-APIPART-FSFINAL``, refuses letters with accents, and finds a person
who is misspelt if enough of the rest is right.
"""

import re
import secrets
import sys
import time
import tomllib
import unicodedata
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from flask import Flask, Request, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

TOKEN_SECONDS: Final = 3600
FUNDS: Final = {"CNAF": "00810011", "MSA": "00171001", "RNCPS": "99430000"}
BENEFITS: Final = {
    "quotient_familial": "quotientFamilial",
    "participation_familiale_eaje": "eaje",
    "complementaire_sante_solidaire": "c2s",
    "revenu_solidarite_active": "rsa",
    "prime_activite": "primeActivite",
    "allocation_adulte_handicape": "aah",
    "allocation_soutien_familial": "asf",
    "allocation_enfant_handicape": "aeeh",
    "allocation_rentree_scolaire": "ars",
}
"""Each benefit with the name of its table in the file."""
UNKNOWN, NO_FUND, NO_FILE = 40409, 40406, 40401
_CODES: Final = {"rsa": "FA3101", "primeActivite": "FA3105", "aah": "FA1001", "asf": "FA0115", "aeeh": "FA1510"}
_INCREASED: Final = {"rsa": "FA3102", "primeActivite": "FA3106"}
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SIRET: Final = re.compile(r"[0-9]{14}")
_PLAIN: Final = re.compile(r"[A-Za-z' -]*")
_PARIS: Final = ZoneInfo("Europe/Paris")
_MONTHS: Final = 24
_ENOUGH: Final = 3


def client(benefit: str) -> dict[str, str]:
    """Return the OAuth2 client of a benefit, in the format of the API's secret."""
    return {
        "client_id": f"bac-a-sable-{benefit}",
        "client_secret": f"le-secret-de-{benefit}",
        "scope": f"bac-a-sable.{benefit}",
    }


# ── The people ───────────────────────────────────────────────────────────────────────────────────────────────────────


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Proche(_Model):
    """A spouse or a child; ``age`` makes a date of birth that follows the calendar."""

    nom_naissance: str | None = None
    nom_usage: str | None = None
    prenoms: str | None = None
    date_naissance: str | None = None
    genre: str | None = Field(None, alias="sexe")
    cog_naissance: str | None = Field(None, alias="commune")
    age: int | None = None

    def to_answer(self, *, with_birthplace: bool) -> dict[str, Any]:
        born = self.date_naissance if self.age is None else f"{_today().year - self.age - 1}-12-31"
        place = {"cogNaissance": self.cog_naissance} if with_birthplace else {}
        return _without_none(
            {
                "nomNaissance": self.nom_naissance,
                "nomUsage": self.nom_usage,
                "listePrenoms": self.prenoms,
                "dateNaissance": born,
                "genre": self.genre,
                **place,
            }
        )


class Adresse(_Model):
    """The lines of a postal address."""

    identite: str | None = None
    complement_information: str | None = None
    complement_information_geo: str | None = None
    numero_libelle_voie: str | None = None
    lieu_dit: str | None = None
    code_postal_ville: str | None = None
    pays: str | None = None


class Quotient(_Model):
    """The quotient of any month, or those of some months (``"2026-10"``)."""

    valeur: int | None = None
    valeurs: dict[str, int] = {}
    annee: int | None = None
    mois: int | None = None


class Eaje(_Model):
    """The resources of a family."""

    ressources: int
    annee: int
    aeeh: int = 0


class Droit(_Model):
    """A right: ``indicateur`` as the gate writes it."""

    indicateur: str = "BENEFICIAIRE"
    depuis: str | None = None
    majoration: bool | None = None


class Personne(_Model):
    """A person that the gate knows; ``people/assures.toml`` documents each field."""

    nom_naissance: str
    nom_usage: str | None = None
    prenoms: str
    date_naissance: str
    sexe: Literal["M", "F"]
    pays: str = "99100"
    commune: str | None = None
    caisse: Literal["CNAF", "MSA", "aucune"] = "CNAF"
    retrouvable_sans_date: bool = Field(default=False, alias="retrouvable_sans_date")
    reponse: Literal["lent", "panne", "illisible", "trop"] | int = 0
    secondes: float = Field(20, ge=0)

    conjoint: Proche | None = None
    enfants: list[Proche] = []
    adresse: Adresse | None = None
    quotient_familial: Quotient | None = Field(None, alias="quotient_familial")
    eaje: Eaje | None = None
    c2s: Droit | None = None
    rsa: Droit | None = None
    prime_activite: Droit | None = Field(None, alias="prime_activite")
    aah: Droit | None = None
    asf: Droit | None = None
    aeeh: Droit | None = None
    ars: Droit | None = None

    @property
    def themselves(self) -> Proche:
        return Proche(
            nom_naissance=self.nom_naissance,
            nom_usage=self.nom_usage,
            prenoms=self.prenoms,
            date_naissance=self.date_naissance,
            genre=self.sexe,
            cog_naissance=self.commune,
        )


class _File(_Model):
    personne: list[Personne]


def personnes(path: Path) -> list[Personne]:
    """Return the people of a file, in its order; raise ``ValueError`` or ``OSError`` when it cannot be read."""
    return list(_personnes(path.read_bytes()))


def fault_of(path: Path) -> str | None:
    """Return what is wrong in a file of people, with no value of it; None when it can be read."""
    try:
        personnes(path)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
        return " ; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details)
    except (OSError, ValueError) as error:
        return (
            f"{type(error).__name__}: {error}" if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__
        )
    return None


@lru_cache(maxsize=2)
def _personnes(content: bytes) -> tuple[Personne, ...]:
    return tuple(_File.model_validate(tomllib.loads(content.decode())).personne)


def _today() -> date:
    return datetime.now(_PARIS).date()


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


# ── Who is found ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFD", text.replace("Œ", "OE").replace("œ", "oe").replace("’", "'"))
    return re.sub(r"['-]", "", "".join(letter for letter in letters if not unicodedata.combining(letter))).upper()


def _solid(text: str) -> str:
    """Return a name as one word: callers write a space, a hyphen or nothing in the same place."""
    return "".join(_plain(text).split())


def _distance(one_name: str, other: str) -> int:
    """Return how many letters differ: added, left out or changed (Levenshtein)."""
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one_name, 1):
        previous, row[0] = row[0], place
        for column, wanted in enumerate(other, 1):
            previous, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, previous + (letter != wanted)),
            )
    return row[-1]


def _of_first_names(given: str, known: str) -> int:
    """Return 2 for the same first names or the same first one, 1 for misspelt or absent ones, -1 for others."""
    names, theirs = _plain(given).split(), _plain(known).split()
    if not names:
        return 1
    if "".join(names) in {"".join(theirs), *theirs[:1]}:  # a space stands where others write a hyphen
        return 2
    near = len(names) <= len(theirs) and all(_distance(*pair) <= 2 for pair in zip(names, theirs, strict=False))  # noqa: PLR2004 - the rule's two letters
    return 1 if near else -1


def _of_date(given: str, known: str) -> int:
    """Return 2 for the whole date, 1 for its year, 0 for none, -1 for another one."""
    parts, theirs = given.split("-"), known.split("-")
    if any(int(part) and int(other) and part != other for part, other in zip(parts, theirs, strict=True)):
        return -1
    if not int(parts[0]):
        return 0
    return 2 if int(parts[1]) and int(parts[2]) else 1


def is_found(person: Personne, query: Mapping[str, str]) -> bool:
    """Return whether an identity, as the gate is asked about it, is enough of this person's."""
    commune = query.get("codeLieuNaissance")
    if query["codePaysNaissance"] != person.pays:
        return False
    if _solid(query["nomNaissance"]) != _solid(person.nom_naissance):
        return False
    if commune and person.commune and commune != person.commune:
        return False
    names = _of_first_names(query.get("listePrenoms", ""), person.prenoms)
    born = _of_date(query.get("dateNaissance", "0000-00-00"), person.date_naissance)
    if min(names, born) < 0:
        return False
    return names + born >= (_ENOUGH - 1 if person.retrouvable_sans_date else _ENOUGH)


# ── The service ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Token:
    benefit: str
    until: float


def app(people_file: Path) -> Flask:
    """Make the service for the people of a file, read again when it has changed."""
    return app_of(lambda: personnes(people_file))


def app_of(load_people: Callable[[], Iterable[Personne]]) -> Flask:
    """Make the service for the people that ``load_people`` returns at each request.

    A test may change two values of its ``config``: ``TOKENS`` (once cleared, no token is accepted any more), and
    ``TOKEN_SECONDS``.
    """
    service = Flask(__name__)
    tokens: dict[str, _Token] = {}
    service.config.update(TOKENS=tokens, TOKEN_SECONDS=TOKEN_SECONDS)

    @service.post("/token")
    def token() -> ResponseReturnValue:
        benefit = _benefit_of_client(request)
        if benefit is None:
            return {"error": "invalid_client"}, 401
        if (
            request.form.get("grant_type") != "client_credentials"
            or request.form.get("scope") != client(benefit)["scope"]
        ):
            return {"error": "invalid_scope"}, 400
        issued, seconds = secrets.token_urlsafe(32), service.config["TOKEN_SECONDS"]
        tokens[issued] = _Token(benefit, time.time() + seconds)
        return {"access_token": issued, "token_type": "Bearer", "expires_in": seconds}

    @service.get("/<benefit>")
    def question(benefit: str) -> ResponseReturnValue:
        if benefit not in BENEFITS:
            return _error(404, 40401)
        authorization = request.authorization
        bearer = authorization.token if authorization is not None and authorization.type == "bearer" else None
        known = tokens.get(bearer or "")
        if known is None or known.until <= time.time():
            return {"error": "invalid_token"}, 401
        if known.benefit != benefit:
            return {"error": "insufficient_scope"}, 403
        query = request.args.to_dict()
        if refused := _refused(benefit, query):
            return _error(400, refused)
        found = [person for person in load_people() if is_found(person, query)]
        return _answer(found[0], benefit, query) if len(found) == 1 else _error(404, UNKNOWN)

    @service.errorhandler(OSError)
    @service.errorhandler(ValueError)
    def unreadable_people(error: Exception) -> ResponseReturnValue:
        print(f"Le fichier des assurés fictifs est illisible : {type(error).__name__}", file=sys.stderr, flush=True)
        return _error(500, 50001)

    return service


def _benefit_of_client(received: Request) -> str | None:
    """Return the benefit of a client, which authenticates with URL-safe base64, padded."""
    scheme, _, encoded = received.headers.get("Authorization", "").partition(" ")
    try:
        credentials = urlsafe_b64decode(encoded).decode()
    except (Base64Error, ValueError):
        return None
    return next(
        (
            benefit
            for benefit in BENEFITS
            if scheme == "Basic" and credentials == "{client_id}:{client_secret}".format_map(client(benefit))
        ),
        None,
    )


def _refused(benefit: str, query: Mapping[str, str]) -> int | None:  # noqa: PLR0911 - one line a check
    """Return the code of what the gate refuses in a request; None for a good one."""
    if not _UUID.fullmatch(request.headers.get("X-Correlation-ID", "")):
        return 40031
    if not _SIRET.fullmatch(request.headers.get("X-APIPART-FSFINAL", "")):
        return 40016
    if not query.get("nomNaissance"):
        return 40002
    if not all(_PLAIN.fullmatch(query.get(name, "")) for name in ("nomNaissance", "nomUsage", "listePrenoms")):
        return 40003
    if query.get("genre") not in {"M", "F"}:
        return 40014
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", query.get("dateNaissance", "")):
        return 40011
    if not re.fullmatch(r"[0-9]{5}", query.get("codePaysNaissance", "")):
        return 40015
    return _refused_period(query) if benefit == "quotient_familial" else None


def _refused_period(query: Mapping[str, str]) -> int | None:
    year, month, now = query.get("anneeDemandee", ""), query.get("moisDemande", ""), _today()
    if not re.fullmatch(r"[0-9]{4}", year) or not re.fullmatch(r"0[1-9]|1[0-2]", month):
        return 40026
    return None if 0 <= 12 * (now.year - int(year)) + now.month - int(month) < _MONTHS else 40029


def _error(status: int, code: int, fund: str | None = None) -> ResponseReturnValue:
    return {"errorCode": code, "error": "erreur du bac à sable"}, status, _fund(fund)


def _fund(name: str | None) -> dict[str, str]:
    return {"X-APISECU-FD": FUNDS[name]} if name in FUNDS else {}


def _answer(person: Personne, benefit: str, query: Mapping[str, str]) -> ResponseReturnValue:
    fund = "RNCPS" if benefit == "complementaire_sante_solidaire" else person.caisse
    match person.reponse:
        case "panne":
            return _error(503, 50301)
        case "illisible":
            return "<!doctype html><title>Maintenance</title>"
        case "trop":
            return {"error": "trop de requêtes"}, 429, {"Retry-After": "30"}
        case "lent":
            time.sleep(person.secondes)
        case int() as code if code:
            return _error(code // 100, code, fund)
    if fund == "aucune":
        return _error(404, NO_FUND)
    answer = _body(person, benefit, query)
    return _error(404, NO_FILE, fund) if answer is None else (answer, 200, _fund(fund))


def _body(person: Personne, benefit: str, query: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what the fund answers; None when it has no file."""
    if benefit == "quotient_familial":
        return _quotient(person, person.quotient_familial, query) if person.quotient_familial else None
    if benefit == "participation_familiale_eaje":
        return _eaje(person, person.eaje) if person.eaje else None
    table = BENEFITS[benefit]
    right: Droit | None = getattr(person, {"primeActivite": "prime_activite"}.get(table, table))
    if right is None:
        return {"indicateur": "NON_BENEFICIAIRE_CSS" if table == "c2s" else "NON_BENEFICIAIRE"}
    answer = _without_none({"indicateur": right.indicateur, "dateIndicateur": right.depuis})
    if table in _CODES and "NON_" not in right.indicateur:
        answer["listePrestation"] = _rights(table, right)
    return answer


def _family(person: Personne, *, with_birthplace: bool) -> dict[str, Any]:
    parents = [person.themselves, *([person.conjoint] if person.conjoint else [])]
    family: dict[str, Any] = {"allocataires": [each.to_answer(with_birthplace=with_birthplace) for each in parents]}
    if person.enfants:
        family["enfants"] = [child.to_answer(with_birthplace=with_birthplace) for child in person.enfants]
    if person.adresse:
        family["adresse"] = _without_none(person.adresse.model_dump(by_alias=True))
    return family


def _quotient(person: Personne, quotient: Quotient, query: Mapping[str, str]) -> dict[str, Any]:
    asked = f"{query['anneeDemandee']}-{query['moisDemande']}"
    computed = {
        "quotientFamilial": quotient.valeurs.get(asked, quotient.valeur),
        "annee": quotient.annee or int(query["anneeDemandee"]),
        "mois": quotient.mois or int(query["moisDemande"]),
    }
    return _family(person, with_birthplace=False) | _without_none(computed)


def _eaje(person: Personne, eaje: Eaje) -> dict[str, Any]:
    return _family(person, with_birthplace=True) | {
        "nombreEnfantACharge": len(person.enfants),
        "nombreBeneficiaireAEH": eaje.aeeh,
        "montantRessources": eaje.ressources,
        "annee": eaje.annee,
    }


def _rights(table: str, right: Droit) -> list[dict[str, Any]]:
    """Return the active right; none where the file leaves out whether it is increased."""
    if table in _INCREASED and right.majoration is None:
        return []
    return [
        _without_none(
            {
                "cd": _INCREASED[table] if right.majoration else _CODES[table],
                "libelle": table,
                "qualiteBeneficiaire": {"ALLOCATAIRE": 105, "OUVRANT_DROIT": 205}.get(right.indicateur),
                "dtOuvertureDroit": right.depuis,
                "etat": _without_none({"cd": 10, "libelle": "Actif", "dtEffet": right.depuis}),
            }
        )
    ]
