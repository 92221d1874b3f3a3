"""The site in process: built once, and its compressed answers opened."""

import base64
import gzip
from pathlib import Path

import pytest

from release import website
from tests.support.function import Answer


def built(folder: Path) -> Path:
    """Build the site in a folder; skip where the npm packages are not installed."""
    if not website.PACKAGES.exists():
        pytest.skip("the npm packages are not installed: make setup")
    return website.build(folder / "website")


def opened(answer: Answer) -> Answer:
    """Return an answer of the site as a browser reads it."""
    content = base64.b64decode(answer.text)
    if answer.headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return Answer(answer.status, answer.headers, content.decode(errors="replace"))
