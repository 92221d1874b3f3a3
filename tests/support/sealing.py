"""The sealing function's front door: what the audit table holds, brought by its stream; the bucket is in moto."""

import copy
import importlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from api_particulier.audit.mac import MAC, sign
from api_particulier.audit.seals import Seal, key_of
from ops.deployment import Deployment
from tests.support.function import Cloud, ask
from tests.support.template import ROOT

BUCKET = "seals"
RECORD: dict[str, Any] = json.loads((ROOT / "events/audit_seals/insert.json").read_text())["Records"][0]


def ours(item: dict[str, Any]) -> dict[str, Any]:
    """Return the like of an item, as a function would have written it: with its mark."""
    return item | {MAC: sign(item, datetime.fromisoformat(item["at"]))}


def of_the_repository() -> dict[str, Any]:
    """Return the record of ``events/audit_seals/insert.json``, whose entry a function of the test's has marked."""
    deserialize = TypeDeserializer().deserialize
    image = RECORD["dynamodb"]["NewImage"]
    return record(ours({name: deserialize(value) for name, value in image.items()}))


def record(item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return what the stream says of an item that was put."""
    made = copy.deepcopy(RECORD) | changes
    serialize = TypeSerializer().serialize
    made["dynamodb"]["NewImage"] = {name: serialize(value) for name, value in item.items()}
    made["dynamodb"]["ApproximateCreationDateTime"] = int(datetime.fromisoformat(item["at"]).timestamp()) + 1
    return made


@dataclass
class Sealing:
    """The audit, its stream and its seals."""

    cloud: Cloud
    on: Deployment
    s3: Any

    def call(self, times: int, **token: Any) -> list[dict[str, Any]]:
        """Have calls made, and return their entries."""
        before = {entry["id"] for entry in self.cloud.entries()}
        key = self.cloud.token("dgfip_avis_imposition", **token)
        for _ in range(times):
            assert ask("introspect/introspect", key=key).status == 200
        return [entry for entry in self.cloud.entries() if entry["id"] not in before]

    def deliver(self, records: Iterable[dict[str, Any]]) -> Any:
        """Hand a batch of the stream to the function, as Lambda does."""
        return importlib.import_module("functions.audit_seals.app").lambda_handler({"Records": list(records)}, None)

    def sealed(self, times: int, **token: Any) -> list[dict[str, Any]]:
        """Have calls made and sealed together; return their entries."""
        entries = self.call(times, **token)
        self.deliver(map(record, entries))
        return entries

    def seals(self) -> list[Seal]:
        found = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [Seal.read(self.s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()) for one in found]

    def replace(self, number: int, written: bytes | None) -> None:
        """Put something in the place of a seal, or nothing, as only who could undo the lock would."""
        found = self.s3.list_object_versions(Bucket=BUCKET, Prefix=key_of(number))
        for version in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
            self.s3.delete_object(
                Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"], BypassGovernanceRetention=True
            )
        if written is not None:
            self.s3.put_object(Bucket=BUCKET, Key=key_of(number), Body=written)
