"""20,000 records, and a consumer killed at each of its calls to AWS: each in one seal, and counted once."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_particulier import aws
from api_particulier.audit import chain, sealing
from api_particulier.audit.record import DATASET
from api_particulier.audit.seals import GENESIS_HASH, Seal
from api_particulier.paris_time import day_of
from functions.audit_seals.app import lambda_handler
from tests.support.audit_cloud import AuditCloud
from tests.support.counting import id_at
from tests.support.sealing import stream_record, with_mac

pytestmark = pytest.mark.slow

START = datetime(2026, 11, 23, 22, 50, tzinfo=UTC)  # ten minutes before midnight in Paris
RECORDS = 20_000


class Killed(BaseException):
    """The process of the function ends."""


class Consumers:
    """Environments of the function, side by side: each has a memory of its own, and one runs at a time.

    While one waits for AWS, another may run to its end; any may be killed before or after any of its calls.
    """

    def __init__(self, cloud: AuditCloud, chance: random.Random) -> None:
        self.cloud, self.chance = cloud, chance
        self.memories: dict[int, Any] = {}
        self.running: list[int] = []
        self.deadly: dict[int, tuple[int, str]] = {}
        """At which of its calls each environment is killed, and whether before or after the call."""
        self.calls = Counter[int]()
        self.meanwhile: Callable[[], None] | None = None
        self.killed_at = Counter[tuple[str, str]]()
        cloud.on_call = self._on_call

    def memory(self) -> Any:
        return self.memories.setdefault(self.running[-1], chain._Memory())  # noqa: SLF001 - an environment's

    def invoke(self, environment: int, batch: list[dict[str, Any]], deadly: tuple[int, str] | None) -> bool:
        """Deliver a batch to an environment; return whether it ended well."""
        self.running.append(environment)
        self.calls[environment] = 0
        self.deadly.pop(environment, None)
        if deadly is not None:
            self.deadly[environment] = deadly
        try:
            lambda_handler({"Records": batch}, None)
        except Killed:
            self.memories.pop(environment, None)
            return False
        except sealing.SealFailed:
            return False
        finally:
            self.running.pop()
        return True

    def _on_call(self, operation: str, moment: str) -> None:
        environment = self.running[-1]
        self.calls[environment] += moment == "before"
        if self.deadly.get(environment) == (self.calls[environment], moment):
            self.killed_at[operation, moment] += 1
            raise Killed
        if self.meanwhile is not None and len(self.running) < 4 and self.chance.random() < 0.1:
            self.meanwhile()


@contextmanager
def played(monkeypatch: pytest.MonkeyPatch, seed: int) -> Iterator[tuple[AuditCloud, Consumers]]:
    cloud = AuditCloud()
    consumers = Consumers(cloud, random.Random(seed))  # noqa: S311 - a test's
    for module, names in ((chain, ("s3", "kms")), (sealing, ("dynamodb",)), (aws, ("kms",))):
        for name in names:
            monkeypatch.setattr(module, name, lambda: cloud)
    monkeypatch.setattr(chain, "_memory", consumers.memory)
    monkeypatch.setattr(sealing, "sleep", lambda _: None)
    monkeypatch.setenv("SEAL_KEY_ID", "key")
    monkeypatch.setenv("SEALS_BUCKET", "seals")
    yield cloud, consumers


def records(chance: random.Random) -> list[dict[str, Any]]:
    made = []
    for number in range(RECORDS):
        at = START + timedelta(milliseconds=60 * number)
        item = {
            "token_day": f"jeton-{number % 50}#{at:%Y-%m-%d}",
            "id": id_at(at),
            "at": at.isoformat(timespec="milliseconds"),
            "dataset": chance.choice(["declarants", "avis_imposition", "quotient_familial"]),
            "status": chance.choices([200, 400, 404, 503], [60, 10, 20, 10])[0],
        }
        made.append(item | ({"kind": DATASET} if chance.random() < 0.9 else {}))
    return made


class Shard:
    """A shard of the stream: in order, again until it succeeds, in halves after a failure, sometimes once more."""

    def __init__(self, delivered: list[dict[str, Any]]) -> None:
        self.records, self.position, self.size = delivered, 0, 2000
        self.is_busy = False

    @property
    def is_done(self) -> bool:
        return self.position >= len(self.records)

    def deliver(self, consumers: Consumers, deadly: tuple[int, str] | None) -> None:
        self.is_busy = True
        chance = consumers.chance
        batch = self.records[self.position : self.position + min(self.size, chance.choice([1, 7, 50, 200, 800]))]
        again = chance.choices(self.records[: self.position], k=20) if self.position and chance.random() < 0.2 else []
        if consumers.invoke(chance.randrange(4) + 4 * len(consumers.running), [*batch, *again], deadly):
            self.size = 2000
            if chance.random() < 0.9:  # or Lambda does not hear that it ended
                self.position += len(batch)
        else:
            self.size = max(1, self.size // 2)
        self.is_busy = False


@pytest.mark.parametrize("seed", [1])  # any other gives another history
def test_20000_records_are_each_in_one_seal_and_counted_once(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    with played(monkeypatch, seed) as (cloud, consumers):
        chance = consumers.chance
        consumers.running.append(0)
        items = records(chance)
        delivered = [stream_record(with_mac(item)) for item in items]
        consumers.running.pop()
        shards = [Shard(delivered[start::4]) for start in range(4)]
        invocations = 0

        def deliver() -> None:
            nonlocal invocations
            free = [shard for shard in shards if not shard.is_busy and not shard.is_done]
            if free:
                invocations += 1
                where = chance.randrange(1, 10), chance.choice(["before", "after"])
                deadly = where if chance.random() < 0.6 else None
                chance.choice(free).deliver(consumers, deadly)

        consumers.meanwhile = deliver
        while not all(shard.is_done for shard in shards):
            deliver()
        consumers.meanwhile = None
        assert consumers.invoke(99, delivered[-1:], None)  # the next batch counts what is left

        found = [Seal.from_bytes(cloud.objects[key]) for key in sorted(cloud.objects) if key.startswith("seals/")]
        sealed = Counter(record_id for seal in found for _, record_id, _ in seal.entries)
        assert sealed == Counter(item["id"] for item in items)
        assert [seal.number for seal in found] == [*range(1, len(found) + 1)]
        assert [seal.header["previous"] for seal in found] == [GENESIS_HASH, *(seal.hash for seal in found[:-1])]
        answered = Counter(
            f"{day_of(datetime.fromisoformat(item['at']))}#{item['dataset']}#{item['status']}"
            for item in items
            if item.get("kind") == DATASET
        )
        assert cloud.counters == answered == sum((Counter(seal.counts) for seal in found), Counter())
        operations = {"put_object", "get_object", "list_object_versions", "sign", "get_item", "transact_write_items"}
        assert operations <= {operation for operation, _ in consumers.killed_at}
        assert {f"records/{seal.header['records']}.json.gz" for seal in found} <= cloud.objects.keys()
