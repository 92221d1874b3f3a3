"""Start background processes that a later command can stop, and no others."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import randbelow

import psutil

_PORTS = range(20000, 32768)
"""Below the ports that Linux (from 32768) and other systems (from 49152) give to outgoing connections."""
_GRACE = 3.0
"""Seconds that processes have to end before they are killed."""


@dataclass(frozen=True)
class Process:
    """A process in a group of its own.

    Its start time distinguishes it from a later process with the same id.
    """

    pid: int
    started: float
    port: int

    @property
    def runs(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class Processes:
    """The processes of a local stack, recorded in a file of its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "processes.json"
        recorded = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._all = {name: Process(**fields) for name, fields in recorded.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The processes that were started and not stopped; they may have ended."""
        return tuple(self._all)

    def running(self, name: str) -> Process | None:
        process = self._all.get(name)
        return process if process is not None and process.runs else None

    def port(self, name: str) -> int:
        """Return the port of a process, which may have ended.

        Raise ``KeyError`` when it was never started.
        """
        return self._all[name].port

    def ports(self) -> list[int]:
        """Return the ports of the processes that run."""
        return sorted(process.port for process in self._all.values() if process.runs)

    def free_port(self) -> int:
        """Return a port that is free, and that no recorded process is about to listen on.

        The ports of outgoing connections are left out: another program's connection could take the port before the
        process binds it.
        """
        known = {process.port for process in self._all.values()}
        while True:
            port = _PORTS.start + randbelow(len(_PORTS))
            with socket.socket() as candidate, suppress(OSError):
                candidate.bind(("127.0.0.1", port))
                if port not in known:
                    return port

    def start(self, name: str, command: Sequence[str], port: int, environment: Mapping[str, str]) -> Process:
        """Start a process with its output in ``<name>.log``, and record it at once."""
        with (self._folder / f"{name}.log").open("ab") as log:
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches this command alone, and a stop reaches the children too
            )
        process = Process(started.pid, psutil.Process(started.pid).create_time(), port)
        self._all[name] = process
        self._save()
        return process

    def stop(self, *names: str) -> None:
        """Stop processes with their children, all together, and forget them."""
        self.end(*names)
        for name in names:
            self._all.pop(name, None)
        self._save()

    def end(self, *names: str) -> None:
        """Stop processes with their children, all together; keep their ports recorded."""
        groups = {process.pid for name in names if (process := self.running(name)) is not None}
        members = [process for process in psutil.process_iter() if _group(process.pid) in groups]
        for group in groups:
            _signal_group(group, signal.SIGTERM)
        _, alive = psutil.wait_procs(members, timeout=_GRACE)
        for group in groups if alive else ():
            _signal_group(group, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=_GRACE)

    def stop_all(self) -> None:
        self.stop(*self._all)

    def _save(self) -> None:
        self._file.write_text(json.dumps({name: asdict(process) for name, process in self._all.items()}, indent=2))


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
