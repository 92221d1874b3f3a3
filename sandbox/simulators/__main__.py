"""Serve a simulated provider.

``python -m sandbox.simulators NAME --port PORT --folder FOLDER`` serves until it is stopped.
"""

import argparse
import ssl
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.serving import make_server

from sandbox import certificates, faults
from sandbox.simulators import PEOPLE, SIMULATORS, Silent, certificates_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a simulated provider on loopback.")
    parser.add_argument("name", choices=SIMULATORS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where the local stack keeps its certificates")
    parser.add_argument("--fault", choices=faults.FAULTS, help="how it misbehaves")
    options = parser.parse_args()
    simulator = SIMULATORS[options.name]
    make: Callable[..., Flask] = import_module(f"sandbox.simulators.{options.name}").app
    service = make(PEOPLE / simulator.people) if simulator.people else make()
    make_server(
        "127.0.0.1",
        options.port,
        faults.with_fault(service, options.fault),
        threaded=True,
        request_handler=Silent,
        ssl_context=_server_context(options.folder, options.fault) if simulator.mutual_tls else None,
    ).serve_forever()


def _server_context(folder: Path, fault: str | None) -> ssl.SSLContext:
    if fault == faults.CERTIFICATE:
        return certificates.ensure(folder / "certificates-of-others").server_context()
    return certificates_of(folder).server_context()


if __name__ == "__main__":
    main()
