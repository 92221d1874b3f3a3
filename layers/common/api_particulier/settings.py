"""The environment variables of a function, read once into one frozen model."""

from functools import lru_cache
from os import environ
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _https_or_loopback(url: str) -> str:
    """Plain HTTP is for the simulated providers of the local stack, which never leave the machine."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - paid once, where a URL is configured

    parts = urlsplit(url)
    on_loopback = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if on_loopback or (parts.scheme == "https" and parts.hostname):
        return url.rstrip("/")
    msg = "a provider's address is https://, or http:// on loopback"
    raise ValueError(msg)


type ProviderUrl = Annotated[str, AfterValidator(_https_or_loopback)]
type Seconds = Annotated[float, Field(gt=0, le=28)]
"""At most what a function has to answer in."""


class Settings(BaseModel):
    """One field a variable, of the same name in capitals."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    environment: str = "local"
    aws_default_region: str = ""
    """Which Lambda always says."""
    aws_endpoint_url: str | None = None
    """Where all of AWS is, in the local stack and in tests."""
    tokens_table: str = ""
    audit_table: str = ""
    stats_table: str = ""
    habilitations_table: str = ""
    """Tables; each function is given those that its role may use (``tests/architecture/test_settings.py``). DynamoDB
    refuses an empty name."""
    pseudonym_key_id: str = ""
    """The KMS key that this month's pseudonyms are made with."""
    entry_key_id: str = ""
    """The KMS key that marks the audit's entries as ours."""
    former_pseudonym_key_ids: str = ""
    """Those of before its rotations, separated by commas: who answers citizens is told, and no other."""
    enumeration_slowed_at: Annotated[int, Field(ge=2)] = 80
    """From how many people of one group a token's questions are refused for a minute (``enumeration``),"""
    enumeration_suspended_at: Annotated[int, Field(ge=2)] = 160
    """and it is suspended;"""
    enumeration_share: Annotated[float, Field(gt=0, le=1)] = 0.6
    """if there is no more than one call for so much of a person."""
    suspicions_queue: str = ""
    """Where whoever may suspend a token is told of one: a queue's URL."""
    citizen_tries_by_address: Annotated[int, Field(ge=1)] = 120
    """How often an hour the access logs of citizens may be asked for from one address: a town hall's desk has one."""
    citizen_tries_by_citizen: Annotated[int, Field(ge=1)] = 30
    """How often an hour that of one citizen may be, by whoever has their number, right or wrong."""
    public_url: str | None = None
    """What callers put before ``/api``: a domain of ours. Without one, the address that a request was sent to."""
    mail_sender: str | None = None
    """Whom mails come from: an address, or one of a domain, that SES has verified. Without it none is sent."""
    seals_bucket: str = ""
    seal_key_id: str = ""
    """What the sealing function alone is told."""

    dgfip_provider: Literal["svair", "impot_particulier"] = "svair"
    dgfip_svair_url: ProviderUrl = "https://cfsmsp.impots.gouv.fr"
    dgfip_available_years: Annotated[int, Field(ge=1)] = 2
    """How many years of notices can be had, the current one included (contract §2)."""
    impot_particulier_url: ProviderUrl | None = None
    """The gateway of the tax service's APIs, up to and without ``/impotparticulier/1.0``; it has no public default."""
    impot_particulier_secret_id: str | None = None
    """The secret that holds our OAuth2 client."""
    ban_url: ProviderUrl = "https://data.geopf.fr/geocodage"
    ban_deadline: Seconds = 2.0
    """For the geocoder, without which an answer can do."""

    datapass_secret_id: str | None = None
    """The secret that DataPass signs its events with."""
    datapass_dead_letters: str | None = None
    """Where events that cannot be processed wait for somebody: the queue's URL."""

    caf_url: ProviderUrl | None = None
    """Where the CAF's document service is, up to and without ``/sgmap/wswdd/v1``; it has no public default."""
    caf_secret_id: str | None = None
    """The secret that holds our client certificate; not read where the CAF is plain ``http://``."""

    probe_secret_id: str | None = None
    """The secret of the identities that the probes ask for."""

    provider_connect_timeout: Seconds = 3.0
    provider_read_timeout: Seconds = 8.0
    """Between two bytes."""
    provider_deadline: Seconds = 10.0
    """For everything that one question asks of a provider; leaves time to audit, were AWS as slow as it may be."""
    circuit_seconds: Seconds = 15.0
    """How long nobody asks a provider that is down, before one question tries: longer than that one may last."""
    token_cache_seconds: Annotated[int, Field(ge=0, le=60)] = 60
    """How long an environment remembers a token; 60 is promised."""

    @model_validator(mode="after")
    def _knows_impot_particulier(self) -> Self:
        told = self.impot_particulier_url and self.impot_particulier_secret_id
        if self.dgfip_provider == "impot_particulier" and not told:
            msg = "API Impôt particulier has no public address: it needs its own, and its secret"
            raise ValueError(msg)
        return self


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Read the environment; raise ``pydantic.ValidationError`` at the first call when a value is not valid.

    An empty variable is one that is not set: a template's parameter cannot be left out, only empty.
    """
    return Settings.model_validate(
        {name: value for name in Settings.model_fields if (value := environ.get(name.upper()))}
    )
