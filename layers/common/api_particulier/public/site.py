"""The site's files, as ``release/website.py`` built them in a layer of their own."""

import gzip
import json
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

from api_particulier.api.response import Response

_FOR_EVER: Final = "public, max-age=31536000, immutable"
_FOR_A_WHILE: Final = "public, max-age=300"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a page may load and do: what we serve, and nothing else (Content-Security-Policy)."""
_OF_ALL: Final = {"Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
_OF_PAGES: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
}


@dataclass(frozen=True)
class _File:
    digest: str
    type: str
    gzip: bool


@lru_cache(maxsize=1)
def _table() -> Mapping[str, _File]:
    read = json.loads(files("website_pages").joinpath("table.json").read_text())
    return {path: _File(**one) for path, one in read.items()}


def paths() -> Collection[str]:
    """Return the path of every file of the site."""
    return _table().keys()


@lru_cache(maxsize=64)
def _content(digest: str) -> bytes:
    return files("website_pages").joinpath(digest).read_bytes()


def openapi() -> str:
    """Return the OpenAPI document, a copy of ``docs/openapi.yaml``."""
    return files("website_pages").joinpath("openapi.yaml").read_text(encoding="utf-8")


def answer(path: str, request_id: str, *, accepts_gzip: bool) -> Response:
    """Answer a page or an asset, compressed for who takes it so; the page that says so when there is none."""
    found = _table().get(path)
    if found is None:
        nowhere = "guide/introuvable" if path.startswith("guide/") else "introuvable"
        return _response(404, _table()[nowhere], "no-store", request_id, accepts_gzip=accepts_gzip)
    kept = _FOR_EVER if path.startswith("assets/") else _FOR_A_WHILE
    return _response(200, found, kept, request_id, accepts_gzip=accepts_gzip)


def with_slash(path: str, request_id: str) -> Response:
    """Send to the home page as it is to be asked: its links are relative, and need the slash."""
    location = f"{path.rsplit('/', 1)[-1]}/"
    return {"statusCode": 302, "headers": {"Location": location, "X-Request-Id": request_id}, "body": ""}


def _response(status: int, found: _File, kept: str, request_id: str, *, accepts_gzip: bool) -> Response:
    content = _content(found.digest)
    if found.gzip and not accepts_gzip:
        content = gzip.decompress(content)
    headers = _OF_ALL | {"Content-Type": found.type, "Cache-Control": kept, "X-Request-Id": request_id}
    headers |= _OF_PAGES if found.type.startswith("text/html") else {}
    headers |= {"Content-Encoding": "gzip"} if found.gzip and accepts_gzip else {}
    return {
        "statusCode": status,
        "headers": headers,
        "body": b64encode(content).decode(),
        "isBase64Encoded": True,
    }
