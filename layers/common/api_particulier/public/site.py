"""The files of the website, which ``release/website.py`` builds in a layer of their own."""

import gzip
import json
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

from api_particulier.api.response import Response

_TEXT: Final = ("; charset=utf-8", "+xml", "json")
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_FIVE_MINUTES: Final = "public, max-age=300"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of a page: it loads and calls only this site."""
_HEADERS: Final = {"Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
_PAGE_HEADERS: Final = {
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
    table = json.loads(files("website_pages").joinpath("table.json").read_text())
    return {path: _File(**attributes) for path, attributes in table.items()}


def paths() -> Collection[str]:
    """Return the path of every file of the site."""
    return _table().keys()


@lru_cache(maxsize=64)
def _content(digest: str) -> bytes:
    return files("website_pages").joinpath(digest).read_bytes()


def openapi() -> str:
    """Return the OpenAPI document, a copy of ``docs/openapi.yaml``."""
    return files("website_pages").joinpath("openapi.yaml").read_text(encoding="utf-8")


def serve_file(path: str, request_id: str, *, accepts_gzip: bool) -> Response:
    """Return a page or an asset, compressed if ``accepts_gzip``; the page of error 404 when there is none."""
    file = _table().get(path)
    if file is None:
        not_found = "guide/introuvable" if path.startswith("guide/") else "introuvable"
        return _response(404, _table()[not_found], "no-store", request_id, accepts_gzip=accepts_gzip)
    cache_control = _IMMUTABLE if path.startswith("assets/") else _FIVE_MINUTES
    return _response(200, file, cache_control, request_id, accepts_gzip=accepts_gzip)


def redirect_to_slash(path: str, request_id: str) -> Response:
    """Redirect the home page to its address with a slash: its links are relative."""
    location = f"{path.rsplit('/', 1)[-1]}/"
    return {"statusCode": 302, "headers": {"Location": location, "X-Request-Id": request_id}, "body": ""}


def _response(status: int, file: _File, cache_control: str, request_id: str, *, accepts_gzip: bool) -> Response:
    content = _content(file.digest)
    if file.gzip and not accepts_gzip:
        content = gzip.decompress(content)
    headers = _HEADERS | {"Content-Type": file.type, "Cache-Control": cache_control, "X-Request-Id": request_id}
    headers |= _PAGE_HEADERS if file.type.startswith("text/html") else {}
    headers |= {"Content-Encoding": "gzip"} if file.gzip and accepts_gzip else {}
    # Without Accept, the gateway would send base64 as it is.
    is_text = "Content-Encoding" not in headers and file.type.endswith(_TEXT)
    body = content.decode() if is_text else b64encode(content).decode()
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": not is_text}
