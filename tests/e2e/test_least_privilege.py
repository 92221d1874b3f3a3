"""Under enforced IAM, a function fails without any one statement of its policy."""

import pytest

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
