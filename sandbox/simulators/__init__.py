"""Simulate the providers, each in a process of its own on loopback."""

import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, override

from werkzeug.serving import WSGIRequestHandler

from sandbox import certificates

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PEOPLE: Final = Path(__file__).parents[1] / "people"
"""The files of fictional people."""


@dataclass(frozen=True)
class Simulator:
    """How to start a simulated provider, which the module of its name makes."""

    parameter: str
    """The parameter of the template that takes its address."""
    people: str | None = None
    """The name of its file in ``sandbox/people``."""
    mutual_tls: bool = False

    def address(self, port: int) -> str:
        return f"{'https' if self.mutual_tls else 'http'}://127.0.0.1:{port}"


SIMULATORS: Final = {
    "svair": Simulator("DgfipSvairUrl", people="avis.toml"),
    "impot_particulier": Simulator("ImpotParticulierUrl", people="avis.toml"),
    "caf": Simulator("CafUrl", people="familles.toml", mutual_tls=True),
    "ban": Simulator("BanUrl"),
    "api_secu": Simulator("ApiSecuUrl", people="assures.toml"),
}


def certificates_of(folder: Path) -> certificates.Certificates:
    """Return the certificates of a local stack, made at the first call."""
    return certificates.ensure(folder / "certificates")


def unreadable(people: Path = PEOPLE) -> list[str]:
    """Return a sentence for each file of people that cannot be read: which, and what is wrong in it."""
    sentences: dict[str, str] = {}
    for name, simulator in SIMULATORS.items():
        if simulator.people and (fault := _module(name).fault_of(people / simulator.people)):
            sentences.setdefault(simulator.people, f"sandbox/people/{simulator.people} cannot be read: {fault}")
    return list(sentences.values())


def _module(name: str) -> Any:
    """Return the module that reads the people of a simulator: both interfaces of the tax service share a file."""
    return import_module(f"sandbox.simulators.{'svair' if name == 'impot_particulier' else name}")


def command(name: str, port: int, folder: Path, fault: str | None = None) -> list[str]:
    """Return the command that serves a simulated provider until it is stopped."""
    served = [sys.executable, "-m", "sandbox.simulators", name, "--port", str(port), "--folder", str(folder)]
    return [*served, "--fault", fault] if fault else served


class Silent(WSGIRequestHandler):
    """Handle requests without a log, where people's numbers would appear."""

    protocol_version = "HTTP/1.1"

    @override
    def make_environ(self) -> "WSGIEnvironment":
        environ = super().make_environ()
        # werkzeug drops the headers that have an underscore; API Impôt particulier requires ``ID_Teleservice``.
        environ |= {f"HTTP_{name.upper()}": value for name, value in self.headers.items() if "_" in name}
        return environ

    @override
    def log(self, type: str, message: str, *args: object) -> None:
        """Do nothing."""
