"""What Locust runs: each user is a town, which asks when its plan says, whether or not it was answered before.

``LOAD_PLAN`` is the plan, as ``load.__main__`` writes it; ``LOAD_CALLS`` the file that is written, a call a line.
"""

import json
import os
import time
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import Semaphore
from gevent.pool import Group
from locust import FastHttpUser, events, task

_PLAN: dict[str, Any] = json.loads(Path(os.environ["LOAD_PLAN"]).read_text())
_SETTLING = 2.0
"""Seconds from the first town's coming to the day's start: by then they are all there."""
_calls: list[dict[str, Any]] = []
_turns = Semaphore(_PLAN["in_flight"])
_number = count()
_begin: list[float] = []


class Town(FastHttpUser):  # type: ignore[misc]  # Locust is in an environment of its own
    """A town; the n-th to come follows the n-th plan."""

    host = _PLAN["url"]
    concurrency = 200
    network_timeout = connection_timeout = 35.0

    def on_start(self) -> None:
        self.town = _PLAN["towns"][next(_number)]
        if not _begin:
            _begin.append(time.monotonic() + _SETTLING)

    @task  # type: ignore[untyped-decorator]  # Locust is in an environment of its own
    def ask_all_day(self) -> None:
        asking = Group()
        for at, question in zip(self.town["arrivals"], self.town["questions"], strict=True):
            gevent.sleep(max(0, _begin[0] + at - time.monotonic()))
            asking.spawn(self.ask, at, _PLAN["questions"][question])
        asking.join()
        gevent.sleep(3600)  # the day is over; Locust stops everybody at its end

    def ask(self, planned: float, question: dict[str, Any]) -> None:
        with _turns:
            sent = time.monotonic()
            answer = self.client.get(question["path"], name=question["route"], headers={"X-API-Key": self.town["key"]})
            answered = time.monotonic()
        _calls.append(
            {
                "town": self.town["name"],
                "route": question["route"],
                "at": round(sent - _begin[0], 4),
                "late": round(sent - _begin[0] - planned, 4),
                "ms": round((answered - sent) * 1000, 2),
                "status": answer.status_code,
            }
        )


@events.quitting.add_listener  # type: ignore[untyped-decorator]  # Locust is in an environment of its own
def _write(**_: object) -> None:
    with Path(os.environ["LOAD_CALLS"]).open("w") as file:
        file.writelines(json.dumps(call) + "\n" for call in _calls)
