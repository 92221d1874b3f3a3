"""The pages that people read, and the public contract (docs/openapi.yaml), from the files of the website's layer."""

from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel, Field

from api_particulier.api.handler import handle_read
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import Response, for_any_page, success, text, with_headers
from api_particulier.public import site
from api_particulier.v3_errors import KINDS

_HOME: Final = "/"
_ERRORS: Final = "/api/errors"
_OPENAPI: Final = "/api/open-api.yml"
_OPENAPI_V1: Final = "/documentation-open-api.yaml"
_DOCUMENTS: Final = frozenset({_OPENAPI, _OPENAPI_V1})
_MAX_AGE: Final = 3600
_OPENAPI_HEADERS: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": f"public, max-age={_MAX_AGE}"}
_MEDIA_TYPE: Final = "application/yaml"


class ErreurV3(BaseModel):
    """Un code d'erreur de la v3."""

    code: str = Field(
        description="Cinq chiffres ; `XX` est 35 pour le quotient familial, 36 pour les autres prestations"
    )
    status: int = Field(description="Statut HTTP")
    title: str = Field(description="Titre")
    detail: str = Field(description="Explication, pour une personne")
    when: str = Field(description="Quand ce code est répondu")
    parameter: str | None = Field(description="Le paramètre que `source` nomme")
    provider: str | None = Field(description="Le fournisseur que `meta` nomme, où la route n'en décide pas")
    retry_in: int | None = Field(description="Secondes après lesquelles réessayer, par défaut")


ROUTES = (
    Route(
        name="erreurs",
        path=_ERRORS,
        summary="Les codes d'erreur de la v3",
        answer=list[ErreurV3],
        example=[asdict(KINDS["00203"]), asdict(KINDS["XX560"])],
        headers={"Access-Control-Allow-Origin": "`*` : toute page peut les lire."},
    ),
    *(
        Route(
            name=name,
            path=path,
            summary="Cette documentation, au format OpenAPI",
            answer=dict[str, Any],
            example={"openapi": "3.1.0"},
            media_type=_MEDIA_TYPE,
            headers={"Access-Control-Allow-Origin": "`*` : toute page peut la lire."},
        )
        for name, path in (("documentation", _OPENAPI), ("documentation_v1", _OPENAPI_V1))
    ),
)


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer a page, an asset or the OpenAPI document; nothing of the reader is kept."""
    return handle_read(event, context, "site", _build_response, any_origin=event["resource"] in {*_DOCUMENTS, _ERRORS})


def _build_response(request: Request) -> Response:
    if request.route == _ERRORS:
        return for_any_page(success([asdict(kind) for kind in KINDS.values()], request.id), _MAX_AGE)
    if request.route in _DOCUMENTS:
        response = text(_document(request.route), _MEDIA_TYPE, request.id)
        return with_headers(response, _OPENAPI_HEADERS)
    if request.route == _HOME and not request.full_path.endswith("/"):
        return site.redirect_to_slash(request.full_path, request.id)
    return site.serve_file(request.path.strip("/"), request.id, accepts_gzip=request.accepts_gzip)


@lru_cache(maxsize=2)
def _document(route: str) -> str:
    """Return the OpenAPI document as served at ``route``: its server's address is relative to its own."""
    document = site.openapi()
    if route == _OPENAPI_V1:  # one step nearer to the API
        return document.replace("\nservers:\n- url: ..\n", "\nservers:\n- url: .\n")
    return document
