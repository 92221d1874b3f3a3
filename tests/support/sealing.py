"""The sealing function in process: audit records delivered by their stream, and a bucket of seals in moto."""

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
from tests.support.cloud import SEALS_BUCKET, Cloud
from tests.support.function import call_api
from tests.support.template import ROOT

BUCKET = SEALS_BUCKET
EXAMPLE_RECORD: dict[str, Any] = json.loads((ROOT / "events/audit_seals/insert.json").read_text())["Records"][0]


def with_mac(item: dict[str, Any]) -> dict[str, Any]:
    """Return the item with its MAC, as a function writes it."""
    return item | {MAC: sign(item, datetime.fromisoformat(item["at"]))}


def example_record() -> dict[str, Any]:
    """Return the stream record of ``events/audit_seals/insert.json``, with a MAC under the test's own key."""
    deserialize = TypeDeserializer().deserialize
    image = EXAMPLE_RECORD["dynamodb"]["NewImage"]
    return stream_record(with_mac({name: deserialize(value) for name, value in image.items()}))


def stream_record(item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the stream record of an item that was put."""
    inserted = copy.deepcopy(EXAMPLE_RECORD) | changes
    serialize = TypeSerializer().serialize
    inserted["dynamodb"]["NewImage"] = {name: serialize(value) for name, value in item.items()}
    inserted["dynamodb"]["ApproximateCreationDateTime"] = int(datetime.fromisoformat(item["at"]).timestamp()) + 1
    return inserted


@dataclass
class Sealing:
    """The audit table, the sealing function and the bucket of seals."""

    cloud: Cloud
    deployment: Deployment
    s3: Any

    def make_calls(self, times: int, **token: Any) -> list[dict[str, Any]]:
        """Call the API with one new key, and return the audit records of these calls."""
        before = {record["id"] for record in self.cloud.audit_records()}
        key = self.cloud.issue_key("dgfip_avis_imposition", **token)
        for _ in range(times):
            assert call_api("introspect/introspect", key=key).status == 200
        return [record for record in self.cloud.audit_records() if record["id"] not in before]

    def deliver(self, records: Iterable[dict[str, Any]]) -> Any:
        """Invoke the sealing function with a batch of stream records, as Lambda does."""
        return importlib.import_module("functions.audit_seals.app").lambda_handler({"Records": list(records)}, None)

    def make_sealed_calls(self, times: int, **token: Any) -> list[dict[str, Any]]:
        """Call the API, have the audit records sealed in one seal, and return them."""
        records = self.make_calls(times, **token)
        self.deliver(map(stream_record, records))
        return records

    def seals(self) -> list[Seal]:
        found = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [Seal.from_bytes(self.s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()) for item in found]

    def replace_seal(self, number: int, content: bytes | None) -> None:
        """Overwrite a seal, or delete it if ``content`` is None, by going round the bucket's object lock."""
        found = self.s3.list_object_versions(Bucket=BUCKET, Prefix=key_of(number))
        for version in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
            self.s3.delete_object(
                Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"], BypassGovernanceRetention=True
            )
        if content is not None:
            self.s3.put_object(Bucket=BUCKET, Key=key_of(number), Body=content)
