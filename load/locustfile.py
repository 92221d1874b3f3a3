"""What Locust runs: each user is a town, which asks when its plan says, whether or not it was answered before.

``LOAD_PLAN`` is the plan, as ``load.__main__`` writes it; ``LOAD_CALLS`` the file that is written, a call a line.
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
"""Seconds after a warming, in which every key has its whole burst again."""
_WARMING_BY_KEY = 10
"""Calls to warm a function up that a key makes at most, of the 20 that it may make at once."""
_calls: list[dict[str, Any]] = []
_turns = Semaphore(_PLAN["in_flight"])
_come, _gone = count(1), count(1)
_begin = AsyncResult()
"""The instant at which the day starts, known once all towns are there and everything is warm."""


class Town(FastHttpUser):  # type: ignore[misc]  # Locust is in an environment of its own
    """A town; the n-th to come follows the n-th plan."""

    host = _PLAN["url"]
    concurrency = 200
    network_timeout = connection_timeout = 35.0

    def on_start(self) -> None:
        number = next(_come)
        self.town = _PLAN["towns"][number - 1]
        if number == len(_PLAN["towns"]):
            self.warm_up()
            _begin.set(time.monotonic())

    def warm_up(self) -> None:
        """Have each function start as many environments as may be asked at once, by calls of every key."""
        keys = [town["key"] for town in _PLAN["towns"]]
        calls = min(max(_PLAN["in_flight"], len(keys)), _WARMING_BY_KEY * len(keys))
        for question in {one["route"]: one for one in _PLAN["questions"]}.values():
            asking = Pool(_PLAN["in_flight"])
            for key in islice(cycle(keys), calls):
                asking.spawn(self.answer, question, key)
            asking.join()
            gevent.sleep(_SETTLING)

    @task  # type: ignore[untyped-decorator]  # Locust is in an environment of its own
    def ask_all_day(self) -> None:
        begin, asking, pace = _begin.get(), Group(), Pace()
        for at, question in zip(self.town["arrivals"], self.town["questions"], strict=True):
            gevent.sleep(max(0, begin + pace.due(at) - time.monotonic()))
            _turns.acquire()
            pace.left(at, time.monotonic() - begin)
            asking.spawn(self.ask, begin, at, _PLAN["questions"][question]).link(lambda _: _turns.release())
        asking.join()
        if next(_gone) == len(_PLAN["towns"]):
            gevent.spawn(self.environment.runner.quit)
        raise StopUser

    def ask(self, begin: float, planned: float, question: dict[str, Any]) -> None:
        sent = time.monotonic()
        answer = self.answer(question, self.town["key"])
        _calls.append(
            {
                "town": self.town["name"],
                "route": question["route"],
                "planned": round(planned, 4),
                "at": round(sent - begin, 4),
                "ms": round((time.monotonic() - sent) * 1000, 2),
                "status": answer.status_code,
            }
        )

    def answer(self, question: dict[str, Any], key: str) -> Any:
        return self.client.get(question["path"], name=question["route"], headers={"X-API-Key": key})


@events.quitting.add_listener  # type: ignore[untyped-decorator]  # Locust is in an environment of its own
def _write(**_: object) -> None:
    with Path(os.environ["LOAD_CALLS"]).open("w") as file:
        file.writelines(json.dumps(call) + "\n" for call in _calls)
