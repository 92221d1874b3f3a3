"""What a month of the server of 2020 costs, on small machines behind a load balancer, as it was."""

from math import ceil
from typing import Final

from ops.cost import BUSY_SECONDS, HOURS, SENT_BYTES
from ops.prices import price

SERVER_CALLS_A_SECOND: Final = 168
"""Of one process of the server of 2020, as it was measured, and as much memory as a small machine has."""
DISK_GB: Final = 20
PEAK: Final = 3
"""Times the mean of the seconds in which calls come: the busiest."""


def machines(calls: float) -> int:
    """Return how many small machines the server of 2020 needs: two, or one more than what the peak takes."""
    peak = calls / BUSY_SECONDS * PEAK
    return max(2, ceil(peak / SERVER_CALLS_A_SECOND) + 1)


def server_of_2020(calls: float) -> float:
    """Return the euros of a month of that server, behind a load balancer with an address in each of two zones."""
    number = machines(calls)
    return sum(
        (
            price("machine_hours", number * HOURS),
            price("disk_gb_months", number * DISK_GB),
            price("address_hours", (number + 2) * HOURS),
            price("balancer_hours", HOURS),
            price("balancer_unit_hours", calls / 25 / 3600),  # each call by a connection of its own
            price("data_out", calls * SENT_BYTES / 1e9),
        )
    )
