"""Run the plan with Locust; a user is a town, which does not wait for responses.

``LOAD_PLAN`` is the plan that ``load.__main__`` writes; ``LOAD_CALLS`` the file of calls to write, one a line.
"""

import json
import os
import time
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.lock import Semaphore
from gevent.pool import Group, Pool
from locust import FastHttpUser, events, task
from locust.exception import StopUser

from load.day import Pace

_PLAN: dict[str, Any] = json.loads(Path(os.environ["LOAD_PLAN"]).read_text())
_SETTLING = 2.0
"""Seconds after the warm-up of a function, in which every key regains its whole burst."""
_WARMING_BY_KEY = 10
"""The most calls that a key makes to warm a function up, of the 20 that it may make at once."""
_calls: list[dict[str, Any]] = []
_turns = Semaphore(_PLAN["in_flight"])
_started, _finished = count(1), count(1)
_begin = AsyncResult()
"""The instant at which the day starts, set once all towns have started and every function is warm."""


class Town(FastHttpUser):  # type: ignore[misc]  # Locust is in an environment of its own
    """A town; the n-th to start follows the n-th plan."""

    host = _PLAN["url"]
    concurrency = 200
    network_timeout = connection_timeout = 35.0

    def on_start(self) -> None:
        number = next(_started)
        self.town = _PLAN["towns"][number - 1]
        if number == len(_PLAN["towns"]):
            self.warm_up()
            _begin.set(time.monotonic())

    def warm_up(self) -> None:
        """Call each function until it has an environment for each call in flight."""
        keys = [town["key"] for town in _PLAN["towns"]]
        calls = min(max(_PLAN["in_flight"], len(keys)), _WARMING_BY_KEY * len(keys))
        for request in {request["route"]: request for request in _PLAN["requests"]}.values():
            pool = Pool(_PLAN["in_flight"])
            for key in islice(cycle(keys), calls):
                pool.spawn(self.send, request, key)
            pool.join()
            gevent.sleep(_SETTLING)

    @task  # type: ignore[untyped-decorator]  # Locust is in an environment of its own
    def call_all_day(self) -> None:
        begin, calls, pace = _begin.get(), Group(), Pace()
        for at, request in zip(self.town["arrivals"], self.town["requests"], strict=True):
            gevent.sleep(max(0, begin + pace.due(at) - time.monotonic()))
            _turns.acquire()
            pace.record(at, time.monotonic() - begin)
            calls.spawn(self.call, begin, at, _PLAN["requests"][request]).link(lambda _: _turns.release())
        calls.join()
        if next(_finished) == len(_PLAN["towns"]):
            gevent.spawn(self.environment.runner.quit)
        raise StopUser

    def call(self, begin: float, planned: float, request: dict[str, Any]) -> None:
        sent = time.monotonic()
        response = self.send(request, self.town["key"])
        _calls.append(
            {
                "town": self.town["name"],
                "route": request["route"],
                "planned": round(planned, 4),
                "at": round(sent - begin, 4),
                "ms": round((time.monotonic() - sent) * 1000, 2),
                "status": response.status_code,
            }
        )

    def send(self, request: dict[str, Any], key: str) -> Any:
        return self.client.get(request["path"], name=request["route"], headers={"X-API-Key": key})


@events.quitting.add_listener  # type: ignore[untyped-decorator]  # Locust is in an environment of its own
def _write(**_: object) -> None:
    with Path(os.environ["LOAD_CALLS"]).open("w") as file:
        file.writelines(json.dumps(call) + "\n" for call in _calls)
