"""The sealing function in process: audit records delivered by their stream, and a bucket of seals in moto."""

import copy
import importlib
import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from os import environ
from typing import Any

import boto3
import moto.kms.utils
import pytest
import time_machine
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from moto.s3.models import S3Backend

from api_particulier.audit.mac import MAC, sign
from api_particulier.audit.seals import Seal, key_of
from ops.deployment import Deployment
from tests.support.cloud import SEALS_BUCKET, Cloud
from tests.support.function import call_api, new_environment
from tests.support.template import ROOT, resources

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

    def publish(self, now: datetime) -> None:
        """Invoke the sealing function as its schedule does: it publishes a checkpoint."""
        new_environment()
        with time_machine.travel(now, tick=False):
            importlib.import_module("functions.audit_seals.app").lambda_handler({"source": "aws.events"}, None)

    def checkpoints(self) -> list[str]:
        """Return the notes of the bucket, the first one first."""
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix="checkpoints/").get("Contents", [])
        keys = [item["Key"] for item in found if item["Key"].endswith(".txt")]
        return [self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode() for key in keys]

    def sign_note(self, text: str, key: str = "SealKeyId") -> str:
        """Return the note of a text, signed with the key of the seals: what a forger with the key would have."""
        key_id = self.deployment.outputs[key]
        kms = self.deployment.kms
        signature = kms.sign(KeyId=key_id, Message=text.encode(), SigningAlgorithm="ECDSA_SHA_256")["Signature"]
        return f"{text}\n\N{EM DASH} x {b64encode(b'1234' + signature).decode()}\n"

    def seals(self) -> list[Seal]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix="seals/").get("Contents", [])
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


def play_sealing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Sealing:
    """Create the template's bucket of seals and its key in moto, and set the variables that name them."""
    monkeypatch.setattr("moto.kms.models.generate_private_key", moto.kms.utils.generate_private_key)
    monkeypatch.setattr("moto.kms.utils.ECDSAPrivateKey.sign", _sign)
    monkeypatch.setattr("moto.kms.utils.ECDSAPrivateKey.verify", _verify)
    monkeypatch.setattr(S3Backend, "list_object_versions", _list_object_versions)
    properties = resources("AWS::KMS::Key")["SealKey"]
    key = boto3.client("kms").create_key(KeySpec=properties["KeySpec"], KeyUsage=properties["KeyUsage"])
    key_id = key["KeyMetadata"]["KeyId"]
    of_exports = boto3.client("kms").create_key(KeySpec=properties["KeySpec"], KeyUsage=properties["KeyUsage"])
    s3 = boto3.client("s3")
    lock = resources("AWS::S3::Bucket")["SealsBucket"]["ObjectLockConfiguration"]
    retention = lock["Rule"]["DefaultRetention"] | {"Mode": "GOVERNANCE"}
    s3.put_object_lock_configuration(
        Bucket=BUCKET, ObjectLockConfiguration=lock | {"Rule": {"DefaultRetention": retention}}
    )
    monkeypatch.setenv("SEAL_KEY_ID", key_id)
    monkeypatch.setenv("SEAL_LOCK_MODE", "GOVERNANCE")
    on = Deployment(boto3.Session(), "api-particulier")
    vars(on)["outputs"] = {
        "Environment": "local",
        "TokensTable": "tokens",
        "AuditTable": "audit",
        "StatsTable": "stats",
        "SealsBucket": BUCKET,
        "SealKeyId": key_id,
        "ExportKeyId": of_exports["KeyMetadata"]["KeyId"],
        "PseudonymKeyIds": environ["PSEUDONYM_KEY_ID"],
        "EntryKeyId": environ["ENTRY_KEY_ID"],
        "OperatorKeyId": environ["OPERATOR_KEY_ID"],
    }
    return Sealing(cloud, on, s3)


# moto lists the versions after a key without the first of them, unless the key is an object's.

_LISTED = S3Backend.list_object_versions


def _list_object_versions(backend: S3Backend, bucket_name: str, *arguments: Any, **options: Any) -> Any:
    if not (marker := options.get("key_marker")) or options.get("version_id_marker"):
        return _LISTED(backend, bucket_name, *arguments, **options)
    versions, prefixes, markers, *following = _LISTED(
        backend, bucket_name, *arguments, **options | {"key_marker": None, "max_keys": 1_000_000}
    )
    return [
        [version for version in versions if version.name > marker],
        prefixes,
        [version for version in markers if version.name > marker],
        *following,
    ]


# moto takes a digest for a message, and hashes it again.


def _algorithm(message: bytes) -> ECDSA:
    return ECDSA(Prehashed(SHA256())) if len(message) == SHA256.digest_size else ECDSA(SHA256())


def _sign(key: Any, message: bytes, _: str) -> bytes:
    signature: bytes = key.private_key.sign(message, _algorithm(message))
    return signature


def _verify(key: Any, message: bytes, signature: bytes, _: str) -> bool:
    try:
        key.private_key.public_key().verify(signature, message, _algorithm(message))
    except InvalidSignature:
        return False
    return True
