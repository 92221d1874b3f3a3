"""The website in process: built once, its compressed responses decoded."""

import base64
import gzip
from pathlib import Path

import pytest

from release import website
from tests.support.function import Response


def build_site(folder: Path) -> Path:
    """Build the site in a folder; skip where the npm packages are not installed."""
    if not website.PACKAGES.exists():
        pytest.skip("the npm packages are not installed: make setup")
    return website.build(folder / "website")


def decode_page(response: Response) -> Response:
    """Return a response of the site with its text decoded, as a browser decodes it."""
    content = base64.b64decode(response.text)
    if response.headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return Response(response.status, response.headers, content.decode(errors="replace"))
