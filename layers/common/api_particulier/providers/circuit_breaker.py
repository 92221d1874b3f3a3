"""The circuit of a provider, shared by every environment of every function: who is down is not asked.

``FAILURES`` questions in a row that found nobody, whoever put them, open it: for ``settings().circuit_seconds`` nobody
asks, and callers are told at once. Then one question of one environment tries: it takes its turn by moving that time
on, on the condition that nobody has. Its answer closes the circuit; when it fails, or its environment dies, the next
turn is a period later.

While all is well it costs one read a second to an environment that is busy, and no write. When the table cannot tell,
the circuit is not consulted: it is there to spare a provider, not to be one more reason for being down
(docs/decisions/0034-deadlines-and-circuit-breakers.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import ceil
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.aws import dynamodb
from api_particulier.errors import ApiError, CircuitOpen, InternalError, ProviderInMaintenance, ProviderUnavailable
from api_particulier.observability import LogEvent, alert, log
from api_particulier.providers import health
from api_particulier.providers.health import Health
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

FAILURES: Final = 5
"""Questions in a row without an answer that open the circuit."""
REMEMBERED: Final = 1.0
"""Seconds during which an environment does not read again what is known."""


class CircuitBreaker:
    """What one environment knows of the circuit of a provider."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._known: Health | None = None
        """None when the table could not tell."""
        self._known_until = 0.0

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Let a question be put within, and learn from how it ends.

        ``CircuitOpen`` or ``ProviderInMaintenance``, and nothing is asked, when it is not the time.
        """
        tries = self._enter()
        try:
            yield
        except ProviderUnavailable:
            if not tries:  # else the next turn is a period after this one, already
                self._count_failure()
            raise
        except InternalError:  # a fault of ours says nothing of the provider
            raise
        except ApiError:
            self._count_answer(tries=tries)  # a refusal is an answer: somebody is there
            raise
        else:
            self._count_answer(tries=tries)

    def _enter(self) -> bool:
        """Tell whether this question is the one that tries whether the provider is back."""
        known = self._read()
        if known is None or not (known.maintenances or known.open_until):
            return False
        if maintenance := known.maintenance(datetime.now(UTC)):
            raise ProviderInMaintenance(maintenance.end, maintenance.message)
        if known.open_until is None:
            return False
        # Were it further than any right clock puts it, a clock that is wrong would have closed us.
        left = known.open_until - time()
        if 0 < left <= 2 * settings().circuit_seconds or not self._take_turn(known.open_until):
            raise CircuitOpen(ceil(left if left > 0 else settings().circuit_seconds))
        return True

    def _read(self) -> Health | None:
        if monotonic() >= self._known_until:
            self._known_until = monotonic() + REMEMBERED
            try:
                self._known = health.read(dynamodb(), settings().stats_table, self._provider)
            except (BotoCoreError, ClientError) as error:
                self._cannot_tell(error)
        return self._known

    def _take_turn(self, seen: float) -> bool:
        """Move the end of the open time on, for the others; False when somebody has."""
        values: dict[str, AttributeValueTypeDef] = {
            ":turn": _instant(settings().circuit_seconds),
            ":seen": {"N": f"{seen:.3f}"},
        }
        return self._write("SET open_until = :turn", "open_until = :seen", values)

    def _count_failure(self) -> None:
        self._write("ADD failures :one", None, {":one": {"N": "1"}})
        known = self._known
        if known is None or known.failures < FAILURES or known.open_until is not None:
            return
        opened = self._write(
            "SET open_until = :until, verdict = :down, checked_at = :now",
            "attribute_not_exists(open_until)",
            {":until": _instant(settings().circuit_seconds), ":now": _instant(), ":down": {"S": "down"}},
        )
        if opened:
            alert(LogEvent.CIRCUIT_OPENED, provider=self._provider)

    def _count_answer(self, *, tries: bool) -> None:
        if tries:
            values: dict[str, AttributeValueTypeDef] = {":now": _instant(), ":up": {"S": "up"}}
            if self._write("SET verdict = :up, checked_at = :now REMOVE open_until, failures", None, values):
                log(LogEvent.CIRCUIT_CLOSED, provider=self._provider)
        elif self._known is not None and self._known.failures:
            self._write("REMOVE failures", "attribute_not_exists(open_until)")

    def _write(
        self, update: str, condition: str | None = None, values: "dict[str, AttributeValueTypeDef] | None" = None
    ) -> bool:
        """Change what everybody knows; False when the condition does not hold, or the table cannot tell."""
        if self._known is None:
            return False
        optional: dict[str, Any] = {"ConditionExpression": condition, "ExpressionAttributeValues": values}
        try:
            written = dynamodb().update_item(
                TableName=settings().stats_table,
                Key=health.key_of(self._provider),
                UpdateExpression=update,
                ReturnValues="ALL_NEW",
                **{name: value for name, value in optional.items() if value},
            )
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                self._known_until = 0.0  # somebody was first: read what they wrote
            else:
                self._cannot_tell(error)
            return False
        self._known, self._known_until = Health.of(written.get("Attributes", {})), monotonic() + REMEMBERED
        return True

    def _cannot_tell(self, error: Exception) -> None:
        self._known = None
        log(LogEvent.CIRCUIT_UNKNOWN, provider=self._provider, exception=type(error).__name__)


def _instant(later: float = 0) -> "AttributeValueTypeDef":
    """Return an instant so many seconds from now, as the table keeps it."""
    return {"N": f"{time() + later:.3f}"}
