"""The tax service: a notice by its two numbers, from the interface that is configured (contract §2)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from api_particulier.api.parameters import AvisNumbers
from api_particulier.errors import UnavailableYear, UnknownNotice
from api_particulier.providers import impot_particulier, svair
from api_particulier.providers.proof import Proof
from api_particulier.scopes import Fetched, ProviderData
from api_particulier.settings import settings

PROVIDER: Final = "dgfip"
_PARIS: Final = ZoneInfo("Europe/Paris")


class _Interface(Protocol):
    """The functions that the module of each of the tax service's interfaces has."""

    @property
    def PROVES(self) -> Proof: ...  # noqa: N802 - a constant of the module

    def notice(self, numbers: AvisNumbers, /) -> ProviderData: ...

    def ping(self) -> None: ...


def avis(numbers: AvisNumbers) -> ProviderData:
    """Return a tax notice.

    Raise ``UnavailableYear`` for a reference that is not of the last years, before the provider is asked;
    ``UnknownNotice`` when there is none; else a ``ProviderFailure``.
    """
    _check_year(numbers.reference_avis)
    return _interface().notice(numbers)


def proves() -> Proof:
    """Return what the answer of ``avis`` proves about the holder of the numbers."""
    return _interface().PROVES


def fetch(numbers: AvisNumbers, _fields: frozenset[str]) -> Fetched:
    """Return a tax notice for a dataset, and what the audit notes of its years; raise the errors of ``avis``."""
    data = avis(numbers)
    year = 2000 + int(numbers.reference_avis[:2])
    household = data.get("foyerFiscal")
    warnings = []
    if data.get("anneeImpots") != f"{year}":
        warnings.append(f"{PROVIDER}: the notice is not of the reference's year")
    if isinstance(household, Mapping) and household.get("annee") != year:
        warnings.append(f"{PROVIDER}: the address is not of the reference's year")
    return data, warnings


def probe(numbers: AvisNumbers) -> None:
    """Request a test notice, of any year; raise the errors of ``avis``."""
    _interface().notice(numbers)


def ping() -> None:
    """Check that the tax service answers; raise a ``ProviderFailure`` when it does not."""
    _interface().ping()


def _interface() -> _Interface:
    """Return the module of the interface that is configured."""
    return impot_particulier if settings().dgfip_provider == "impot_particulier" else svair


def _check_year(reference_avis: str) -> None:
    """Refuse a notice of an unavailable year: in 2026, those of 2026 and 2025 are available (contract §2)."""
    year = reference_avis[:2]
    if not year.isdigit():
        raise UnavailableYear(UnknownNotice.reason)  # the first two digits of a reference are its year
    this_year = datetime.now(_PARIS).year
    years = settings().dgfip_available_years
    if not this_year - years < 2000 + int(year) <= this_year:
        raise UnavailableYear(
            None,
            "Cet avis n'est pas disponible : "
            + (
                f"seuls les avis des {years} dernières années le sont" if years > 1 else "seuls ceux de l'année le sont"
            ),
        )
