"""Under enforced IAM, each statement of a function's policy serves something, and nothing else is allowed."""

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
def test_without_a_statement_what_it_served_fails_and_no_data_leaves(
    stack: Stack, sid: str, status: int, error: str
) -> None:
    key = stack.issue("dgfip_avis_imposition")["key"]  # one that no environment remembers
    with stack.without_statement("RevenuFiscalReference", sid):
        stack.forget("RevenuFiscalReference")  # an environment that has the month's key does without KMS
        answer = stack.get(RFR_ROUTE, key=key, **NUMBERS)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
        assert set(answer.json()) == {"error", "reason", "message"}
        # The other functions have policies of their own.
        assert stack.get("/v2/avis-imposition", key=key, **NUMBERS).status_code == 200
    assert stack.get(RFR_ROUTE, key=key, **NUMBERS).status_code == 200


def test_without_its_statement_a_ping_of_a_provider_fails_and_a_plain_one_does_not(stack: Stack) -> None:
    # Both: MiniStack does not look at the keys of items, and either allows the same of all.
    with stack.without_statement("Ping", "TrackDgfip", "TrackCaf"):
        assert stack.get("/impots/ping", key="").status_code == 500
        assert stack.get("/ping", key="").status_code == 200
    assert stack.get("/impots/ping", key="").status_code == 200
