"""A timestamp authority (RFC 3161): its stamp proves that a content existed at a time, and holds its SHA-256 alone.

Its signature is not checked here, which would bring 7 MB to the layer: ``verify-file --stamp`` does
(docs/decisions/0053-stamps.md).
"""

from hashlib import sha256
from secrets import randbits
from typing import Any, Final

from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1.error import PyAsn1Error
from pyasn1_modules.rfc3161 import TimeStampReq, TimeStampResp, TSTInfo  # type: ignore[import-untyped]  # it has none
from pyasn1_modules.rfc5652 import SignedData  # type: ignore[import-untyped]  # it has none

from api_particulier.errors import ProviderFailure
from api_particulier.providers.http import HttpClient
from api_particulier.providers.time_limit import time_limit
from api_particulier.settings import settings

_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_GRANTED: Final = 0
_QUERY: Final = {"Content-Type": "application/timestamp-query"}


class NotStamped(Exception):
    """The authority gave no usable stamp; the text of the exception is the reason."""


def stamp(content: bytes) -> bytes:
    """Return the authority's answer about a content, DER, to the byte; raise ``NotStamped`` when it grants none."""
    digest, nonce = sha256(content).digest(), randbits(64)
    try:
        with time_limit(settings().provider_deadline):
            client = HttpClient(settings().timestamp_url or "")
            answer = client.send("POST", "", body=_question(digest, nonce), headers=_QUERY).content
    except ProviderFailure as error:
        raise NotStamped(error.code) from None
    try:
        _check(answer, digest, nonce)
    except PyAsn1Error:
        raise NotStamped("not understood") from None
    return answer


def _question(digest: bytes, nonce: int) -> bytes:
    question = TimeStampReq()
    question["version"] = 1
    question["messageImprint"]["hashAlgorithm"]["algorithm"] = _SHA256
    question["messageImprint"]["hashedMessage"] = digest
    question["nonce"] = nonce
    question["certReq"] = True  # the stamp must be verifiable in years
    encoded: bytes = encode(question)
    return encoded


def _check(answer: bytes, digest: bytes, nonce: int) -> None:
    response = _decoded(answer, TimeStampResp())
    if int(response["status"]["status"]) != _GRANTED:
        raise NotStamped(f"refused: {response['status']['status'].prettyPrint()}")
    signed = _decoded(response["timeStampToken"]["content"], SignedData())
    stamped = _decoded(signed["encapContentInfo"]["eContent"], TSTInfo())
    imprint = stamped["messageImprint"]
    if (str(imprint["hashAlgorithm"]["algorithm"]), bytes(imprint["hashedMessage"])) != (_SHA256, digest):
        raise NotStamped("of another content")
    if not stamped["nonce"].isValue or int(stamped["nonce"]) != nonce:
        raise NotStamped("of another question")


def _decoded(content: Any, kind: Any) -> Any:
    """Return the value that is the whole of a content."""
    value, rest = decode(content, asn1Spec=kind)
    if rest:
        raise NotStamped("not understood")
    return value
