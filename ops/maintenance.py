"""Maintenances of providers, announced by an operator; functions read them within a second."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from api_particulier.dynamodb import Table
from api_particulier.providers import health
from api_particulier.providers.health import Maintenance
from api_particulier.public import status
from ops.deployment import Deployment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class NotAnnouncedError(Exception):
    """No maintenance of this provider begins at that time."""


class ChangedMeanwhileError(Exception):
    """Another command changed the provider's maintenances between the read and the write: try again."""


@dataclass(frozen=True)
class MaintenanceSchedule:
    """The state of the providers of a deployment, and their announced maintenances."""

    deployment: Deployment

    def status(self) -> dict[str, Any]:
        """Return the body of ``/api/status``."""
        return status.describe(self._stats, datetime.now(UTC))

    def announce(self, provider: str, maintenance: Maintenance) -> None:
        """Add a maintenance, in place of one that begins at the same time; remove those that have ended."""
        known = self._announced(provider)
        now = datetime.now(UTC)
        kept = [other for other in known if other.end > now and other.start != maintenance.start]
        self._write(provider, known, [*kept, maintenance])

    def withdraw(self, provider: str, start: datetime) -> None:
        """Remove a maintenance, which may have begun; raise ``NotAnnouncedError`` when there is none."""
        known = self._announced(provider)
        kept = [maintenance for maintenance in known if maintenance.start != start]
        if len(kept) == len(known):
            raise NotAnnouncedError
        self._write(provider, known, kept)

    def _announced(self, provider: str) -> tuple[Maintenance, ...]:
        return health.read(self._stats, provider).maintenances

    def _write(self, provider: str, known: tuple[Maintenance, ...], announced: list[Maintenance]) -> None:
        """Replace the announced maintenances; raise ``ChangedMeanwhileError`` when another command changed them."""
        unchanged = "maintenances = :known"
        written = self._stats.update(
            health.key_of(provider),
            "SET maintenances = :announced",
            condition=unchanged if known else f"attribute_not_exists(maintenances) OR {unchanged}",
            values={
                "announced": [maintenance.to_item() for maintenance in announced],
                "known": [maintenance.to_item() for maintenance in known],
            },
        )
        if written is None:
            raise ChangedMeanwhileError

    @property
    def _stats(self) -> Table:
        return Table(self._dynamodb, self._table)

    @property
    def _table(self) -> str:
        return self.deployment.outputs["StatsTable"]

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self.deployment.session.client("dynamodb", endpoint_url=self.deployment.endpoint_url)
        return client
