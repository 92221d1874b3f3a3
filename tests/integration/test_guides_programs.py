"""The guides' programs, run as they are written, against servers that are not the API or that refuse."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from flask import Flask, Response
from flask import request as asked

from tests.support.guides import GUIDES, SUFFIXES, numbers, run
from tests.support.wire import serve

pytestmark = pytest.mark.slow

SILENT = "API Particulier ne répond pas, réessayez plus tard"
HTML = "<html><head><title>Maintenance</title></head><body>2690000000001</body></html>"
FOREIGN = {
    "a page": Response(HTML, 200, {"Content-Type": "text/html"}),
    "an empty body": Response("", 200),
    "a page of error": Response(HTML, 500, {"Content-Type": "text/html"}),
    "an error that is not the API's": Response(json.dumps({"detail": "oops"}), 500),
    "JSON that is no object": Response(json.dumps(["2690000000001"]), 200),
    "a number": Response("3", 502),
    "a later attempt at a date": Response(HTML, 503, {"Retry-After": "Fri, 27 Nov 2026 03:00:00 GMT"}),
    "a page elsewhere": Response(HTML, 302, {"Location": "/ailleurs"}),
}
"""Responses of what is not the API: a proxy, a captive portal, a server that is down."""


@contextmanager
def answering(response: Response) -> Iterator[str]:
    api = Flask(__name__)
    api.add_url_rule("/<path:_>", view_func=lambda _: response)
    with serve(api) as url:
        yield url


@contextmanager
def hanging_up() -> Iterator[str]:
    """Serve connections that are closed without a byte."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        Thread(target=close, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def check_silent(language: str, guide: str, folder: Path, url: str) -> None:
    done = run(guide, language, folder, url, "0" * 64)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (1, "", SILENT)


@pytest.mark.parametrize("language", SUFFIXES)
@pytest.mark.parametrize("guide", GUIDES)
def test_a_program_answered_by_another_server_prints_a_sentence(tmp_path: Path, guide: str, language: str) -> None:
    for response in FOREIGN.values():
        with answering(response) as url:
            check_silent(language, guide, tmp_path, url)


@pytest.mark.parametrize("language", SUFFIXES)
@pytest.mark.parametrize("guide", ["ccas", "editeur"])
def test_a_program_without_a_server_prints_a_sentence(tmp_path: Path, guide: str, language: str) -> None:
    check_silent(language, guide, tmp_path, "http://127.0.0.1:9")
    with hanging_up() as url:
        check_silent(language, guide, tmp_path, url)


@pytest.mark.parametrize("language", SUFFIXES)
@pytest.mark.parametrize("guide", GUIDES)
def test_a_program_without_the_fields_that_it_reads_prints_no_trace(tmp_path: Path, guide: str, language: str) -> None:
    with answering(Response("{}", 200)) as url:
        done = run(guide, language, tmp_path, url, "0" * 64)
    assert (done.returncode, done.stderr) == (0, "")
    assert not any(number in done.stdout for number in numbers().values())


@pytest.mark.parametrize("language", ["python", "javascript", "php"])
@pytest.mark.parametrize(
    ("field", "printed"), [("erreurCorrectif", "un avis plus récent remplace"), ("situationPartielle", "à instruire")]
)
@pytest.mark.parametrize("guide", ["portail-famille-tarif-restauration-scolaire", "ccas"])
def test_a_replaced_or_partial_notice_is_not_priced(
    tmp_path: Path, guide: str, field: str, printed: str, language: str
) -> None:
    body = {"revenuFiscalReference": 20000, "nombreParts": 2, field: "texte de la DGFIP"}
    with answering(Response(json.dumps(body), 200)) as url:
        done = run(guide, language, tmp_path, url, "0" * 64)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout


@pytest.mark.parametrize("language", ["python", "javascript", "php"])
def test_a_program_waits_for_retry_after_and_calls_again(tmp_path: Path, language: str) -> None:
    calls: list[str] = []
    api = Flask(__name__)

    @api.get("/<path:_>")
    def answer(_: str) -> Response:
        calls.append(asked.headers["X-User"])
        if len(calls) == 1:
            busy = {"error": "network_error", "reason": "", "message": "occupé"}
            return Response(json.dumps(busy), 503, {"Retry-After": "1"})
        return Response(json.dumps({"name": "Ville de Fictive", "revenuFiscalReference": 1}))

    with serve(api) as url:
        done = run("editeur", language, tmp_path, url, "0" * 64)
    assert done.stdout == "Ville de Fictive : revenu fiscal de référence 1 €\n", done.stderr
    assert calls == ["agent-42"] * 3
