"""Citizen access: the log of the administrations that consulted a citizen's data, for the holder of the numbers.

The numbers are checked with the provider first, exactly as a dataset does: a caller with wrong numbers learns nothing,
not even whether the person exists. Attempts are limited by address and by citizen, right or wrong.
"""

from datetime import UTC, date, datetime
from typing import Any, Final

from pydantic import BaseModel, Field

from api_particulier.api import rate_limit
from api_particulier.api.asker import asking
from api_particulier.api.handler import handle_audited, time_provider
from api_particulier.api.openapi import OF_PROVIDER, Route
from api_particulier.api.parameters import AllocataireNumbers, AvisNumbers, Parameter, Query
from api_particulier.api.request import Request
from api_particulier.api.response import Response
from api_particulier.audit import access_log
from api_particulier.audit.bucket import Bucket, NotProven
from api_particulier.audit.mac import Marks
from api_particulier.audit.pseudonyms import pseudonym
from api_particulier.audit.record import CITIZEN, AuditRecord
from api_particulier.aws import dynamodb, kms, s3
from api_particulier.dynamodb import Table
from api_particulier.errors import (
    AccessesUnavailable,
    ApiError,
    AuditUnavailable,
    BadRequest,
    NotFound,
    NotProvable,
    ProviderError,
    TooManyAttempts,
    UnavailableYear,
    UnknownNotice,
    UnknownPerson,
)
from api_particulier.observability import LogEvent, log
from api_particulier.providers import caf, dgfip
from api_particulier.providers.proof import Proof
from api_particulier.settings import settings

_FEW: Final = 10
"""Tries an hour for a citizen's number from an address, once it was tried more often than one address may."""
_MANY: Final = 10
"""Times what one address may try for a number: what all addresses may together."""
_WHICH = "Donnez soit numeroFiscal et referenceAvis, soit numeroAllocataire et codePostal."


class Periode(BaseModel):
    """Du premier au dernier jour, inclus ; des jours de Paris."""

    debut: date = Field(description="Premier jour")
    fin: date = Field(description="Dernier jour")


class Acces(BaseModel):
    """Une consultation par une administration, ou plusieurs semblables le même jour."""

    date_: datetime = Field(alias="date", description="Quand ; de la dernière, s'il y en a plusieurs")
    administration: str = Field(description="Qui a consulté")
    siret: str | None = Field(description="Son numéro SIRET ; null pour l'opérateur du service")
    finalite: str | None = Field(description="À quelle fin, selon son habilitation ; null si elle n'est pas connue")
    accord: str | None = Field(
        description="Numéro de l'accord de l'usager, donné par l'administration ; null sans numéro"
    )
    jeuDeDonnees: str = Field(description="Ce qui a été demandé")
    champs: list[str] = Field(description="Les champs transmis ; aucun si l'appel a été refusé")
    statut: int = Field(description="Le statut HTTP de la réponse", ge=100, le=599)
    nombre: int = Field(description="Combien de consultations semblables ce jour-là", ge=1)


class AccesCitoyen(BaseModel):
    """Qui a consulté les données d'un citoyen."""

    periode: Periode
    total: int = Field(description="Combien de consultations, toutes pages confondues", ge=0)
    acces: list[Acces] = Field(description="Les dernières d'abord ; 1 000 lignes au plus")
    suivant: str | None = Field(
        description="À donner dans le paramètre suivant pour la suite ; null à la dernière page"
    )


_NEXT = Parameter(
    "suivant", "La suite : la valeur de suivant dans la page précédente. Facultatif.", f"^{access_log.CURSOR}$"
)

ROUTES = (
    Route(
        name="acces_citoyen",
        path="/api/citoyen/acces",
        summary="Qui a consulté mes données ?",
        description=_WHICH,
        parameters=(*AvisNumbers.documented, *AllocataireNumbers.documented, _NEXT),
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
                    "accord": "cantine-2026-0042",
                    "jeuDeDonnees": "revenu_fiscal_reference",
                    "champs": ["revenuFiscalReference", "nombreParts"],
                    "statut": 200,
                    "nombre": 1,
                }
            ],
            "suivant": None,
        },
        errors=(
            BadRequest(_WHICH),
            UnknownNotice,
            UnavailableYear,
            NotProvable,
            TooManyAttempts,
            *OF_PROVIDER,
            ProviderError,
            AuditUnavailable,
            AccessesUnavailable,
        ),
    ),
)


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer ``GET /api/citoyen/acces``, and HEAD, of which the gateway sends the head alone."""
    return handle_audited(event, context, "citizen_access", _build_body, CITIZEN)


def _build_body(request: Request, record: AuditRecord) -> dict[str, Any]:
    record.address = ""  # a person's own address: it is kept as a pseudonym, or not at all
    record.address = pseudonym(f"address:{rate_limit.network_of(request.address)}", record.at)
    try:
        return _read_accesses(request, record)
    except ApiError as error:
        if error.status < 500:  # noqa: PLR2004 - HTTP's own
            # A try costs its author nothing, and a record is kept for 36 months: the first of an address and hour is,
            # and those after it are counted.
            error.is_recorded = rate_limit.count(f"refusals:{record.address}") == 1
        raise


def _read_accesses(request: Request, record: AuditRecord) -> dict[str, Any]:
    rate_limit.hit(record.address, settings().citizen_tries_by_address)
    numbers, cursor = _numbers(request.query), _cursor(request.query)
    record.citizen = pseudonym(numbers.citizen_id, record.at)
    _limit_tries(numbers.number, record)
    _verify(numbers, record)
    try:
        return access_log.access_log(_accesses(), numbers.citizen_id, datetime.now(UTC), cursor)
    except NotProven as error:  # a month is missing: a part is never shown for the whole
        log(LogEvent.AUDIT_FAILED, dataset=record.dataset, place=str(error), request_id=record.request_id)
        raise AccessesUnavailable from None


def _limit_tries(number: str, record: AuditRecord) -> None:
    """Limit the tries of a number by address first, so that those of a stranger leave the citizen their own.

    A postcode can be guessed: all addresses together have a limit too, which takes a stranger many addresses to reach.
    """
    allowed = settings().citizen_tries_by_citizen
    tried = rate_limit.hit(pseudonym(f"number:{number}", record.at), _MANY * allowed)
    if tried > allowed:
        allowed = min(allowed, _FEW)
    rate_limit.hit(pseudonym(f"number:{number}|{record.address}", record.at), allowed)


def _numbers(query: Query) -> AvisNumbers | AllocataireNumbers:
    """Read the numbers of a tax notice, or else of a family file."""
    asks_dgfip, asks_caf = (
        any(parameter.name in query for parameter in numbers.documented)
        for numbers in (AvisNumbers, AllocataireNumbers)
    )
    if asks_dgfip is asks_caf:
        raise BadRequest(_WHICH)
    return AvisNumbers.parse(query) if asks_dgfip else AllocataireNumbers.parse(query)


def _verify(numbers: AvisNumbers | AllocataireNumbers, record: AuditRecord) -> None:
    """Check the numbers with the provider; raise ``UnknownNotice``, for any reason, when they are not a person's.

    A family file that the CAF knows and has closed is a person's all the same. Raise ``NotProvable`` when the
    provider's answer would not prove that the numbers are the caller's.
    """
    proof = dgfip.proves() if isinstance(numbers, AvisNumbers) else caf.PROVES
    if proof is not Proof.POSSESSION:
        raise NotProvable
    try:
        with (
            asking(CITIZEN, str(record.citizen)),  # people without a key are one caller
            time_provider(record, "dgfip" if isinstance(numbers, AvisNumbers) else "caf"),
        ):
            if isinstance(numbers, AvisNumbers):
                dgfip.avis(numbers)
            else:
                caf.famille(numbers)
    except UnavailableYear:  # the notice's year is in its reference: this reveals nothing about a person
        raise
    except (UnknownPerson, BadRequest):
        # Not in the provider's words, which may reveal which of the two numbers is right.
        raise UnknownNotice from None
    except NotFound:
        return  # the CAF knows the file, and has a reason to give nothing of it


def _cursor(query: Query) -> str | None:
    given = [value for value in query.get(_NEXT.name, []) if value]
    if not given:
        return None
    if len(given) > 1 or not access_log.is_cursor(given[0]):
        raise BadRequest("Le paramètre suivant n'est pas celui d'une page de cette réponse.")
    return given[0]


def _accesses() -> access_log.Accesses:
    former = settings().former_pseudonym_key_ids.split(",")
    key_ids = [key_id for key_id in (settings().pseudonym_key_id, *former) if key_id]
    bucket = Bucket(s3(), settings().seals_bucket)
    marks = Marks(kms(), settings().entry_key_id, settings().operator_key_id)
    return access_log.Accesses(Table(dynamodb(), settings().audit_table), bucket, kms(), key_ids, marks)
