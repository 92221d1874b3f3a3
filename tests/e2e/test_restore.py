"""The restore command on the deployed stack; MiniStack restores the current content, for any instant."""

import pytest

from tests.support.stack import NUMBERS, RFR_ROUTE, Stack

pytestmark = pytest.mark.order(-1)  # reads the whole audit, which the other tests fill


def test_the_audit_table_is_restored_to_a_new_table_and_verified_against_its_seals(stack: Stack) -> None:
    assert stack.get(RFR_ROUTE, **NUMBERS).status_code == 200
    stack.run_cli("audit", "verify")  # waits until all records are sealed
    restored = stack.run_cli("restore", "audit", "--latest")
    assert restored["source"] == stack.description["tables"]["audit"]
    assert restored["source_items"] - restored["items"] in {0, 1}  # a heartbeat may come in between
    assert restored["items"] > 0
    assert restored["verification"]["findings"] == []
    table = stack.client("dynamodb").describe_table(TableName=restored["table"])["Table"]
    assert table["DeletionProtectionEnabled"]
    assert table["LatestStreamArn"] == restored["stream"]
    assert stack.get(RFR_ROUTE, **NUMBERS).status_code == 200  # the live tables still work
