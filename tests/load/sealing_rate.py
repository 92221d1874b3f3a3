"""How long a record of the audit waits for its seal: 2,000 a second for three minutes, brought by four at once.

``python -m tests.load.sealing_rate [SECONDS]`` runs the sealing function's own code on a clock of its own. AWS takes
15 ms (KMS, DynamoDB) or 60 ms (S3) for a call; the code takes the CPU time that it takes here, longer by what Lambda
gives it.
"""

import heapq
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from os import environ
from threading import Event, Thread, current_thread
from time import thread_time
from typing import Any, Final, override
from unittest.mock import patch

from boto3.dynamodb.types import TypeSerializer
from uuid6 import UUID

from api_particulier import aws
from api_particulier.audit import chain, mac, sealing
from api_particulier.audit.seals import Seal, time_of
from tests.support.audit_cloud import AuditCloud

START: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
SHARDS: Final = 4
A_SECOND: Final = 500
"""Records of a shard."""
BATCH: Final = 2000
WINDOW: Final = 30.0
SLOWER: Final = 1769 / 512
"""Lambda gives 1,769 MB one processor, and the function has 512."""
SLOW: Final = {"put_object", "get_object", "list_object_versions"}


class Timeline:
    """A clock that goes on when every thread waits; one thread runs at a time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._resumed = 0.0
        self._waiting: list[tuple[float, int, Event]] = []
        self._order = count()

    @property
    def present(self) -> float:
        """The time of the thread that runs: its CPU time is part of it."""
        return self.now + (thread_time() - self._resumed) * SLOWER

    def enter(self) -> Event:
        """Return the turn of a thread that begins at the present time."""
        turn = Event()
        heapq.heappush(self._waiting, (self.now, next(self._order), turn))
        return turn

    def begin(self, turn: Event) -> None:
        """Wait for a turn; the CPU time of this thread counts from then on."""
        turn.wait()
        self._resumed = thread_time()

    def wait(self, until: Callable[[float], float]) -> None:
        """Let the other threads run until a time."""
        turn = Event()
        heapq.heappush(self._waiting, (until(self.present), next(self._order), turn))
        self.go_on()
        self.begin(turn)

    def go_on(self) -> None:
        """Let the thread run whose time comes first."""
        if self._waiting:
            self.now, _, turn = heapq.heappop(self._waiting)
            turn.set()


def _record(shard: int, number: int) -> tuple[float, dict[str, Any]]:
    """Return the time of a record of a shard, and the stream record."""
    seconds = number / A_SECOND + shard / SHARDS / A_SECOND
    at = START + timedelta(seconds=seconds)
    identifier = UUID(int=int(at.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | shard << 40 | number)
    item = {
        "token_day": f"jeton-{number % 300}#{at:%Y-%m-%d}",
        "id": str(identifier),
        "at": at.isoformat(timespec="milliseconds"),
        "request_id": "5c2f1e0a-0000-4000-8000-000000000001",
        "dataset": "avis_imposition",
        "route": "/api/v2/avis-imposition",
        "kind": "dataset",
        "organisation": "VILLE EXEMPLE",
        "citizen": "2f5d8c0b7a6e4d3c2b1a09f8e7d6c5b4a3928170615f4e3d2c1b0a99887766aa",
        "released": ["declarant1.nom", "declarant1.prenoms", "nombreParts", "revenuFiscalReference"],
        "withheld": [],
        "status": 200,
        "expires_at": int((at + timedelta(days=45)).timestamp()),
    }
    image = {name: TypeSerializer().serialize(value) for name, value in (item | {"mac": mac.sign(item, at)}).items()}
    change = {"ApproximateCreationDateTime": at.timestamp(), "NewImage": image}
    return seconds, {"eventName": "INSERT", "dynamodb": change}


def _ready(first: float, full: float, now: float) -> float:
    """Return when a batch is delivered, by the times of its first record and of the one that fills it."""
    return max(now, min(full + 0.01, max(now, first) + WINDOW))


def _consume(timeline: Timeline, shard: int, seconds: int) -> None:
    """Deliver a shard as Lambda does: a batch when it is full, or when its window ends."""
    position, last = 0, seconds * A_SECOND
    while position < last:
        timeline.wait(partial(_ready, position / A_SECOND, (min(position + BATCH, last) - 1) / A_SECOND))
        arrived = min(last, position + BATCH, int(timeline.now * A_SECOND) + 1)
        spent = thread_time()
        batch = [_record(shard, number)[1] for number in range(position, arrived)]
        timeline._resumed += thread_time() - spent  # noqa: SLF001 - what the measure itself takes is not counted
        sealing.seal(batch)
        position = arrived


@contextmanager
def _played(timeline: Timeline) -> Iterator[AuditCloud]:
    cloud, memories = AuditCloud(), dict[str, Any]()

    class Now(datetime):
        @classmethod
        @override
        def now(cls, tz: Any = None) -> Any:
            return START + timedelta(seconds=timeline.present)

    def on_call(operation: str, moment: str) -> None:
        if moment == "before" and operation != "generate_mac":
            timeline.wait(lambda now: now + (0.06 if operation in SLOW else 0.015))

    def memory() -> Any:
        return memories.setdefault(current_thread().name, chain._Memory())  # noqa: SLF001 - an environment's

    cloud.on_call = on_call
    environ.update(SEAL_KEY_ID="key", SEALS_BUCKET="seals", ENTRY_KEY_ID="key", AWS_DEFAULT_REGION="eu-west-3")
    with ExitStack() as patches:
        for module, names in ((chain, ("s3", "kms")), (sealing, ("dynamodb",)), (aws, ("kms",))):
            for name in names:
                patches.enter_context(patch.object(module, name, lambda: cloud))
        patches.enter_context(patch.object(chain, "_memory", memory))
        patches.enter_context(patch.object(sealing, "datetime", Now))
        patches.enter_context(patch.object(sealing, "sleep", lambda seconds: timeline.wait(lambda now: now + seconds)))
        patches.enter_context(patch.object(sealing, "monotonic", lambda: timeline.present))
        for quiet in ("log", "count_seal", "count_counted", "report_tampering"):
            patches.enter_context(patch.object(sealing, quiet, lambda *_, **__: None))
        yield cloud


def measure(seconds: int) -> dict[str, float]:
    """Return the seals made, the calls counted, and the longest and the mean wait of the oldest record of a seal."""
    timeline = Timeline()
    with _played(timeline) as cloud:

        def run(shard: int, turn: Event) -> None:
            timeline.begin(turn)
            _consume(timeline, shard, seconds)
            timeline.go_on()

        threads = [Thread(target=run, args=(shard, timeline.enter()), name=f"shard {shard}") for shard in range(SHARDS)]
        for thread in threads:
            thread.start()
        timeline.go_on()
        for thread in threads:
            thread.join()
    seals = [Seal.from_bytes(content) for key, content in cloud.objects.items() if key.startswith("seals/")]
    waits = [(seal.at - time_of(min(record_id for _, record_id, _ in seal.entries))).total_seconds() for seal in seals]
    return {
        "records": sum(len(seal.entries) for seal in seals),
        "counted": sum(cloud.counters.values()),
        "seals": len(seals),
        "longest_wait_s": round(max(waits), 2),
        "mean_of_the_longest_s": round(sum(waits) / len(waits), 2),
        "seconds": round(timeline.now, 1),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 180)))  # noqa: T201 - a command
