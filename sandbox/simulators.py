"""The simulated providers, each a process of its own on loopback.

``python -m sandbox.simulators NAME --port PORT --folder FOLDER`` serves one until it is stopped.
"""

import argparse
import ssl
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, override

from werkzeug.serving import WSGIRequestHandler, make_server

from sandbox import certificates, faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask

PEOPLE: Final = Path(__file__).parent / "people"


@dataclass(frozen=True)
class Simulator:
    """A provider of the sandbox: ``sandbox/<its name>.py`` makes it."""

    parameter: str
    """The template's, which takes its address."""
    people: str | None = None
    """The file of its fictional people."""
    mutual_tls: bool = False

    def address(self, port: int) -> str:
        return f"{'https' if self.mutual_tls else 'http'}://127.0.0.1:{port}"


SIMULATORS: Final = {
    "svair": Simulator("DgfipSvairUrl", people="avis.toml"),
    "impot_particulier": Simulator("ImpotParticulierUrl", people="avis.toml"),
    "caf": Simulator("CafUrl", people="familles.toml", mutual_tls=True),
    "ban": Simulator("BanUrl"),
}


def certificates_of(folder: Path) -> certificates.Certificates:
    """Return the certificates of a local stack, made at the first call."""
    return certificates.ensure(folder / "certificates")


def command(name: str, port: int, folder: Path, fault: str | None = None) -> list[str]:
    served = [sys.executable, "-m", "sandbox.simulators", name, "--port", str(port), "--folder", str(folder)]
    return [*served, "--fault", fault] if fault else served


def _tls(folder: Path, fault: str | None) -> ssl.SSLContext:
    of = (
        certificates.ensure(folder / "certificates-of-others")
        if fault == faults.CERTIFICATE
        else certificates_of(folder)
    )
    return of.server_context()


class Silent(WSGIRequestHandler):
    """Writes no log: even fictional people's numbers are not to be found in one."""

    protocol_version = "HTTP/1.1"

    @override
    def make_environ(self) -> "WSGIEnvironment":
        environ = super().make_environ()
        # werkzeug leaves these out; API Impôt particulier is asked with one.
        environ |= {f"HTTP_{name.upper()}": value for name, value in self.headers.items() if "_" in name}
        return environ

    @override
    def log(self, type: str, message: str, *args: object) -> None:
        """Do nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a simulated provider on loopback.")
    parser.add_argument("name", choices=SIMULATORS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where the local stack keeps its certificates")
    parser.add_argument("--fault", choices=faults.FAULTS, help="how it misbehaves")
    asked = parser.parse_args()
    simulator = SIMULATORS[asked.name]
    make: Callable[..., Flask] = import_module(f"sandbox.{asked.name}").app
    service = make(PEOPLE / simulator.people) if simulator.people else make()
    make_server(
        "127.0.0.1",
        asked.port,
        faults.answering(service, asked.fault),
        threaded=True,
        request_handler=Silent,
        ssl_context=_tls(asked.folder, asked.fault) if simulator.mutual_tls else None,
    ).serve_forever()


if __name__ == "__main__":
    main()
