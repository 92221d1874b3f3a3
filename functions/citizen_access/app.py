"""Citizen access: who consulted my data? Anyone may know, who holds the numbers that administrations are given.

The numbers are put to the provider first, exactly as a dataset does: whoever does not hold them learns nothing, not
even whether there is such a person. How often one may try is limited by address and by citizen, right or wrong.
"""

from datetime import UTC, date, datetime
from time import monotonic
from typing import Any

from pydantic import BaseModel, Field

from api_particulier.api import rate_limit
from api_particulier.api.handler import serve_audited
from api_particulier.api.openapi import OF_PROVIDER, Route
from api_particulier.api.parameters import AllocataireNumbers, AvisNumbers, Query
from api_particulier.api.request import Request
from api_particulier.api.response import Response
from api_particulier.audit import access_log, pseudonyms
from api_particulier.audit.record import CITIZEN, AuditRecord
from api_particulier.aws import dynamodb, kms
from api_particulier.errors import (
    AuditUnavailable,
    BadRequest,
    NotFound,
    ProviderError,
    TooManyAttempts,
    UnavailableYear,
    UnknownNotice,
)
from api_particulier.providers import caf, dgfip
from api_particulier.settings import settings

_WHICH = "Donnez soit numeroFiscal et referenceAvis, soit numeroAllocataire et codePostal."


class Periode(BaseModel):
    """Du premier au dernier jour, inclus ; des jours de Paris."""

    debut: date = Field(description="Premier jour")
    fin: date = Field(description="Dernier jour")


class Acces(BaseModel):
    """Une consultation par une administration."""

    date_: datetime = Field(alias="date", description="Quand")
    administration: str = Field(description="Qui a consulté")
    siret: str = Field(description="Son numéro SIRET")
    finalite: str | None = Field(description="À quelle fin, selon son habilitation ; null si elle n'est pas connue")
    jeuDeDonnees: str = Field(description="Ce qui a été demandé")
    champs: list[str] = Field(description="Les champs transmis ; aucun si l'appel a été refusé")
    statut: int = Field(description="Le statut HTTP de la réponse", ge=100, le=599)


class AccesCitoyen(BaseModel):
    """Qui a consulté les données d'un citoyen."""

    periode: Periode
    total: int = Field(description="Combien de consultations", ge=0)
    acces: list[Acces] = Field(description="Les dernières d'abord")


ROUTES = (
    Route(
        name="acces_citoyen",
        path="/api/citoyen/acces",
        summary="Qui a consulté mes données ?",
        description=_WHICH,
        parameters=(*AvisNumbers.documented, *AllocataireNumbers.documented),
        answer=AccesCitoyen,
        example={
            "periode": {"debut": "2023-11-25", "fin": "2026-11-25"},
            "total": 1,
            "acces": [
                {
                    "date": "2026-11-24T09:12:31.402000+00:00",
                    "administration": "Ville de Fictive",
                    "siret": "21000015400018",
                    "finalite": "Tarification de la restauration scolaire",
                    "jeuDeDonnees": "revenu_fiscal_reference",
                    "champs": ["revenuFiscalReference", "nombreParts"],
                    "statut": 200,
                }
            ],
        },
        xml=True,
        errors=(
            BadRequest(_WHICH),
            UnknownNotice,
            UnavailableYear,
            TooManyAttempts,
            *OF_PROVIDER,
            ProviderError,
            AuditUnavailable,
        ),
    ),
)


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer ``GET /api/citoyen/acces``."""
    return serve_audited(event, "citizen_access", _tell, CITIZEN)


def _tell(request: Request, entry: AuditRecord) -> dict[str, Any]:
    entry.address = ""  # it is a person's own: unless it can be kept as a pseudonym, it is not kept
    entry.address = pseudonyms.pseudonym(f"address:{rate_limit.network_of(request.address)}", entry.at)
    rate_limit.hit(entry.address, settings().citizen_tries_by_address)
    numbers = _numbers(request.query)
    entry.citizen = pseudonyms.pseudonym(numbers.citizen, entry.at)
    rate_limit.hit(pseudonyms.pseudonym(f"number:{numbers.number}", entry.at), settings().citizen_tries_by_citizen)
    _verify(numbers, entry)
    return access_log.access_log(_archive(), numbers.citizen, datetime.now(UTC))


def _numbers(query: Query) -> AvisNumbers | AllocataireNumbers:
    """Read the numbers of a tax notice, or else of a family file."""
    asks_dgfip, asks_caf = (
        any(one.name in query for one in numbers.documented) for numbers in (AvisNumbers, AllocataireNumbers)
    )
    if asks_dgfip is asks_caf:
        raise BadRequest(_WHICH)
    return AvisNumbers.read(query) if asks_dgfip else AllocataireNumbers.read(query)


def _verify(numbers: AvisNumbers | AllocataireNumbers, entry: AuditRecord) -> None:
    """Ask the provider; ``UnknownNotice``, whatever the reason, when the numbers are not those of somebody."""
    entry.provider = "dgfip" if isinstance(numbers, AvisNumbers) else "caf"
    started = monotonic()
    try:
        if isinstance(numbers, AvisNumbers):
            dgfip.avis(numbers)
        else:
            caf.famille(numbers)
    except UnavailableYear:  # the notice's year is in its reference: it tells nothing of anybody
        raise
    except (NotFound, BadRequest):
        # Not in the provider's words, which may tell which of the two numbers is right.
        raise UnknownNotice from None
    finally:
        entry.provider_ms = round((monotonic() - started) * 1000)


def _archive() -> access_log.AuditArchive:
    known = settings()
    former = known.former_pseudonym_key_ids.split(",")
    key_ids = [key_id for key_id in (known.pseudonym_key_id, *former) if key_id]
    return access_log.AuditArchive(dynamodb(), known.audit_table, kms(), key_ids)
