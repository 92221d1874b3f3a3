"""Fetch a page with `requests` and pass it on unread."""

import os

import requests

_session = requests.Session()
_URL = f"{os.environ['DGFIP_SVAIR_URL']}/secavis/faces/commun/index.jsf"


def lambda_handler(_event: object, _context: object) -> dict[str, object]:
    return {"statusCode": 200, "headers": {}, "body": _session.post(_URL, data={"spi": "1"}, timeout=5).text}
