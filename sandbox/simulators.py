"""The simulated providers, each a process of its own on loopback.

``python -m sandbox.simulators NAME --port PORT --folder FOLDER`` serves one until it is stopped.
"""

import argparse
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, override

from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from flask import Flask

PEOPLE = Path(__file__).parent / "people"
PARAMETERS = {"svair": "DgfipSvairUrl"}
"""Each simulator with the template's parameter that takes its address."""
NAMES = tuple(PARAMETERS)


def address(_name: str, port: int) -> str:
    return f"http://127.0.0.1:{port}"


def command(name: str, port: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "sandbox.simulators", name, "--port", str(port), "--folder", str(folder)]


def _application(name: str) -> "Flask":
    if name == "svair":
        from sandbox import svair  # noqa: PLC0415 - each process loads its own

        return svair.app(PEOPLE / "avis.toml")
    raise ValueError(name)


def _tls(_name: str, _folder: Path) -> ssl.SSLContext | None:
    return None


class _Silent(WSGIRequestHandler):
    """Keeps connections alive, and no log: even fictional people's numbers are not to be found in one."""

    protocol_version = "HTTP/1.1"

    @override
    def log(self, type: str, message: str, *args: object) -> None:
        """Do nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a simulated provider on loopback.")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where the local stack keeps its certificates")
    asked = parser.parse_args()
    make_server(
        "127.0.0.1",
        asked.port,
        _application(asked.name),
        threaded=True,
        request_handler=_Silent,
        ssl_context=_tls(asked.name, asked.folder),
    ).serve_forever()


if __name__ == "__main__":
    main()
