"""The website in process: built once, its compressed responses decoded."""

import base64
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask, Response

from api_particulier.public import site
from release import website
from tests.support.function import Response as FunctionResponse
from tests.support.wire import serve


def build_site(folder: Path) -> Path:
    """Build the site in a folder; skip where the npm packages are not installed."""
    if not website.PACKAGES.exists():
        pytest.skip("the npm packages are not installed: make setup")
    return website.build(folder / "website")


@contextmanager
def serve_site(folder: Path, api: Flask) -> Iterator[str]:
    """Serve the built site around an API, and yield its address."""
    pages = folder / "python/website_pages"
    table = json.loads((pages / "table.json").read_text())

    def page(path: str = "") -> Response:
        file = table.get(path)
        if file is None:
            return Response(status=404)
        content = (pages / file["digest"]).read_bytes()
        content = gzip.decompress(content) if file["gzip"] else content
        headers = {"Content-Type": file["type"], "Content-Security-Policy": site.POLICY}
        return Response(content, 200, headers)

    api.add_url_rule("/", view_func=page)
    api.add_url_rule("/<path:path>", view_func=page)
    with serve(api) as url:
        yield f"{url}/"


def decode_page(response: FunctionResponse) -> FunctionResponse:
    """Return a response of the site with its text decoded, as a browser decodes it."""
    if response.headers.get("Content-Encoding") != "gzip" and "charset" in response.headers["Content-Type"]:
        return response
    content = base64.b64decode(response.text)
    if response.headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return FunctionResponse(response.status, response.headers, content.decode(errors="replace"))
