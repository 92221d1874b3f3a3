"""Check what a caller gets when AWS or the machine fails: no data without its audit record.

The table of faults in ``docs/operations/faults.md`` names these, with the tests of other files.
"""

import errno
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from api_particulier.providers import caf as adapter
from sandbox import certificates as made
from sandbox.certificates import Certificates, ensure
from tests.support.aws import ERRORS, FailingAws
from tests.support.caf import ROUTES, call_caf, play_caf
from tests.support.cloud import Cloud, moto_app
from tests.support.function import Response, call_api, new_environment
from tests.support.tax_service import TaxService
from tests.support.wire import serve

pytestmark = pytest.mark.slow

NUMBERS: dict[str, Any] = {"numeroFiscal": "2690000000095", "referenceAvis": "2690000000096"}
UNAVAILABLE = (503, "audit_unavailable")
OURS = (500, "internal_server_error")


@pytest.fixture
def aws(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[FailingAws]:  # noqa: ARG001 - moto
    played = FailingAws(moto_app())
    with serve(played) as url:
        # moto answers a client in the process unless the client has an endpoint of its own.
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield played


@pytest.fixture
def key(cloud: Cloud) -> str:
    return cloud.issue_key("dgfip_avis_imposition", "cnaf_attestation_droits")


def call(key: str) -> Response:
    return call_api("avis_imposition/v2", key=key, **NUMBERS)


def got(answer: Response) -> tuple[int, str | None]:
    return answer.status, answer.body.get("error")


@pytest.mark.parametrize("error", ERRORS)
def test_when_dynamodb_fails_no_data_is_returned(
    key: str, aws: FailingAws, dgfip: TaxService, cloud: Cloud, error: str
) -> None:
    aws.error = ERRORS[error]
    aws.failing = ["DynamoDB"]
    answer = call(key)
    assert got(answer) == UNAVAILABLE
    assert int(answer.headers["Retry-After"]) > 0
    assert dgfip.requests == []
    aws.failing = []
    assert got(call(key)) == (200, None)
    assert len(cloud.audit_records()) == 1


def test_when_tokens_cannot_be_read_the_call_is_refused_and_audited(
    key: str, aws: FailingAws, dgfip: TaxService, cloud: Cloud
) -> None:
    aws.failing = ['"tokens"']
    assert got(call(key)) == OURS
    assert [entry["status"] for entry in cloud.audit_records()] == [500]
    assert dgfip.requests == []


def test_a_cached_token_works_without_the_tokens_table(key: str, aws: FailingAws, dgfip: TaxService) -> None:
    assert got(call(key)) == (200, None)
    aws.failing = ['"tokens"']
    assert got(call(key)) == (200, None)
    assert dgfip.requests


def test_when_the_statistics_table_throttles_calls_go_on(key: str, aws: FailingAws, dgfip: TaxService) -> None:
    aws.error = ERRORS["throttles"]
    aws.failing = ['"stats"']
    assert got(call(key)) == (200, None)
    dgfip.status = 503
    assert got(call(key)) == (503, "network_error")


@pytest.mark.parametrize("error", ["throttles", "fails"])
def test_when_kms_fails_the_provider_is_not_called_and_no_audit_record_is_written(
    key: str, aws: FailingAws, dgfip: TaxService, cloud: Cloud, error: str
) -> None:
    aws.error = ERRORS[error]
    aws.failing = ["TrentService"]
    assert got(call(key)) == UNAVAILABLE
    assert dgfip.requests == []
    assert cloud.audit_records() == []  # a record without a MAC could be a forged one


def test_the_cached_keys_of_the_month_work_without_kms(key: str, aws: FailingAws, dgfip: TaxService) -> None:
    assert got(call(key)) == (200, None)
    aws.failing = ["TrentService"]
    assert got(call(key)) == (200, None)
    assert dgfip.requests


# ── The certificate for the CAF ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("caf_secret")
def test_when_secrets_manager_fails_only_an_environment_with_the_certificate_calls_the_caf(
    key: str, aws: FailingAws, dgfip: TaxService, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with play_caf(certificates.server_context(), monkeypatch):
        aws.failing = ["secretsmanager"]
        assert got(call_caf(key)) == OURS
        assert got(call(key)) == (200, None)  # the tax service needs no certificate
        assert dgfip.requests
        aws.failing = []
        assert got(call_caf(key)) == (200, None)
        aws.failing = ["secretsmanager"]
        assert got(call_caf(key)) == (200, None)


@pytest.mark.usefixtures("caf_secret")
def test_while_the_disk_is_full_the_caf_is_not_called(
    key: str, dgfip: TaxService, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, cloud: Cloud
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/file")  # noqa: S108 - what Python says

    with play_caf(certificates.server_context(), monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(adapter, "NamedTemporaryFile", full)
            assert {got(call_caf(key, door)) for door in ROUTES if door.endswith("v2")} == {OURS}
            assert got(call(key)) == (200, None)  # the tax service writes no file
            assert dgfip.requests
        assert got(call_caf(key)) == (200, None)
    assert [entry["status"] for entry in cloud.audit_records()] == [500, 500, 500, 200, 200]


def test_our_expired_certificate_is_refused_by_the_caf_and_shows_in_a_metric(
    key: str, caf_secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    valid = ensure(tmp_path / "valid")
    with monkeypatch.context() as patched:
        patched.setattr(made, "VALIDITY", timedelta(minutes=-1))
        ended = ensure(tmp_path / "ended")
    # Signed by another authority of the same name: for the CAF they differ only by having expired.
    context = valid.server_context()
    context.load_verify_locations(ended.authority)
    changed = {
        "certificate": ended.client.read_text(),
        "key": ended.client_key.read_text(),
        "authority": valid.authority.read_text(),
    }
    boto3.client("secretsmanager").put_secret_value(SecretId=caf_secret, SecretString=json.dumps(changed))
    with play_caf(context, monkeypatch) as caf:
        assert got(call_caf(key)) == (503, "network_error")
        probe()
        assert caf.requests == []
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["CertificateDaysLeft"] for line in lines if "CertificateDaysLeft" in line] == [[-1]]


def probe() -> None:
    from functions.provider_probes.app import lambda_handler

    new_environment()
    lambda_handler({}, None)
