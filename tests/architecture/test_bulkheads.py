"""A slow provider takes its datasets' share of the concurrency and no more: the others answer, and so does the rest."""

from typing import Any, Final

import pytest

from ops.functions import datasets
from tests.support.template import resources, template

FUNCTIONS = resources("AWS::Serverless::Function")
DATASETS = {
    name: function
    for name, function in FUNCTIONS.items()
    if function["CodeUri"].split("/")[1] in {dataset.name for dataset in datasets()}
}
ACCOUNT, UNRESERVED = 1000, 100
"""AWS's quota of a new region, and what it refuses to reserve of it."""


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_has_its_share(name: str) -> None:
    share = {"Fn::If": ["SharesConcurrency", {"Ref": "DatasetConcurrency"}, {"Ref": "AWS::NoValue"}]}
    assert DATASETS[name].get("ReservedConcurrentExecutions") == share


PROTECTS: Final = {"AuditSeals", "TokenSuspension", "KeyReport"}
"""What must run while everything else is busy."""


def share_of(function: dict[str, Any]) -> int:
    """Return how many of a function run at once at most, and at least if they are needed; 0 without a share."""
    if "ReservedConcurrentExecutions" not in function:
        return 0
    condition, share, otherwise = function["ReservedConcurrentExecutions"]["Fn::If"]
    assert (condition, otherwise) == ("SharesConcurrency", {"Ref": "AWS::NoValue"})  # an account may have 10 in all
    return int(share if isinstance(share, int) else template()["Parameters"][share["Ref"]]["Default"])


def test_what_protects_and_what_needs_no_key_has_a_share_which_it_cannot_exceed() -> None:
    public = {
        name
        for name, function in FUNCTIONS.items()
        if any("ApiKeyRequired" in event["Properties"].get("Auth", {}) for event in function.get("Events", {}).values())
    }
    assert public
    assert all(0 < share_of(FUNCTIONS[name]) <= 20 for name in public | PROTECTS)


def test_shares_leave_what_aws_wants_unreserved() -> None:
    assert len(DATASETS) >= 7
    assert sum(share_of(function) for function in FUNCTIONS.values()) <= ACCOUNT - UNRESERVED
