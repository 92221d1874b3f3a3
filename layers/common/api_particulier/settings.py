"""The environment variables of a function, read once into one frozen model."""

from functools import lru_cache
from os import environ
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _https_or_loopback(url: str) -> str:
    """Refuse plain HTTP, but on loopback: the simulated providers of the local stack never leave the machine."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - 5 ms, for functions with a URL only

    parts = urlsplit(url)
    on_loopback = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if on_loopback or (parts.scheme == "https" and parts.hostname):
        return url
    msg = "a provider's address is https://, or http:// on loopback"
    raise ValueError(msg)


type ExactUrl = Annotated[str, AfterValidator(_https_or_loopback)]
type ProviderUrl = Annotated[ExactUrl, AfterValidator(lambda url: url.rstrip("/"))]
"""What a path comes after."""
type Seconds = Annotated[float, Field(gt=0, le=28)]
"""At most the function's own timeout."""


class Settings(BaseModel):
    """One field for each environment variable, of the same name in capitals."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    environment: str = "local"
    aws_default_region: str = ""
    """Lambda sets it."""
    aws_endpoint_url: str | None = None
    """The one address of AWS's services, in the local stack and in tests."""
    tokens_table: str = ""
    audit_table: str = ""
    stats_table: str = ""
    habilitations_table: str = ""
    """Tables; each function is given those that its role may use (``tests/architecture/test_settings.py``). DynamoDB
    refuses an empty name."""
    pseudonym_key_id: str = ""
    """The KMS key from which the month's pseudonyms are derived."""
    entry_key_id: str = ""
    """The KMS key from which the MAC of audit records is derived."""
    operator_key_id: str = ""
    """The same for the records of operators' commands; only the sealing function needs it."""
    token_key_id: str = ""
    """The KMS key of the MAC of tokens."""
    unsigned_tokens: Literal["refused", "accepted"] = "refused"
    """``accepted`` until an operator has signed the tokens that were issued before their MAC."""
    former_pseudonym_key_ids: str = ""
    """Those before its rotations, separated by commas; only the citizen's access log needs them."""
    enumeration_slowed_at: Annotated[int, Field(ge=2)] = 80
    """From this many people of one cluster a token's questions are refused for a minute (``enumeration``),"""
    enumeration_suspended_at: Annotated[int, Field(ge=2)] = 160
    """and from this many it is suspended,"""
    enumeration_share: Annotated[float, Field(gt=0, le=1)] = 0.6
    """if they are at least this share of the calls."""
    enumeration_people_a_day: Annotated[int, Field(ge=1)] = 10_000
    """People that a token may ask about in a day, unless its own bound is set,"""
    enumeration_unknown_a_day: Annotated[int, Field(ge=1)] = 280
    """and those of them that the provider does not know."""
    suspicions_queue: str = ""
    """The URL of the queue from which tokens are suspended."""
    citizen_tries_by_address: Annotated[int, Field(ge=1)] = 120
    """Attempts an hour to read access logs from one address; all desks of a town hall share one."""
    citizen_tries_by_citizen: Annotated[int, Field(ge=1)] = 30
    """Attempts an hour for one citizen's number, right or wrong."""
    key_tries_by_address: Annotated[int, Field(ge=1)] = 60
    """Attempts an hour, from one address, to open one-time links, and as many to report keys."""
    public_url: str | None = None
    """What callers put before ``/api``: the service's domain. By default, the address that a request was sent to."""
    mail_sender: str | None = None
    """The sender of mails: an address, or one of a domain, that SES has verified. Without it no mail is sent."""
    dpo_mail: str | None = None
    """The data protection officer, to whom the head of the audit is mailed each day."""
    timestamp_url: ExactUrl | None = None
    """The authority that stamps the head of the audit each day (RFC 3161); without it there is no stamp."""
    seals_bucket: str = ""
    seal_lock_mode: Literal["COMPLIANCE", "GOVERNANCE"] = "COMPLIANCE"
    """How the audit's objects that name their own end of lock are locked."""
    seal_key_id: str = ""

    dgfip_provider: Literal["svair", "impot_particulier"] = "svair"
    dgfip_svair_url: ProviderUrl = "https://cfsmsp.impots.gouv.fr"
    dgfip_available_years: Annotated[int, Field(ge=1)] = 2
    """How many years of notices are available, the current one included (contract §2)."""
    impot_particulier_url: ProviderUrl | None = None
    """The gateway of the tax service's APIs, up to and without ``/impotparticulier/1.0``; it has no public default."""
    impot_particulier_secret_id: str | None = None
    """The secret that holds the OAuth2 client."""
    ban_url: ProviderUrl = "https://data.geopf.fr/geocodage"
    ban_deadline: Seconds = 2.0
    """For the geocoder, which a response can do without."""

    datapass_secret_id: str | None = None
    """The secret with which DataPass signs its events."""
    datapass_dead_letters: str | None = None
    """The URL of the queue of events that could not be processed, for an operator."""

    caf_url: ProviderUrl | None = None
    """The address of the CAF's document service, without ``/sgmap/wswdd/v1``; it has no public default."""
    caf_secret_id: str | None = None
    """The secret that holds the client certificate; not read where the CAF is plain ``http://``."""

    api_secu_url: ProviderUrl | None = None
    """API-SECU: tokens at ``/token``, each benefit at ``/<benefit>`` below it; a secret may replace both addresses."""
    api_secu_secret_id: str | None = None
    """The secret of the benefit's OAuth2 client."""

    probe_secret_id: str | None = None
    """The secret of the identities that the probes use."""

    provider_connect_timeout: Seconds = 3.0
    provider_read_timeout: Seconds = 8.0
    """Between two bytes."""
    provider_deadline: Seconds = 10.0
    """For all the requests of one question; leaves time to write the audit record, with AWS at its slowest."""
    circuit_seconds: Seconds = 15.0
    """How long a provider that is down is not asked, before one question tests it: longer than a question may last."""
    token_cache_seconds: Annotated[int, Field(ge=0, le=60)] = 60
    """How long an environment caches a token; the contract promises 60."""

    @model_validator(mode="after")
    def _knows_impot_particulier(self) -> Self:
        is_configured = self.impot_particulier_url and self.impot_particulier_secret_id
        if self.dgfip_provider == "impot_particulier" and not is_configured:
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
