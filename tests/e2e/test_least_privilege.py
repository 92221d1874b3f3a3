"""Under enforced IAM, a function fails without any one statement of its policy."""

from functools import partial

import pytest
from botocore.exceptions import ClientError

from tests.support.stack import NUMBERS, RFR_ROUTE, Stack


@pytest.mark.parametrize(
    ("sid", "status", "error"),
    [
        ("ReadTokens", 500, "internal_server_error"),
        ("WriteAudit", 503, "audit_unavailable"),
        ("NameCitizens", 503, "audit_unavailable"),
    ],
)
def test_without_a_statement_a_dataset_fails_without_returning_data(
    stack: Stack, sid: str, status: int, error: str
) -> None:
    key = stack.issue_key("dgfip_avis_imposition")["key"]  # in no environment's cache
    with stack.without_statement("RevenuFiscalReference", sid):
        stack.new_environment(
            "RevenuFiscalReference"
        )  # an environment that has cached the month's key makes no call to KMS
        response = stack.get(RFR_ROUTE, key=key, **NUMBERS)
        assert (response.status_code, response.json()["error"]) == (status, error)
        assert set(response.json()) == {"error", "reason", "message"}
        # The other functions keep their policies.
        assert stack.get("/v2/avis-imposition", key=key, **NUMBERS).status_code == 200
    assert stack.get(RFR_ROUTE, key=key, **NUMBERS).status_code == 200


def test_without_its_statements_a_ping_of_a_provider_fails_and_the_plain_ping_works(stack: Stack) -> None:
    # All statements: MiniStack ignores conditions on keys, so that any of them allows all.
    with stack.without_statement("Ping", "TrackDgfip", "TrackCaf", "TrackDss"):
        assert stack.get("/impots/ping", key="").status_code == 500
        assert stack.get("/ping", key="").status_code == 200
    assert stack.get("/impots/ping", key="").status_code == 200


@pytest.mark.parametrize(
    ("function", "act", "place"),
    [
        *(("CitizenAccess", "read", folder) for folder in ("seals", "records", "archive", "usage")),
        *(("CitizenAccess", "write", folder) for folder in ("access", "archive")),
        *(("AuditSeals", "write", folder) for folder in ("access", "archive", "usage")),
        *(("AuditArchive", "write", folder) for folder in ("seals", "records", "checkpoints")),
        ("AuditArchive", "scan", "audit"),
        *((name, "sign with", "SealKeyId") for name in ("AuditArchive", "AuditVerification", "CitizenAccess")),
        *((name, "sign with", "ExportKeyId") for name in ("AuditArchive", "AuditSeals")),
    ],
)
def test_a_function_of_the_audit_has_its_own_part_of_it_alone(
    stack: Stack, function: str, act: str, place: str
) -> None:
    assert _answer(stack, function, act, place) == "AccessDenied"


def test_a_citizens_months_are_read_by_the_function_of_their_log(stack: Stack) -> None:
    assert _answer(stack, "CitizenAccess", "read", "access") == "NoSuchKey"


def _answer(stack: Stack, function: str, act: str, place: str) -> str:
    """Return what AWS answers to an act with the rights of a function's role."""
    outputs, part = stack.deployment.outputs, partial(stack.client_of_function, function)
    key = {"Bucket": outputs["SealsBucket"], "Key": f"{place}/{'0' * 64}"}
    try:
        match act:
            case "read":
                part("s3").get_object(**key)
            case "write":
                part("s3").put_object(**key)
            case "scan":
                part("dynamodb").scan(TableName=stack.description["tables"][place])
            case "sign with":
                part("kms").sign(KeyId=outputs[place], Message=b"a seal", SigningAlgorithm="ECDSA_SHA_256")
    except ClientError as refused:
        return refused.response["Error"]["Code"].removesuffix("Exception")
    return "done"
