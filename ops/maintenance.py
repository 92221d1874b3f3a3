"""Maintenances of providers, announced by an operator; functions read them within a second."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api_particulier.dynamodb import Table
from api_particulier.providers import health
from api_particulier.providers.health import Maintenance
from api_particulier.public import status
from ops.deployment import Deployment


class NotAnnouncedError(Exception):
    """No maintenance of this provider begins at that time."""


class ConcurrentChangeError(Exception):
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
        now = datetime.now(UTC)
        for circuit in health.circuits_of(provider):
            known = self._announced(circuit)
            kept = [other for other in known if other.end > now and other.start != maintenance.start]
            self._write(circuit, known, [*kept, maintenance])

    def withdraw(self, provider: str, start: datetime) -> None:
        """Remove a maintenance, which may have begun; raise ``NotAnnouncedError`` when there is none."""
        if start not in {maintenance.start for maintenance in self._announced(provider)}:
            raise NotAnnouncedError
        for circuit in health.circuits_of(provider):
            known = self._announced(circuit)
            self._write(circuit, known, [maintenance for maintenance in known if maintenance.start != start])

    def _announced(self, provider: str) -> tuple[Maintenance, ...]:
        return health.read(self._stats, provider).maintenances

    def _write(self, provider: str, known: tuple[Maintenance, ...], announced: list[Maintenance]) -> None:
        """Replace the announced maintenances; raise ``ConcurrentChangeError`` when another command changed them."""
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
            raise ConcurrentChangeError

    @property
    def _stats(self) -> Table:
        return self.deployment.stats
