"""Simulate the tax service's notice verification (SVAIR), with fictional people.

A GET of ``/secavis/`` returns the form and a session cookie; a POST of the two numbers, with the form's
``javax.faces.ViewState``, returns a notice. A form can be posted many times during half an hour; a form that is too
old, or that does not match the cookie, ends in the HTTP 500 of a JSF server.
"""

import hmac
import secrets
import sys
import time
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from flask import Flask, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

FORM_SECONDS: Final = 1800
_SESSION: Final = "JSESSIONID"
_PARIS: Final = ZoneInfo("Europe/Paris")
_CALENDAR: Final = ("courante", "precedente")


# ── The people ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _in_euros(value: object) -> object:
    return f"{value:,} €".replace(",", "\N{NO-BREAK SPACE}") if type(value) is int else value


def _in_hundredths(value: object) -> object:
    return f"{value:.2f}" if type(value) in {int, float} else value


def _in_digits(value: object) -> object:
    return str(value) if type(value) is int else value


# The text of a row; "" is a row with an empty cell, None is no row.
type _Row = str | None
type _Amount = Annotated[_Row, BeforeValidator(_in_euros)]
type _Parts = Annotated[_Row, BeforeValidator(_in_hundredths)]
type _Count = Annotated[_Row, BeforeValidator(_in_digits)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Declarant(_Model):
    """A column of a notice's first rows; a row without any value is not printed."""

    nom: _Row = None
    nom_naissance: _Row = None
    prenoms: _Row = None
    date_naissance: _Row = None


class Person(_Model):
    """A notice with its two numbers, as the page prints it.

    ``people/avis.toml`` documents each field.
    """

    numero_fiscal: str = Field(pattern=r"^[0-9]{13}$")
    reference_avis: str = Field(pattern=r"^[0-9]{2}[0-9A-Za-z]{11}$")
    reponse: Literal["avis", "interdit", "lent", "panne", "illisible"] = "avis"
    secondes: float = Field(20, ge=0)
    """The duration of a slow response; the API gives up after 10 seconds."""

    annee: int = Field(default_factory=lambda fields: 2000 + int(fields["reference_avis"][:2]))
    """The year of the notice and of its address."""
    annee_impots: int = Field(default_factory=lambda fields: fields["annee"])
    annee_revenus: int = Field(default_factory=lambda fields: fields["annee_impots"] - 1)
    declarant1: Declarant = Declarant()
    declarant2: Declarant = Declarant()
    adresse: tuple[str, ...] | None = None
    """A line for each row; without any line, a row with an empty cell."""
    date_recouvrement: _Row = None
    date_etablissement: _Row = None
    nombre_parts: _Parts = None
    situation_famille: _Row = None
    nombre_personnes_charge: _Count = None
    revenu_brut_global: _Amount = None
    revenu_imposable: _Amount = None
    impot_revenu_net_avant_corrections: _Amount = None
    montant_impot: _Amount = None
    revenu_fiscal_reference: _Amount = None
    erreur_correctif: str = ""
    situation_partielle: str = ""


class _File(_Model):
    personne: list[Person]


class PeopleError(Exception):
    """The file of people cannot be read; the message has no value of it."""


def people(path: Path) -> list[Person]:
    """Return the people of a file, in its order.

    Raise ``PeopleError`` when the file cannot be read.
    """
    try:
        return list(_people(path.read_bytes(), datetime.now(_PARIS).year))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
        cause = " ; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details)
    except tomllib.TOMLDecodeError as error:
        cause = str(error)
    except (OSError, ValueError) as error:
        cause = type(error).__name__
    raise PeopleError(f"{path.name} : {cause}")


def fault_of(path: Path) -> str | None:
    """Return what is wrong in a file of people, with no value of it; None when it can be read."""
    try:
        people(path)
    except PeopleError as error:
        return str(error)
    return None


@lru_cache(maxsize=2)
def _people(content: bytes, this_year: int) -> tuple[Person, ...]:
    file = tomllib.loads(content.decode())
    if isinstance(people := file.get("personne"), list):
        file["personne"] = [_dated(fields, this_year) for fields in people]
    return tuple(_File.model_validate(file).personne)


def _dated(fields: Any, this_year: int) -> Any:
    """Replace the years of a person whose notice follows the calendar."""
    if not isinstance(fields, dict) or fields.get("annee") not in _CALENDAR:
        return fields
    year = this_year - _CALENDAR.index(fields["annee"])
    dated = {
        name: value.replace("AAAA-1", str(year - 1)).replace("AAAA", str(year)) if isinstance(value, str) else value
        for name, value in fields.items()
    }
    return dated | {"annee": year, "referenceAvis": f"{year % 100:02}{str(fields.get('referenceAvis', ''))[2:]}"}


# ── The service ──────────────────────────────────────────────────────────────────────────────────────────────────────


def app(people_file: Path) -> Flask:
    """Make the service for the people of a file, read again when it has changed."""
    return app_of(lambda: people(people_file))


def app_of(load_people: Callable[[], Iterable[Person]]) -> Flask:
    """Make the service for the people that ``load_people`` returns at each request.

    A test may change two values of its ``config``: ``SECRET_KEY``, which makes every earlier form unknown, and
    ``FORGOTTEN``, the response to an unknown form: "error", "form" or "redirect".
    """
    service = Flask(__name__)
    service.config.update(SECRET_KEY=secrets.token_bytes(32), FORGOTTEN="error")
    forms = _Forms(service.config)

    @service.get("/secavis/")
    def form() -> ResponseReturnValue:
        return _form_page(forms, secrets.token_hex(16))

    @service.post("/secavis/faces/commun/index.jsf")
    def verify() -> ResponseReturnValue:
        session = request.cookies.get(_SESSION, "")
        if not forms.knows(session, request.form.get("javax.faces.ViewState", "")):
            match service.config["FORGOTTEN"]:
                case "form":
                    return _form_page(forms, secrets.token_hex(16))
                case "redirect":
                    return redirect("/secavis/")
                case _:
                    return render_template("svair/expire.html"), 500
        if (request.form.get("j_id_7_SUBMIT"), request.form.get("j_id_7:j_id_l")) != ("1", "Valider"):
            return _form_page(forms, session)
        numbers = request.form.get("j_id_7:spi"), request.form.get("j_id_7:num_facture")
        matches = (person for person in load_people() if (person.numero_fiscal, person.reference_avis) == numbers)
        return _notice_page(next(matches, None), forms.new(session))

    @service.errorhandler(PeopleError)
    def unreadable_people(error: PeopleError) -> ResponseReturnValue:
        print(f"Personnes fictives illisibles : {error}", file=sys.stderr, flush=True)
        return render_template("svair/fichier.html", why=error), 500

    return service


class _Forms:
    """The forms: each is signed with its session and its end, so that none is stored."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config

    def new(self, session: str) -> str:
        content = secrets.token_bytes(16) + int(time.time() + FORM_SECONDS).to_bytes(8)
        return b64encode(content + self._sign(session, content)).decode()

    def knows(self, session: str, view_state: str) -> bool:
        try:
            decoded = b64decode(view_state, validate=True)
        except ValueError:
            return False
        content, signature = decoded[:24], decoded[24:]
        signed = hmac.compare_digest(signature, self._sign(session, content))
        return signed and int.from_bytes(content[16:]) > time.time()

    def _sign(self, session: str, content: bytes) -> bytes:
        return hmac.digest(self._config["SECRET_KEY"], session.encode() + b"\n" + content, "sha256")


def _form_page(forms: _Forms, session: str) -> ResponseReturnValue:
    page = make_response(render_template("svair/formulaire.html", view_state=forms.new(session)))
    page.set_cookie(_SESSION, session, path="/secavis", httponly=True)
    return page


def _notice_page(person: Person | None, view_state: str) -> ResponseReturnValue:
    if person is None:
        return render_template("svair/non_trouve.html", view_state=view_state)
    if person.reponse == "lent":
        time.sleep(person.secondes)
    if person.reponse in {"avis", "lent"}:
        return render_template("svair/avis.html", avis=person, declarants=_declarants(person), lignes=_rows(person))
    return render_template(f"svair/{person.reponse}.html"), 503 if person.reponse == "panne" else 200


def _declarants(person: Person) -> Sequence[tuple[str, str, str]]:
    first, second = person.declarant1, person.declarant2
    rows = (
        ("Nom", first.nom, second.nom),
        ("Nom de naissance", first.nom_naissance, second.nom_naissance),
        ("Prénom(s)", first.prenoms, second.prenoms),
        ("Date de naissance", first.date_naissance, second.date_naissance),
    )
    return [(label, left or "", right or "") for label, left, right in rows if (left, right) != (None, None)]


def _rows(person: Person) -> Sequence[tuple[str, str]]:
    rows = (
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
    )
    return [(label, value) for label, value in rows if value is not None]
