"""``docs/openapi.yaml``: the public contract, generated from the declarations of the functions.

The schemas are those of the pydantic models. An error response that several operations share is written once.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, TypeAdapter

from api_particulier.api.dataset import Dataset
from api_particulier.api.openapi import Route
from api_particulier.api.parameters import Parameter, Parameters
from api_particulier.api.request import CONSENT
from api_particulier.api.response import RATE_LIMIT, in_xml
from api_particulier.scopes import scopes_of
from api_particulier.v3_errors import MEDIA_TYPE
from ops.functions import modules
from ops.template import ROOT, described_routes, resources
from release.openapi import refusals, v3
from release.openapi.examples import examples

type Object = dict[str, Any]
"""A part of the document."""

KEY: Final = "X-API-Key"
_V2: Final = "/api/v2/"
SERVER: Final = ".."
HOST: Final = "https://particulier.api.gouv.fr"
"""The address of production, for tools that need a host: documents name addresses relative to their own otherwise."""
"""Relative to the address of the document, ``/api/open-api.yml``, so that it is right behind any stage and domain."""
_TAGS: Final = {
    "dgfip": {"name": "Données fiscales", "description": "Ce que la DGFIP sait d'un foyer fiscal"},
    "caf": {"name": "Données familiales", "description": "Ce que la CAF sait d'une famille"},
    "dss": {
        "name": "Prestations sociales (v3)",
        "description": "Ce que la CNAF, la MSA et le RNCPS savent d'une personne",
    },
    "services": {"name": "Services", "description": "Ce qui entoure les jeux de données"},
}
_DESCRIPTION: Final = f"""\
Les données fiscales (DGFIP) et familiales (CAF) d'un citoyen, certifiées à la source, pour les
administrations habilitées.

**Une clé ouvre des champs, pas des routes.** Chaque champ dit le scope qui l'ouvre (`x-scope`) ; un champ que le jeton
n'ouvre pas est absent de la réponse. Chaque appel laisse une trace, que le citoyen peut consulter.

Les adresses en `/api/v2/` sont à préférer ; les autres, qui datent de 2020, sont maintenues telles quelles. Celles-ci
répondent aussi en XML : racine `<result>` (`<error>` pour une erreur), une liste répète son élément, `null` est vide.

Les adresses en `/v3/` sont celles de la génération de 2026 : elles interrogent par l'identité civile, répondent en
JSON:API, et prennent aussi la clé comme `Bearer`. Le catalogue de leurs codes d'erreur est à `/api/errors`.

La clé va dans l'en-tête `{KEY}`, jamais dans l'adresse. {RATE_LIMIT} appels par seconde et par jeton.
"""
_HEADERS: Final = {
    "X-Request-Id": ("Identifiant de la requête, à donner au support", {"type": "string"}, True),
    "RateLimit-Limit": (f"Appels permis par seconde et par jeton : {RATE_LIMIT}", {"type": "string"}, False),
    "RateLimit-Policy": ("La même limite, avec sa fenêtre en secondes (`w`)", {"type": "string"}, False),
    "Retry-After": ("Secondes à attendre avant de réessayer", {"type": "string", "pattern": "^[0-9]+$"}, False),
}
_FORMAT: Final = {
    "description": "Le format de la réponse, `json` ou `xml`, à la place de l'en-tête Accept ; toute autre valeur ne"
    " change rien.",
    "required": False,
    "schema": {"type": "string"},
    "name": "format",
    "in": "query",
}
_SCHEME: Final = {
    "type": "apiKey",
    "description": "La clé remise à l'administration, secrète ; jamais dans l'adresse",
    "in": "header",
    "name": KEY,
}
_CONSENT: Final = (
    "Le numéro de l'accord de l'usager, opaque : il est gardé dans la trace, et l'usager l'y lit. Il ne contient aucun"
    " numéro de l'usager."
)
_END_USER: Final = (
    "L'usager de l'appelant pour qui l'appel est fait, d'un nom opaque de 64 caractères au plus : lui seul est ralenti"
    " s'il essaie beaucoup de numéros inconnus. Il n'est pas gardé."
)
_USER: Final = (
    "L'agent qui consulte, tel que l'administration le nomme : il est gardé dans la trace, coupé à 256 caractères."
)
_HEAD: Final = "# Écrit par `make docs` à partir des déclarations de functions/ ; un test compare.\n"
_NUMBER: Final = re.compile("[0-9]+$")


class UndocumentedRouteError(Exception):
    """A route of the template that its function does not document."""


def document() -> str:
    """Return the text of ``docs/openapi.yaml``; raise ``UndocumentedRouteError`` when a route is missing."""
    return _HEAD + yaml.dump(openapi(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def openapi() -> Object:
    """Return the document; raise ``UndocumentedRouteError`` when a route is missing."""
    schemas = _Schemas()
    paths: dict[str, Object] = {}
    for folder, module in modules().items():
        for path, method, operation in _operations(folder, module, schemas):
            paths.setdefault(path, {})[method] = operation
    paths = dict(sorted(paths.items(), key=lambda item: (not item[0].startswith(_V2), item[0])))
    responses = _share_errors([operation for item in paths.values() for operation in item.values()])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "API Particulier",
            "version": tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
            "description": _DESCRIPTION,
            "contact": {"name": "L'équipe d'API Particulier", "email": "contact@particulier.api.gouv.fr"},
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {"url": SERVER, "description": "Le serveur qui donne ce document"},
            {
                "url": "{adresse}",
                "description": "Un autre : la production, ou votre bac à sable",
                "variables": {"adresse": {"default": HOST, "description": "Ce qui précède /api"}},
            },
        ],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.definitions.items())),
            "securitySchemes": {KEY: _SCHEME, v3.BEARER: v3.SCHEME},
            "headers": {
                name: {"description": what, "required": required, "schema": schema}
                for name, (what, schema, required) in (_HEADERS | v3.HEADERS).items()
            },
            "responses": dict(sorted(responses.items())),
        },
        "tags": list(_TAGS.values()),
    }


class _Schemas:
    """The JSON schemas of the models, by name."""

    def __init__(self) -> None:
        self.definitions: dict[str, Object] = {}

    def of(self, model: Any, mode: Literal["validation", "serialization"] = "serialization") -> Object:
        """Return the schema of a type: a reference for a pydantic model, whose definition is kept."""
        schema = TypeAdapter(model).json_schema(mode=mode, ref_template="#/components/schemas/{model}")
        _tidy(schema)
        for name, definition in schema.pop("$defs", {}).items():
            self._define(name, definition)
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return schema
        self._define(model.__name__, schema)
        return {"$ref": f"#/components/schemas/{model.__name__}"}

    def _define(self, name: str, schema: Object) -> None:
        if self.definitions.setdefault(name, schema) != schema:
            raise ValueError(f"two different models are named {name}")


# ── Operations ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _routes_of(folder: str) -> dict[tuple[str, str], bool]:
    """Return the API routes of a function in the template, by method and path, with whether each needs a key.

    A route outside ``/api/`` is a page of the website, except the address of the document.
    """
    functions = resources("AWS::Serverless::Function").values()
    (function,) = (function for function in functions if function["CodeUri"] == f"functions/{folder}/")
    return {
        (event["Method"].upper(), event["Path"]): event.get("Auth", {}).get("ApiKeyRequired", True)
        for event in described_routes(function)
        if event["Path"].startswith("/api/") or event["Path"] == "/documentation-open-api.yaml"
    }


def _operations(folder: str, module: Any, schemas: _Schemas) -> Iterator[tuple[str, str, Object]]:
    """Yield the path, the method and the description of each API route of a function."""
    routes = _routes_of(folder)
    if hasattr(module, "DATASET"):
        for path in module.DATASET.routes:
            if path.startswith("/v3/"):
                yield path, "get", v3.of_dataset(module.DATASET, path, schemas, _TAGS["dss"]["name"])
            else:
                yield path, "get", _of_dataset(module.DATASET, path, schemas)
        return
    declared = {(route.method, route.path): route for route in getattr(module, "ROUTES", ())}
    if routes and declared.keys() != routes.keys():
        missing = ", ".join(" ".join(route) for route in sorted(declared.keys() ^ routes.keys()))
        raise UndocumentedRouteError(f"functions/{folder}/app.py: ROUTES and template.yaml differ: {missing}")
    for key, route in declared.items():
        yield route.path, route.method.lower(), _of_service(route, schemas, has_key=routes[key])


def _of_dataset(dataset: Dataset[Parameters], path: str, schemas: _Schemas) -> Object:
    model, is_v2 = dataset.routes[path], path.startswith(_V2)
    scopes = ", ".join(f"`{scope}`" for scope in scopes_of(model))
    queries = [_query(parameter, required=True) for parameter in dataset.parameters.documented]
    formats = [] if is_v2 else [_FORMAT]
    return {
        "tags": [_TAGS[dataset.provider]["name"]],
        "summary": (model.__doc__ or "").splitlines()[0],
        "description": f"Scopes dont chacun ouvre des champs de cette réponse : {scopes}.",
        "operationId": dataset.name if is_v2 else f"{dataset.name}_v1",
        "parameters": [
            *(*queries, *formats),
            _header("X-User", _USER),
            _header("X-End-User", _END_USER),
            _header("X-Consent", _CONSENT, f"^({CONSENT})?$"),
        ],
        "responses": {
            "200": _success(schemas.of(model), examples()["responses"][path], xml=not is_v2),
            **_refusals(refusals.of_dataset(dataset, path, is_v2=is_v2), schemas),
        },
        "security": [{KEY: []}],
    }


def _of_service(route: Route, schemas: _Schemas, *, has_key: bool) -> Object:
    operation: Object = {"tags": [_TAGS["services"]["name"]], "summary": route.summary}
    if route.description:
        operation["description"] = route.description
    operation["operationId"] = route.name
    queries = [_query(parameter, required=False) for parameter in route.parameters]
    formats = [_FORMAT] if route.xml else []
    headers = [_header(name, what) | {"required": True} for name, what in route.asks.items()]
    if parameters := [*queries, *formats, *headers]:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"schema": schemas.of(route.body, "validation"), "examples": _example(route.body_example)}
        operation["requestBody"] = {"content": {"application/json": content}, "required": True}
    success = _success(schemas.of(route.answer), route.example, xml=route.xml, media_type=route.media_type)
    success["headers"] |= {
        name: {"description": what, "schema": {"type": "string"}} for name, what in route.headers.items()
    }
    errors = refusals.of_service(route.errors, key=has_key, body=route.body is not None, xml=route.xml)
    operation["responses"] = {"200": success, **_refusals(errors, schemas)}
    if has_key:
        operation["security"] = [{KEY: []}]
    return operation


def _query(parameter: Parameter, *, required: bool) -> Object:
    described: Object = {
        "description": parameter.description,
        "required": required,
        "schema": {"type": "string", "pattern": parameter.pattern},
    }
    if value := examples()["parameters"].get(parameter.name):
        described["examples"] = {"bac à sable": {"value": value}}
    return described | {"name": parameter.name, "in": "query"}


def _header(name: str, what: str, pattern: str | None = None) -> Object:
    schema = {"type": "string"} | ({"pattern": pattern} if pattern else {})
    return {"description": what, "required": False, "schema": schema, "name": name.lower(), "in": "header"}


def _success(schema: Object, example: object, *, xml: bool, media_type: str = "application/json") -> Object:
    content = {media_type: {"schema": schema, "examples": _example(example)}}
    if xml:
        content["application/xml"] = {"schema": schema, "examples": _example(in_xml("result", example))}
    headers = refusals.headers("X-Request-Id", "RateLimit-Limit", "RateLimit-Policy")
    return {"description": "La réponse", "headers": headers, "content": content}


def _example(value: object) -> Object:
    return {"exemple": {"value": value}}


def _refusals(responses: Mapping[int, Object], schemas: _Schemas) -> dict[str, Object]:
    """Return error responses by status as text, with the schema of their body."""
    schema = schemas.of(refusals.Erreur)
    return {
        f"{status}": response
        | {"content": {media: {"schema": schema, **content} for media, content in response["content"].items()}}
        for status, response in responses.items()
    }


# ── Schemas and shared responses ─────────────────────────────────────────────────────────────────────────────────────


def _tidy(node: Any) -> None:
    """Remove the titles that pydantic makes from names, and its defaults without a value."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _tidy(child)
    if isinstance(node, dict) and isinstance(node.get("title"), str):
        del node["title"]
    if isinstance(node, dict) and node.get("default", "") is None:
        del node["default"]


def _share_errors(operations: list[Object]) -> dict[str, Object]:
    """Replace the error responses that several operations share by references, and return them by name."""
    places: dict[str, list[tuple[Object, str]]] = {}
    for operation in operations:
        for status, response in operation["responses"].items():
            if int(status) >= HTTPStatus.BAD_REQUEST:
                if MEDIA_TYPE in response["content"]:
                    codes = response["content"][MEDIA_TYPE]["examples"]
                    name = f"V3-{status}-{len(codes)}-from-{next(iter(codes))}"
                    places.setdefault(name, []).append((operation["responses"], status))
                    continue
                cases = response["content"]["application/json"]["examples"]
                kind = ["Xml"] if "application/xml" in response["content"] else []
                name = "-".join([status, *dict.fromkeys(_NUMBER.sub("", case) for case in cases), *kind])
                places.setdefault(name, []).append((operation["responses"], status))
    shared = {}
    for name, found in places.items():
        first, *others = (responses[status] for responses, status in found)
        if others and all(response == first for response in others):
            shared[name] = first
            for responses, status in found:
                responses[status] = {"$ref": f"#/components/responses/{name}"}
    return shared


class _Dumper(yaml.SafeDumper):
    """Write no YAML aliases, and texts of several lines as blocks."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)
