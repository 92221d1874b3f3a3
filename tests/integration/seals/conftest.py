"""Fixtures of the tests of seals."""

from os import environ

import boto3
import moto.kms.utils
import pytest

from ops.deployment import Deployment
from tests.support.cloud import Cloud
from tests.support.sealing import BUCKET, Sealing
from tests.support.template import resources


@pytest.fixture
def sealing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Sealing:
    monkeypatch.setattr("moto.kms.models.generate_private_key", moto.kms.utils.generate_private_key)
    properties = resources("AWS::KMS::Key")["SealKey"]
    key = boto3.client("kms").create_key(KeySpec=properties["KeySpec"], KeyUsage=properties["KeyUsage"])
    key_id = key["KeyMetadata"]["KeyId"]
    s3 = boto3.client("s3")
    lock = resources("AWS::S3::Bucket")["SealsBucket"]["ObjectLockConfiguration"]
    retention = lock["Rule"]["DefaultRetention"] | {"Mode": "GOVERNANCE"}
    s3.put_object_lock_configuration(
        Bucket=BUCKET, ObjectLockConfiguration=lock | {"Rule": {"DefaultRetention": retention}}
    )
    monkeypatch.setenv("SEAL_KEY_ID", key_id)
    on = Deployment(boto3.Session(), "api-particulier")
    vars(on)["outputs"] = {
        "TokensTable": "tokens",
        "AuditTable": "audit",
        "StatsTable": "stats",
        "SealsBucket": BUCKET,
        "SealKeyId": key_id,
        "PseudonymKeyIds": environ["PSEUDONYM_KEY_ID"],
    }
    return Sealing(cloud, on, s3)
