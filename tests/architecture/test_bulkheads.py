"""A slow provider takes its datasets' share of the concurrency and no more: the others answer, and so does the rest."""

import pytest

from ops.functions import datasets
from tests.support.template import resources, template

DATASETS = {
    name: function
    for name, function in resources("AWS::Serverless::Function").items()
    if function["CodeUri"].split("/")[1] in {dataset.name for dataset in datasets()}
}
ACCOUNT, UNRESERVED = 1000, 100
"""AWS's quota of a new region, and what it refuses to reserve of it."""


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_has_its_share(name: str) -> None:
    share = {"Fn::If": ["SharesConcurrency", {"Ref": "DatasetConcurrency"}, {"Ref": "AWS::NoValue"}]}
    assert DATASETS[name].get("ReservedConcurrentExecutions") == share


def test_shares_leave_room_for_what_is_not_a_dataset() -> None:
    share = template()["Parameters"]["DatasetConcurrency"]["Default"]
    assert len(DATASETS) >= 7
    assert 0 < len(DATASETS) * share <= ACCOUNT - 2 * UNRESERVED
