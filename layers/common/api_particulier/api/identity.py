"""The civil identity that a question of v3 is about, and the period of a quotient.

Every wrong parameter has its own refusal, in the order of the documentation; a wrong ``recipient`` is refused first, by
itself. Nothing is guessed: an empty value is an absent one, and a parameter given twice with different values is wrong.

An identity is personal data: it is never in an error, a log, a metric, a trace or a ``repr``.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from typing import ClassVar, Final, NamedTuple, Self
from urllib.parse import unquote

from api_particulier.api.parameters import Parameter, Query
from api_particulier.paris_time import today
from api_particulier.v3_errors import InvalidRequest, Refusal

FRANCE: Final = "99100"
OLDEST: Final = 1900
_LONGEST: Final = 100
_MONTHS_BACK: Final = 23
_LA_POSTE: Final = "356000000"
_UNREADABLE: Final = "\ufffd"
"""What a byte that is no UTF-8 becomes when the gateway decodes a query."""

_SIRET: Final = re.compile(r"[0-9]{14}")
_YEAR: Final = re.compile(r"[0-9]{4}")
_MONTH: Final = re.compile(r"0?[1-9]|1[0-2]")
_DAY: Final = re.compile(r"0?[1-9]|[12][0-9]|3[01]")
_SEX: Final = re.compile(r"[MFmf]")
_COMMUNE: Final = re.compile(r"([013-9][0-9]|2[AB1-9])[0-9]{3}")
_COUNTRY: Final = re.compile(r"99[0-9]{3}|92352")
_DEPARTMENT: Final = re.compile(r"0[1-9]|[1-8][0-9]|9[0-5]|2[AB]|97[1-46]")
_TEXT: Final = re.compile(r".*", re.DOTALL)
_FIRST_NAMES: Final = re.compile(r"prenoms(\[.*)?", re.DOTALL)

_DOCUMENTED_NAME: Final = r"^[A-Za-zÀ-ÖØ-öø-ÿŒœŸ'’ \-]{1,100}$"


# ── Letters ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_PLAIN: Final = str.maketrans(
    {
        "Æ": "AE",
        "æ": "ae",
        "Œ": "OE",
        "œ": "oe",
        "Ø": "O",
        "ø": "o",
        "ß": "ss",
        "ẞ": "SS",
        "Þ": "Th",
        "þ": "th",
        "Ð": "D",
        "ð": "d",
        "Đ": "D",
        "đ": "d",
        "Ł": "L",
        "ł": "l",
        "Ħ": "H",
        "ħ": "h",
        "Ŧ": "T",
        "ŧ": "t",
        "ı": "i",
    }
)
"""Letters that no accent can be taken off."""
_PLAIN_NAME: Final = re.compile(r"[A-Za-z' -]+")


def transliterated(text: str) -> str:
    """Return a text with plain letters in the place of those with accents; the case and the rest stay."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFD", text.translate(_PLAIN))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _name(text: str) -> str | None:
    """Return a name in NFC with plain apostrophes; None when a character of it belongs in no name."""
    name = text if text.isascii() else unicodedata.normalize("NFC", text).replace("’", "'")
    if len(name) > _LONGEST or any(unicodedata.combining(letter) for letter in name):
        return None
    return name if _PLAIN_NAME.fullmatch(transliterated(name)) else None


def normalised(text: str) -> str:
    """Return a name as pseudonyms have it: plain capitals, one space in the place of each mark or run of spaces."""
    return " ".join(re.split(r"['\s-]+", transliterated(text).upper())).strip()


# ── The query ────────────────────────────────────────────────────────────────────────────────────────────────────────


def recipient_of(query: Query, siret: str) -> str:
    """Return the SIRET of the body that receives the data.

    Raise ``InvalidRequest`` when the query cannot be read, or when the recipient is absent, malformed or of another
    organisation than that of ``siret``.
    """
    if any(_UNREADABLE in text for name, values in query.items() for text in (name, *values)):
        raise InvalidRequest(Refusal("00401"))
    found = {value.strip() for value in query.get("recipient") or ()} - {""}
    if not found:
        raise InvalidRequest(Refusal("00203"))
    recipient = found.pop()
    if found or not _is_siret(recipient):
        raise InvalidRequest(Refusal("00210"))
    if recipient[:9] != siret[:9]:
        raise InvalidRequest(Refusal("00213"))
    return recipient


def _is_siret(text: str) -> bool:
    if not _SIRET.fullmatch(text):
        return False
    if text.startswith(_LA_POSTE):
        return True
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(text)]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0  # noqa: PLR2004 - Luhn's


class _Reader:
    """The parameters of a query, and the refusals that reading them adds up."""

    def __init__(self, query: Query) -> None:
        self.refusals: list[Refusal] = []
        self._query = query

    def refuse(self, code: str, parameter: str | None = None) -> None:
        self.refusals.append(Refusal(code, parameter))

    def given(self, name: str) -> set[str]:
        """Return the different values of a parameter that are not empty."""
        return {value.strip() for value in self._query.get(name) or ()} - {""}

    def read(self, name: str, pattern: re.Pattern[str], code: str | None = None) -> str | None:
        """Return the value of a parameter; None when it is absent, or refused under ``code``."""
        found = self.given(name)
        if len(found) == 1 and pattern.fullmatch(value := next(iter(found))):
            return value
        if found and code:
            self.refuse(code, name)
        return None

    def name(self, parameter: str, code: str, *, required: bool = False) -> str:
        """Return a name; empty when it is absent, or refused."""
        found = self.given(parameter)
        name = _name(next(iter(found))) if len(found) == 1 else None
        if name is None and (found or required):
            self.refuse(code)
        return name or ""

    def first_names(self) -> tuple[str, ...]:
        """Return the first names, in their order."""
        values: list[str] = []
        for name, given in self._query.items():
            written = unquote(name) if "%" in name else name
            if written == "prenoms[]":
                values += given
            elif _FIRST_NAMES.fullmatch(written) and any(value.strip() for value in given):
                self.refuse("00367")
                return ()
        names = [_name(value.strip()) for value in values if value.strip()]
        if None in names:
            self.refuse("00367")
            return ()
        return tuple(name for name in names if name)


# ── The identity ─────────────────────────────────────────────────────────────────────────────────────────────────────


class BirthDate(NamedTuple):
    """A date of birth, of which any part may be unknown."""

    year: int | None = None
    month: int | None = None
    day: int | None = None

    def __str__(self) -> str:
        """Write AAAA-MM-JJ, with zeros for what is unknown and for what means nothing without it."""
        year = self.year or 0
        month = (self.month or 0) if year else 0
        day = (self.day or 0) if month else 0
        return f"{year:04}-{month:02}-{day:02}"


class _Place(NamedTuple):
    """A place of birth: the country, and the commune by its code or by its name and department."""

    country: str
    commune: str = ""
    commune_name: str = ""
    department: str = ""

    @property
    def known_commune(self) -> str:
        """Return the commune as pseudonyms have it: its code, else its department and name, for a birth in France."""
        if self.country != FRANCE:
            return ""
        return self.commune or f"{self.department} {self.commune_name}".strip()


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A civil identity, as far as the caller knows it, and the body that receives the data."""

    recipient: str
    nom_naissance: str = field(repr=False)
    nom_usage: str = field(default="", repr=False)
    prenoms: tuple[str, ...] = field(default=(), repr=False)
    birth: BirthDate = field(default=BirthDate(), repr=False)
    sexe: str = field(default="", repr=False)
    """``M``, ``F`` or nothing."""
    pays: str = field(repr=False)
    commune: str = field(default="", repr=False)
    nom_commune: str = field(default="", repr=False)
    departement: str = field(default="", repr=False)

    documented: ClassVar[tuple[Parameter, ...]] = ()

    @property
    def place(self) -> _Place:
        return _Place(self.pays, self.commune, self.nom_commune, self.departement)

    @property
    def first_name(self) -> str:
        return self.prenoms[0] if self.prenoms else ""

    @property
    def citizen_id(self) -> str:
        return identifier(self.nom_naissance, self.first_name, str(self.birth), self.pays, self.place.known_commune)

    @property
    def whole(self) -> str:
        return self.citizen_id

    @property
    def is_vague(self) -> bool:
        """Return whether the question leaves out the first name or the month of birth."""
        return not self.prenoms or not self.birth.month

    @classmethod
    def parse(cls, query: Query) -> Self:
        """Read a query of which the recipient was checked; raise ``InvalidRequest`` with every wrong parameter."""
        reader = _Reader(query)
        values = cls.read(reader)
        if reader.refusals:
            raise InvalidRequest(*reader.refusals)
        return cls(recipient=reader.given("recipient").pop(), **values)  # type: ignore[arg-type]  # as ``read`` names them

    @classmethod
    def read(cls, reader: _Reader) -> dict[str, object]:
        """Return the fields of an identity, in the order of the documentation."""
        sexe = reader.read("sexeEtatCivil", _SEX, "00427") or ""
        commune = reader.read("codeCogInseeCommuneNaissance", _COMMUNE, "00365") or ""
        nom_commune, departement = _commune_by_name(reader)
        pays = reader.read("codeCogInseePaysNaissance", _COUNTRY, "00400") or ""
        if not pays and not reader.given("codeCogInseePaysNaissance"):
            reader.refuse("00400")
        birth = _birth(reader)
        return {
            "sexe": sexe.upper(),
            "commune": commune,
            "nom_commune": nom_commune,
            "departement": departement,
            "pays": pays,
            "birth": birth,
            "prenoms": reader.first_names(),
            "nom_naissance": reader.name("nomNaissance", "00420", required=True),
            "nom_usage": reader.name("nomUsage", "00431"),
        }


def identifier(name: str, first_name: str, birth: str, country: str, commune: str) -> str:
    """Return the normalised identity from which a pseudonym is made; what is empty was not given."""
    return "|".join((f"dss:{normalised(name)}", normalised(first_name), birth, country, normalised(commune)))


def _commune_by_name(reader: _Reader) -> tuple[str, str]:
    """Return the name of the commune of birth and its department, checked where they stand for the code."""
    name, department = "nomCommuneNaissance", "codeCogInseeDepartementNaissance"
    stands_for_code = (
        reader.given(name)
        and reader.given(department)
        and reader.given("anneeDateNaissance")
        and not reader.given("codeCogInseeCommuneNaissance")
    )
    if len(reader.given(name)) > 1 or any(len(value) > _LONGEST for value in reader.given(name)):
        reader.refuse("00428", name)
    read = reader.read(department, _DEPARTMENT if stands_for_code else _TEXT, "00428") or ""
    if stands_for_code and _year(reader) is None:
        reader.refuse("00422")
    return reader.read(name, _TEXT) or "", read


def _year(reader: _Reader) -> int | None:
    """Return the year of birth; None when it is absent or cannot be one."""
    year = reader.read("anneeDateNaissance", _YEAR)
    return int(year) if year and OLDEST <= int(year) <= today().year else None


def _birth(reader: _Reader) -> BirthDate:
    """Read the three parts of the date of birth; refuse them once."""
    year = _year(reader)
    month, day = reader.read("moisDateNaissance", _MONTH), reader.read("jourDateNaissance", _DAY)
    birth = BirthDate(year, int(month) if month else None, int(day) if day else None)
    names = ("anneeDateNaissance", "moisDateNaissance", "jourDateNaissance")
    wrong = any(value is None and reader.given(name) for name, value in zip(names, birth, strict=True))
    if (wrong or not _is_possible(birth)) and not any(refusal.kind == "00422" for refusal in reader.refusals):
        reader.refuse("00363")
    return birth


def _is_possible(birth: BirthDate) -> bool:
    """Return whether a whole date is a real one before today; one with an unknown part is."""
    if not (birth.year and birth.month and birth.day):
        return True
    try:
        return date(birth.year, birth.month, birth.day) < today()
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class IdentityAndPeriod(Identity):
    """A civil identity, and the month of a quotient."""

    annee: int
    mois: int

    @classmethod
    def read(cls, reader: _Reader) -> dict[str, object]:
        """Return the fields of the period, then those of the identity."""
        annee, mois = _period(reader)
        return {"annee": annee, "mois": mois, **super().read(reader)}


def _period(reader: _Reader) -> tuple[int, int]:
    """Read the year and the month of a quotient, by default the current ones."""
    now = today()
    given_year, given_month = reader.read("annee", _YEAR), reader.read("mois", _MONTH)
    year = int(given_year) if given_year else now.year
    month = int(given_month) if given_month else now.month
    wrong_year = (not given_year and reader.given("annee")) or not now.year - 2 <= year <= now.year
    if wrong_year:
        reader.refuse("00356")
    wrong_month = (not given_month and reader.given("mois")) or (
        not wrong_year and (year, month) > (now.year, now.month)
    )
    if wrong_month:
        reader.refuse("00354")
    months_back = 12 * (now.year - year) + now.month - month
    if not wrong_year and not wrong_month and months_back > _MONTHS_BACK:
        reader.refuse("00355")
    return year, month


# ── Under which identities a person may have been asked about ────────────────────────────────────────────────────────


def forms(identity: Identity) -> dict[str, str]:
    """Return the 36 identifiers under which a caller may have asked about a person, each with what it leaves out.

    A caller may know the date in part, the first names in part, and the commune by its code, by its name or not at all.
    """
    year, month, _ = identity.birth
    dates = {
        "": identity.birth,
        "day": BirthDate(year, month),
        "day, month": BirthDate(year),
        "date": BirthDate(),
    }
    first = identity.first_name
    first_names = {"": first, "other words of the first name": first.partition(" ")[0], "first name": ""}
    place = identity.place
    by_name = place._replace(commune="").known_commune
    communes = {"": place._replace(commune_name="", department="").known_commune, "code of the commune": by_name}
    communes["commune"] = ""
    found: dict[str, str] = {}
    for without_date, birth in dates.items():
        for without_name, first_name in first_names.items():
            for without_place, commune in communes.items():
                words = ", ".join(filter(None, (without_date, without_name, without_place)))
                person = identifier(identity.nom_naissance, first_name, str(birth), identity.pays, commune)
                found.setdefault(person, f"without {words}" if words else "whole identity")
    return found
