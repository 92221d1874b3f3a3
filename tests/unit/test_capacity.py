"""The calculations of ``docs/capacity.md``."""

import pytest

from release.capacity import Quota, page, quotas


@pytest.mark.parametrize(
    ("rate", "used"),
    [
        (10, (10, 1, 10, 5, 20, 20)),
        (1_000, (1_000, 50, 1_000, 500, 2_000, 40)),
        (100_000, (100_000, 5_000, 100_000, 50_000, 200_000, 40)),
    ],
)
def test_the_use_of_each_quota_at_a_rate(rate: int, used: tuple[int, ...]) -> None:
    names = ("API Gateway", "API keys", "Lambda", "The busiest dataset", "The audit", "One key")
    found = [quota for name in names for quota in quotas(rate) if quota.name.startswith(name)]
    assert tuple(quota.used for quota in found) == used


@pytest.mark.parametrize(("rate", "share"), [(10, 5 / 45), (1_000, 500 / 45), (100_000, 50_000 / 45)])
def test_the_concurrency_of_the_busiest_dataset_is_the_first_limit(rate: int, share: float) -> None:
    first = quotas(rate)[0]
    assert (first.name, first.share) == ("The busiest dataset's own share", share)


@pytest.mark.parametrize(("used", "enough"), [(0, True), (50, True), (51, False), (100, False)])
def test_a_quota_is_enough_up_to_half_of_it(used: int, enough: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert Quota("", used, 100, "").is_enough is enough


def test_the_page_lists_only_the_quotas_to_raise() -> None:
    quiet = page().split("## ")[1]
    assert "10 calls a second" in quiet
    assert "Service Quotas" not in quiet
    assert "20,000, of Service Quotas: *Throttle rate*" in page()
