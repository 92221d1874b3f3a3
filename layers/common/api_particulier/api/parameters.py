"""The parameters that name a citizen's file (contract §2).

They are personal data: none is ever in an error, a log, a metric, a trace or a ``repr``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol, Self

from api_particulier.errors import BadRequest

type Query = Mapping[str, list[str]]
"""The query string as API Gateway gives it: each name with its values."""


class Parameter(NamedTuple):
    """One parameter, as the documentation describes it."""

    name: str
    description: str
    pattern: str
    """All that is accepted, spaces included: a regular expression of JSON Schema."""


class Parameters(Protocol):
    """The parameters of one dataset."""

    documented: ClassVar[tuple[Parameter, ...]]

    @property
    def citizen_id(self) -> str:
        """The normalised identifier from which the audit makes a pseudonym."""

    @property
    def whole(self) -> str:
        """All that identifies a file, normalised."""

    @classmethod
    def parse(cls, query: Query) -> Self:
        """Read and normalise; raise ``BadRequest`` with the name of a missing or malformed parameter."""


class Numbers(Parameters, Protocol):
    """Parameters of which one is a number that could be counted up."""

    neighbourhood: ClassVar[int]
    """The width of a range of numbers in which a town knows a few people; an enumeration meets all of them."""

    @property
    def number(self) -> str:
        """The number that an attacker could count up, or try many values of the other number against."""


def _values(query: Query, documented: tuple[Parameter, ...], if_missing: str) -> Mapping[str, str]:
    """Return one value a name, without spaces; raise ``BadRequest`` for one that is missing, blank or repeated."""
    values = {name: {"".join(value.split()) for value in query.get(name) or ()} for name, *_ in documented}
    if any(not found - {""} for found in values.values()):
        raise BadRequest(if_missing)
    for name, found in values.items():
        if len(found) > 1:
            raise BadRequest(f"Le paramètre {name} ne doit être fourni qu'une fois.")
    return {name: found.pop() for name, found in values.items()}


@dataclass(frozen=True)
class AvisNumbers:
    """The two numbers printed on a tax notice: the person's, and the notice's."""

    numero_fiscal: str = field(repr=False)
    """13 digits."""
    reference_avis: str = field(repr=False)
    """13 capital letters or digits, of which the first two are the notice's year."""

    neighbourhood: ClassVar[int] = 1_000_000  # the last three digits check the others
    documented: ClassVar[tuple[Parameter, ...]] = (
        Parameter(
            "numeroFiscal",
            "Numéro fiscal du déclarant : 13 chiffres. Les espaces ne comptent pas, ni ce qui suit le 13e chiffre.",
            r"^\s*([0-9]\s*){13}",
        ),
        Parameter(
            "referenceAvis",
            "Référence de l'avis d'imposition : 13 lettres ou chiffres, dont les deux premiers sont l'année de l'avis."
            " Les espaces ne comptent pas, ni la lettre de contrôle qui suit.",
            r"^\s*([0-9A-Za-z]\s*){13,14}$",
        ),
    )

    @property
    def citizen_id(self) -> str:
        return f"dgfip:{self.numero_fiscal}"

    @property
    def number(self) -> str:
        return self.numero_fiscal

    @property
    def whole(self) -> str:
        return f"{self.citizen_id}:{self.reference_avis}"

    @classmethod
    def parse(cls, query: Query) -> Self:
        values = _values(
            query,
            cls.documented,
            # The sentence of the 2020 server.
            "Les paramètres numeroFiscal et referenceAvis doivent être fournis dans la requête.",
        )
        numero_fiscal = re.match(r"[0-9]{13}", values["numeroFiscal"])
        if numero_fiscal is None:
            raise BadRequest("Le paramètre numeroFiscal doit comporter 13 chiffres.")
        # A notice prints a check letter after the 13th character, and people copy it.
        reference_avis = re.fullmatch(r"([0-9A-Za-z]{13})[0-9A-Za-z]?", values["referenceAvis"])
        if reference_avis is None:
            raise BadRequest("Le paramètre referenceAvis doit comporter 13 lettres ou chiffres.")
        return cls(numero_fiscal[0], reference_avis[1].upper())


@dataclass(frozen=True)
class AllocataireNumbers:
    """The number of a CAF file, and the postcode that identifies the CAF that gave it."""

    numero: str = field(repr=False)
    """7 digits."""
    code_postal: str = field(repr=False)
    """5 digits."""

    neighbourhood: ClassVar[int] = 1000
    documented: ClassVar[tuple[Parameter, ...]] = (
        Parameter(
            "numeroAllocataire",
            "Numéro d'allocataire de la CAF : de 1 à 7 chiffres, complétés à gauche par des zéros. Les espaces ne"
            " comptent pas, ni la lettre qui suit le 7e chiffre.",
            r"^\s*(([0-9]\s*){1,7}|([0-9]\s*){7}[A-Za-z]\s*)$",
        ),
        Parameter("codePostal", "Code postal de l'allocataire : 5 chiffres.", r"^\s*([0-9]\s*){5}$"),
    )

    @property
    def citizen_id(self) -> str:
        # Two CAF may have given the same number. There is one in each département: a family that moves within it keeps
        # its number, and finds its earlier accesses; elsewhere another CAF gives another number.
        return f"caf:{self.numero}:{self._departement}"

    @property
    def _departement(self) -> str:
        """The first digits of the postcode; 2A and 2B in Corsica, three digits overseas."""
        match self.code_postal[:2]:
            case "97" | "98":
                return self.code_postal[:3]
            case "20":
                return "2A" if self.code_postal[2] in "01" else "2B"
            case metropolitan:
                return metropolitan

    @property
    def number(self) -> str:
        return self.numero

    @property
    def whole(self) -> str:
        return f"caf:{self.numero}:{self.code_postal}"

    @classmethod
    def parse(cls, query: Query) -> Self:
        values = _values(
            query,
            cls.documented,
            # The sentence of the 2020 server.
            "Les paramètres `codePostal` et `numeroAllocataire` sont obligatoires",
        )
        # A letter is printed after the 7th digit, and people copy it.
        numero = re.fullmatch(r"([0-9]{1,7})(?:(?<=[0-9]{7})[A-Za-z])?", values["numeroAllocataire"])
        if numero is None:
            raise BadRequest("Le paramètre numeroAllocataire doit comporter de 1 à 7 chiffres.")
        if not re.fullmatch(r"[0-9]{5}", values["codePostal"]):
            raise BadRequest("Le paramètre codePostal doit comporter 5 chiffres.")
        return cls(numero[1].zfill(7), values["codePostal"])
