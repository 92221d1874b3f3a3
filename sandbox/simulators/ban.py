"""Simulate the geocoder of the Base adresse nationale.

``GET /search/?q=…&limit=…`` returns GeoJSON. The number, the street, the postcode and the commune come from the text;
the Insee code, the region and the point are invented, always the same for a text. The score is high; it is 0.3 when the
text has no postcode, as for an address that could be anywhere.

A word in the address, in any case, triggers a fault:

- ``introuvable``: no result
- ``lenteur``: a response after 5 seconds (the API gives up after 2)
- ``panne``: HTTP 503
- ``charabia``: a response that is not JSON
"""

import re
import time
from hashlib import sha256
from typing import Final

from flask import Flask, request
from flask.typing import ResponseReturnValue

SURE: Final = 0.96
UNSURE: Final = 0.3
SLOW_SECONDS: Final = 5.0

_LENGTHS: Final = range(3, 201)
_POSTCODE: Final = re.compile(r"\b([0-9]{5})\s+(\S.*)$")
_NUMBER: Final = re.compile(r"(?:^|\s)([0-9]+(?:\s?(?:bis|ter|quater)\b)?),?\s+(\D+)$", re.IGNORECASE)


def app() -> Flask:
    """Make the service; a test may change ``SLOW_SECONDS`` in its ``config``."""
    service = Flask(__name__)
    service.config.update(SLOW_SECONDS=SLOW_SECONDS)

    @service.get("/search")
    @service.get("/search/")
    def search() -> ResponseReturnValue:
        text = request.args.get("q", "").strip()
        if len(text) not in _LENGTHS:
            return {"code": 400, "message": "q: doit contenir entre 3 et 200 caractères"}, 400
        words = set(re.findall(r"\w+", text.casefold()))
        if "lenteur" in words:
            time.sleep(service.config["SLOW_SECONDS"])
        if "panne" in words:
            return {"code": 503, "message": "Service indisponible"}, 503
        if "charabia" in words:
            return "<!doctype html><title>Bienvenue</title>"
        features = [] if "introuvable" in words else [_feature(text)]
        return {"type": "FeatureCollection", "features": features, "query": text}

    return service


def _feature(text: str) -> dict[str, object]:
    digest = sha256(text.casefold().encode()).digest()
    place = _POSTCODE.search(text)
    postcode, city = (place[1], place[2]) if place else ("", "")
    before = (text[: place.start()] if place else text).strip(" ,")
    numbered = _NUMBER.search(before)
    street = numbered[2] if numbered else before
    name = f"{numbered[1]} {street}" if numbered else street
    properties: dict[str, object] = {
        "label": f"{name} {postcode} {city}".strip(),
        "score": SURE if place else UNSURE,
        "id": f"{digest.hex()[:5]}_{digest.hex()[5:9]}",
        "type": "housenumber" if numbered else "street",
        "name": name,
        "postcode": postcode or "00000",
        "citycode": f"{postcode[:2] or '00'}{digest[0]:03}",
        "city": city or "Exemple-la-Ville",
        "context": f"{postcode[:2] or '00'}, Département d'exemple, Région d'exemple",
        "importance": round(digest[1] / 255, 5),
    }
    if numbered:
        properties |= {"housenumber": numbered[1], "street": street}
    longitude = round(-1 + 7 * digest[2] / 255, 6)
    latitude = round(43 + 7 * digest[3] / 255, 6)
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
        "properties": properties,
    }
