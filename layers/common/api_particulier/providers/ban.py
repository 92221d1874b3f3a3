"""The geocoder of the Base adresse nationale: an address's parts, and where it is on the map.

``GET /search/?q=…&limit=…`` gives GeoJSON, the best match first, with a score of 0 to 1. It has been the
Géoplateforme's (IGN) since api-adresse.data.gouv.fr closed at the end of January 2026, with the same answers:
https://geoservices.ign.fr/documentation/services/services-geoplateforme/geocodage

A response can do without it: every failure here is a ``NotLocated`` with a reason in the project's words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from api_particulier.errors import ProviderFailure, ProviderInvalidResponse
from api_particulier.providers import outage
from api_particulier.providers.http import ProviderClient, ProviderResponse
from api_particulier.scopes import ProviderData
from api_particulier.settings import settings

PROVIDER: Final = "ban"
NOWHERE: Final[ProviderData] = {"adresseStructuree": None, "coordonnees": None, "score": None, "adresses": []}
"""The fields of an address that is not located: those of v2, and the candidates of v1."""
MIN_SCORE: Final = 0.5

_LENGTH: Final = 500
_CANDIDATES: Final = 5
_SHORTEST, _LONGEST = 3, 200
"""The characters of a question that the geocoder takes."""
_LEADING: Final = re.compile(r"^[\W_]+")
_PROPERTY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SAFE_INTEGER: Final = 2**53


class NotLocated(Exception):
    """Nothing usable came from the geocoder; the text of the exception is the reason."""


type _Text = Annotated[str, Field(max_length=_LENGTH)] | None


class _Properties(BaseModel):
    model_config = ConfigDict(strict=True)

    type: _Text = None
    """``housenumber``, ``street``, ``locality`` or ``municipality``."""
    housenumber: _Text = None
    street: _Text = None
    name: _Text = None
    """The number and the street, the street, the place or the commune, by type."""
    postcode: _Text = None
    citycode: _Text = None
    city: _Text = None
    context: _Text = None
    score: Annotated[float, Field(ge=0, le=1)]

    @property
    def way(self) -> str | None:
        """The street or the place; None for an address that matched a commune as a whole."""
        if self.type == "municipality":
            return None
        return self.street or (self.name or "").removeprefix(self.housenumber or "").strip() or None


class _Geometry(BaseModel):
    model_config = ConfigDict(strict=True)

    type: Literal["Point"]
    coordinates: Annotated[
        tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]],
        Field(strict=False),  # a list, as JSON has it
    ]
    """Longitude, latitude."""


class _Feature(BaseModel):
    model_config = ConfigDict(strict=True)

    geometry: _Geometry
    properties: dict[str, object]


def _none_if_invalid(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True)

    type: Literal["FeatureCollection"]
    features: list[Annotated[_Feature | None, WrapValidator(_none_if_invalid)]]


@dataclass(frozen=True)
class _Match:
    """A match: its properties as they came, and those that have a meaning here."""

    raw: Mapping[str, object]
    properties: _Properties
    longitude: float
    latitude: float


@lru_cache(maxsize=1)
def _client() -> ProviderClient:
    return ProviderClient(PROVIDER, settings().ban_url.removesuffix("/search"))


def locate(address: str) -> ProviderData:
    """Return where an address is, by the fields of v2; raise ``NotLocated``, and nothing else, without them."""
    [match, *_] = _matches(address, 1)
    if match.properties.score < MIN_SCORE:
        raise NotLocated(f"score under {MIN_SCORE}")
    return _document(match)


def candidates(address: str) -> ProviderData:
    """Return the candidates for an address, by the field of v1; raise ``NotLocated``, and nothing else, without any."""
    return {"adresses": [_candidate(match) for match in _matches(address, _CANDIDATES)]}


def _matches(address: str, limit: int) -> list[_Match]:
    """Return the best matches, at least one."""
    question = _question(address)
    if len(question) < _SHORTEST:
        raise NotLocated("no address")
    try:
        with _client().question(seconds=settings().ban_deadline):
            matches = _read(_client().send("GET", f"/search/?{urlencode({'q': question, 'limit': limit})}"))
    except ProviderFailure as error:
        raise NotLocated(error.code) from None
    if not matches:
        raise NotLocated("no result")
    return matches[:limit]


def _question(address: str) -> str:
    """Return a question that the geocoder takes: it begins with a letter or a digit, and has 3 to 200 characters."""
    return _LEADING.sub("", _LEADING.sub("", address).strip()[-_LONGEST:])


def _read(response: ProviderResponse) -> list[_Match]:
    """Return the matches that can be read; raise ``ProviderInvalidResponse`` when there are only others."""
    try:
        features = _Answer.model_validate_json(response.content).features
    except ValidationError:
        raise outage.not_understood(response.headers, response.content) from None
    matches = [match for feature in features if (match := _match(feature)) is not None]
    if features and not matches:
        raise ProviderInvalidResponse
    return matches


def _match(feature: _Feature | None) -> _Match | None:
    if feature is None:
        return None
    try:
        return _Match(feature.properties, _Properties.model_validate(feature.properties), *feature.geometry.coordinates)
    except ValidationError:
        return None


def _document(match: _Match) -> ProviderData:
    properties = match.properties
    return {
        "adresseStructuree": {
            "numero": properties.housenumber,
            "voie": properties.way,
            "codePostal": properties.postcode,
            "codeInsee": properties.citycode,
            "commune": properties.city,
            "contexte": properties.context,
        },
        "coordonnees": {"latitude": match.latitude, "longitude": match.longitude},
        "score": properties.score,
    }


def _candidate(match: _Match) -> ProviderData:
    return {
        "adresse": {
            name: value
            for name, value in match.raw.items()
            if name != "id" and _PROPERTY.fullmatch(name) and _is_plain(value)
        },
        "geometry": {"type": "Point", "coordinates": [match.longitude, match.latitude]},
    }


def _is_plain(value: object) -> bool:
    """Return whether a further property of the geocoder can be passed on, in JSON as in XML."""
    match value:
        case None | bool():
            return True
        case str():
            return len(value) <= _LENGTH
        case int():
            return abs(value) < _SAFE_INTEGER
        case float():
            return isfinite(value)
    return False
