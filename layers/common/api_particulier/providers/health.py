"""What every function knows of a provider: one item of the statistics table for each provider.

It holds the state of the circuit breaker, the last verdict of a ping or a probe, and the maintenances that an operator
announced, so that a call reads all of it at once. An environment writes only when it has news.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any, Final, Literal, Self

from api_particulier.api.asker import Asker
from api_particulier.dynamodb import Item, Table

type Verdict = Literal["up", "down", "not_configured"]


@dataclass(frozen=True)
class Maintenance:
    """A time during which a provider is not asked, as an operator announced it."""

    start: datetime
    end: datetime
    message: str
    """For callers, in French."""

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Self:
        """Read a maintenance of the item."""
        return cls(datetime.fromisoformat(item["start"]), datetime.fromisoformat(item["end"]), item["message"])

    def to_item(self) -> Item:
        """Return a maintenance as the item holds it."""
        start, end = (moment.isoformat(timespec="seconds") for moment in (self.start, self.end))
        return {"start": start, "end": end, "message": self.message}


@dataclass(frozen=True)
class Health:
    """What is known of a provider."""

    failed: frozenset[str] = frozenset()
    """The questions without a response since the last response, each as ``caller:person:number``."""
    failed_at: float = 0.0
    """When the last of them failed, in seconds since 1970."""
    open_until: float | None = None
    """The end of the time without questions, in seconds since 1970; None while the circuit is closed."""
    verdict: Verdict | None = None
    """That of the last ping or probe; ``not_configured`` when the secret to ask with was empty or malformed."""
    checked_at: datetime | None = None
    asked_at: float = 0.0
    """When an environment last took the slot to ping, in seconds since 1970."""
    maintenances: tuple[Maintenance, ...] = ()

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Self:
        """Read the item, which is empty while nothing is known of the provider."""
        return cls(
            failed=frozenset(item.get("failed", ())),
            failed_at=item.get("failed_at", 0.0),
            open_until=item.get("open_until"),
            verdict=item.get("verdict"),
            checked_at=datetime.fromtimestamp(item["checked_at"], UTC) if "checked_at" in item else None,
            asked_at=item.get("asked_at", 0.0),
            maintenances=tuple(Maintenance.from_item(maintenance) for maintenance in item.get("maintenances", ())),
        )

    def failures_about(self, asker: Asker) -> int:
        """Return how often a caller got no response about a person."""
        return sum(question.startswith(f"{asker.name}:") for question in self.failed)

    def failures_of(self, asker: Asker) -> int:
        """Return about how many people a caller got no response."""
        return len({question.split(":")[1] for question in self.failed if question.startswith(f"{asker.caller}:")})

    def is_outage(self, failures: int) -> bool:
        """Return whether so many different people, of several callers, failed: it is the provider that does."""
        pairs = [question.split(":") for question in self.failed]
        return len({pair[1] for pair in pairs}) >= failures and len({pair[0] for pair in pairs}) > 1

    def maintenance(self, at: datetime) -> Maintenance | None:
        """Return the maintenance of a moment; of several, the one that ends last."""
        current = [maintenance for maintenance in self.maintenances if maintenance.start <= at < maintenance.end]
        return max(current, key=lambda maintenance: maintenance.end, default=None)


BENEFITS: Final = (
    *("quotient_familial", "participation_familiale_eaje", "complementaire_sante_solidaire"),
    *("revenu_solidarite_active", "prime_activite", "allocation_adulte_handicape", "allocation_soutien_familial"),
    *("allocation_enfant_handicape", "allocation_rentree_scolaire"),
)
"""The benefits of ``dss``, each of which has a circuit breaker besides that of the tokens."""


def circuit_of(provider: str, benefit: str) -> str:
    """Return the name of the circuit breaker of a benefit."""
    return f"{provider}#{benefit}"


def circuits_of(provider: str) -> list[str]:
    """Return the names of the circuit breakers of a provider, whose items hold its maintenances."""
    return [provider, *(circuit_of(provider, benefit) for benefit in BENEFITS if provider == "dss")]


def key_of(provider: str) -> dict[str, str]:
    """Return the key of a provider's item."""
    return {"pk": f"provider#{provider}", "sk": "health"}


def read(stats: Table, provider: str) -> Health:
    """Return what is known; raise botocore's errors when the table does not answer."""
    return Health.from_item(stats.get(key_of(provider)) or {})


def acquire_ping_slot(stats: Table, provider: str, period: float) -> bool:
    """Take the slot to ping a provider; return False when it was taken in the last ``period`` seconds."""
    now = round(time(), 3)
    taken = stats.update(
        key_of(provider),
        "SET asked_at = :now",
        condition="attribute_not_exists(asked_at) OR asked_at <= :before",
        values={"now": now, "before": round(now - period, 3)},
    )
    return taken is not None


def record(stats: Table, provider: str, verdict: Verdict) -> None:
    """Write the verdict of a ping or a probe."""
    stats.update(
        key_of(provider),
        "SET verdict = :verdict, checked_at = :now",
        values={"verdict": verdict, "now": round(time(), 3)},
    )
