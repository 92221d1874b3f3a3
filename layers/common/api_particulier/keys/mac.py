"""The MAC of a token: the right to write in the tokens table opens nothing.

KMS computes it, under a key that only the code that issues keys may use to generate; the functions that read a token
may only verify. It covers what a token grants, not its state: revoking and suspending take away, and need no right to
sign (docs/decisions/0045-secrets-drawn-when-shown.md).
"""

import hashlib
import json
from typing import TYPE_CHECKING, Final

from api_particulier.keys.token import Token

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_LABEL: Final = b"api-particulier/tokens/1/"
_NOT_SIGNED: Final = ("state", "mac")


def sign(kms: "KMSClient", key_id: str, token: Token) -> str:
    """Return the MAC of a token, 64 hexadecimal digits; raise botocore's errors when KMS does not answer."""
    made = kms.generate_mac(KeyId=key_id, MacAlgorithm="HMAC_SHA_256", Message=_message(token))
    return made["Mac"].hex()


def verify(kms: "KMSClient", key_id: str, token: Token) -> bool:
    """Check the MAC of a token; raise botocore's errors when KMS does not answer."""
    try:
        mac = bytes.fromhex(token.mac or "")
    except ValueError:
        return False
    if not mac:
        return False
    try:
        kms.verify_mac(KeyId=key_id, MacAlgorithm="HMAC_SHA_256", Message=_message(token), Mac=mac)
    except kms.exceptions.KMSInvalidMacException:
        return False
    return True


def _message(token: Token) -> bytes:
    signed = {name: value for name, value in token.to_item().items() if name not in _NOT_SIGNED}
    text = json.dumps(signed, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return _LABEL + hashlib.sha256(text.encode()).digest()  # KMS takes 4,096 bytes at most
