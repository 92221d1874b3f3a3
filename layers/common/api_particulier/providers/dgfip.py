"""What the tax service knows of a household, and how it is asked (contract §2, §3.1, §4).

Each field of a tax notice has its meaning and its scope here.

A dataset's model picks among these types; their names and their order there are those of its answer.
Dates are ``JJ/MM/AAAA``; amounts are whole euros, ``null`` where the notice says "Non imposable".
"""

from datetime import datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from api_particulier.api.parameters import AvisNumbers
from api_particulier.errors import UnavailableYear, UnknownNotice
from api_particulier.scopes import ProviderData
from api_particulier.settings import settings

_PARIS: Final = ZoneInfo("Europe/Paris")


def avis(numbers: AvisNumbers) -> ProviderData:
    """Ask the tax service for a notice.

    ``UnavailableYear`` for a notice that is not of the last years, without asking; ``UnknownNotice`` when there is
    none; else a ``ProviderError``.
    """
    _check_year(numbers.reference_avis)
    return _provider().notice(numbers)


def probe(numbers: AvisNumbers) -> None:
    """Ask for a test notice, of whatever year; the errors of ``avis``."""
    _provider().notice(numbers)


def ping() -> None:
    """Ask the tax service whether it answers; a ``ProviderError`` when it does not."""
    _provider().ping()


class _Provider(Protocol):
    """What a module of ``upstreams`` that asks the tax service offers."""

    def notice(self, numbers: AvisNumbers, /) -> ProviderData: ...

    def ping(self) -> None: ...


def _provider() -> _Provider:
    """Return the module of the interface that is configured; a refused call does not pay for importing it."""
    if settings().dgfip_provider == "impot_particulier":
        from api_particulier.providers import impot_particulier  # noqa: PLC0415 - see above

        return impot_particulier
    from api_particulier.providers import svair  # noqa: PLC0415 - see above

    return svair


def _check_year(reference_avis: str) -> None:
    """Refuse a notice of a year that cannot be had: in 2026, those of 2026 and 2025 can (contract §2)."""
    printed = reference_avis[:2]
    if not printed.isdigit():
        raise UnknownNotice  # the first two digits of a reference are its year
    this_year = datetime.now(_PARIS).year
    years = settings().dgfip_available_years
    if not this_year - years < 2000 + int(printed) <= this_year:
        raise UnavailableYear(
            None,
            "Cet avis n'est pas disponible : "
            + (
                f"seuls les avis des {years} dernières années le sont" if years > 1 else "seuls ceux de l'année le sont"
            ),
        )
