"""After calls about random people, nothing of them can be found anywhere in the deployed stack."""

import base64
import gzip
import hashlib
import json
import random
import string
from collections.abc import Iterator

from sandbox.svair import Person, app_of
from tests.e2e.conftest import FOLDER, Stack, bring_up
from tests.template import ROOT
from tests.wire import serve


def _digits(count: int) -> str:
    return "".join(random.choices(string.digits, k=count))  # noqa: S311 - test data


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it could have been written: in clear, or as a hash that anyone can compute."""
    yield secret
    for algorithm in ("md5", "sha1", "sha256", "sha512"):
        digest = hashlib.new(algorithm, secret.encode(), usedforsecurity=False)
        yield digest.hexdigest()
        yield base64.b64encode(digest.digest()).decode()
    yield base64.b64encode(secret.encode()).decode()
    yield "".join(format(byte, "02x") for byte in gzip.compress(secret.encode(), mtime=0))
