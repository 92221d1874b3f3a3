"""``docs/openapi.yaml``: the public contract, generated from the declarations of the functions.

Powertools writes the part of each function from its models, and merges the parts. This module adds what its generator
does not have: the headers of every response, and the responses shared by several operations.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from inspect import Parameter as Argument
from inspect import Signature
from typing import Annotated, Any, Final, Literal

import yaml
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.event_handler.openapi import OpenAPIMerge
from aws_lambda_powertools.event_handler.openapi.models import APIKey, APIKeyIn, Contact, Example, License, Server, Tag
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Query
from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse

from api_particulier.api.dataset import Dataset
from api_particulier.api.openapi import Route
from api_particulier.api.parameters import Parameter, Parameters
from api_particulier.api.response import RATE_LIMIT, in_xml
from api_particulier.scopes import fields_of
from ops.functions import modules
from ops.template import ROOT, resources
from release.openapi import refusals
from release.openapi.examples import examples

KEY: Final = "X-API-Key"
_V2: Final = "/api/v2/"
SERVER: Final = ".."
"""Relative to the address of the document, ``/api/open-api.yml``, so that it is right behind any stage and domain."""
_TAGS: Final = {
    "dgfip": Tag(name="Données fiscales", description="Ce que la DGFIP sait d'un foyer fiscal"),
    "caf": Tag(name="Données familiales", description="Ce que la CAF sait d'une famille"),
    "services": Tag(name="Services", description="Ce qui entoure les jeux de données"),
}
_DESCRIPTION: Final = f"""\
Les données fiscales (DGFIP) et familiales (CAF) d'un citoyen, certifiées à la source, pour les
administrations habilitées.

**Une clé ouvre des champs, pas des routes.** Chaque champ dit le scope qui l'ouvre (`x-scope`) ; un champ que le jeton
n'ouvre pas est absent de la réponse. Chaque appel laisse une trace, que le citoyen peut consulter.

Les adresses en `/api/v2/` sont à préférer ; les autres, qui datent de 2020, sont maintenues telles quelles. Celles-ci
répondent aussi en XML : racine `<result>` (`<error>` pour une erreur), une liste répète son élément, `null` est vide.

La clé va dans l'en-tête `{KEY}`, jamais dans l'adresse. {RATE_LIMIT} appels par seconde et par jeton.
"""
_HEADERS: Final = {
    "X-Request-Id": ("Identifiant de la requête, à donner au support", {"type": "string"}, True),
    "RateLimit-Limit": (f"Appels permis par seconde et par jeton : {RATE_LIMIT}", {"type": "string"}, False),
    "RateLimit-Policy": ("La même limite, avec sa fenêtre en secondes (`w`)", {"type": "string"}, False),
    "Retry-After": ("Secondes à attendre avant de réessayer", {"type": "string", "pattern": "^[0-9]+$"}, False),
}
_FORMAT: Final = Argument(
    "format",
    Argument.KEYWORD_ONLY,
    annotation=Annotated[
        Literal["json", "xml"], Query(description="Le format de la réponse, à la place de l'en-tête Accept.")
    ],
    default="json",
)
_USER: Final = "L'agent qui consulte, tel que l'administration le nomme : il est gardé dans la trace."
_HEAD: Final = "# Écrit par `make docs` à partir des déclarations de functions/ ; un test compare.\n"
_NUMBER: Final = re.compile("[0-9]+$")


class UndocumentedRouteError(Exception):
    """A route of the template that its function does not document."""


def document() -> str:
    """Return the text of ``docs/openapi.yaml``; raise ``UndocumentedRouteError`` when a route is missing."""
    return _HEAD + yaml.dump(openapi(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def openapi() -> dict[str, Any]:
    """Return the document; raise ``UndocumentedRouteError`` when a route is missing."""
    merge = OpenAPIMerge(
        title="API Particulier",
        version=tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
        description=_DESCRIPTION,
        tags=list(_TAGS.values()),
        servers=[Server(url=SERVER)],
        contact=Contact(name="L'équipe d'API Particulier", email="contact@particulier.api.gouv.fr"),
        license_info=License(name="MIT", identifier="MIT"),
        on_conflict="error",
    )
    parts = [_part(folder, module) for folder, module in modules().items() if _routes_of(folder)]
    _refuse_different_models_of_one_name(parts)
    for part in parts:
        merge.add_schema(part)
    return _tidied(merge.get_openapi_schema())


_SCHEME: Final = APIKey(
    **{"in": APIKeyIn.header}, name=KEY, description="La clé remise à l'administration, secrète ; jamais dans l'adresse"
)


# ── A function's part ────────────────────────────────────────────────────────────────────────────────────────────────


def _routes_of(folder: str) -> dict[tuple[str, str], bool]:
    """Return the API routes of a function in the template, by method and path, with whether each needs a key.

    A route outside ``/api/`` is a page of the website, except the address of the document.
    """
    functions = resources("AWS::Serverless::Function").values()
    (function,) = (function for function in functions if function["CodeUri"] == f"functions/{folder}/")
    events = [event["Properties"] for event in function.get("Events", {}).values() if event["Type"] == "Api"]
    return {
        (event["Method"].upper(), event["Path"]): event.get("Auth", {}).get("ApiKeyRequired", True)
        for event in events
        if event["Path"].startswith("/api/") or event["Path"] == "/documentation-open-api.yaml"
    }


def _part(folder: str, module: Any) -> dict[str, Any]:
    """Return the document that Powertools writes for a function."""
    resolver = APIGatewayRestResolver()
    routes = _routes_of(folder)
    if hasattr(module, "DATASET"):
        for path in module.DATASET.routes:
            _add_dataset(resolver, module.DATASET, path)
    else:
        declared = {(route.method, route.path): route for route in getattr(module, "ROUTES", ())}
        if declared.keys() != routes.keys():
            missing = ", ".join(" ".join(route) for route in sorted(declared.keys() ^ routes.keys()))
            raise UndocumentedRouteError(f"functions/{folder}/app.py: ROUTES and template.yaml differ: {missing}")
        for method_and_path, route in declared.items():
            _add_service(resolver, route, key=routes[method_and_path])
    return _dumped(resolver.get_openapi_schema(security_schemes={KEY: _SCHEME}))


def _dumped(model: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dumped


def _add_dataset(resolver: APIGatewayRestResolver, dataset: Dataset[Parameters], path: str) -> None:
    model, is_v2 = dataset.routes[path], path.startswith(_V2)
    scopes = ", ".join(f"`{scope}`" for scope in dict.fromkeys(scope for _, scope in fields_of(model)))
    name = dataset.name if is_v2 else f"{dataset.name}_v1"
    arguments = [*_queries(dataset.parameters.documented, required=True), _header("X-User", _USER, required=False)]
    if not is_v2:
        arguments.append(_FORMAT)
    resolver.get(
        path,
        summary=(model.__doc__ or "").splitlines()[0],
        description=f"Scopes dont chacun ouvre des champs de cette réponse : {scopes}.",
        operation_id=name,
        tags=[_TAGS[dataset.provider].name],
        security=[{KEY: []}],
        responses={
            200: _success(model, examples()["responses"][path], xml=not is_v2),
            **refusals.of_dataset(dataset, is_v2=is_v2),
        },
    )(_endpoint(name, arguments))


def _add_service(resolver: APIGatewayRestResolver, route: Route, *, key: bool) -> None:
    arguments = [
        *_queries(route.parameters, required=False),
        *(_header(name, what, required=True) for name, what in route.asks.items()),
    ]
    if route.xml:
        arguments.append(_FORMAT)
    if route.body is not None:
        arguments.append(_body(route.body, route.body_example))
    register = resolver.post if route.method == "POST" else resolver.get
    register(
        route.path,
        summary=route.summary,
        description=route.description or None,
        operation_id=route.name,
        tags=[_TAGS["services"].name],
        security=[{KEY: []}] if key else None,
        responses={
            200: _success(route.answer, route.example, xml=route.xml, media_type=route.media_type, more=route.headers),
            **refusals.of_service(route.errors, key=key, body=route.body is not None, xml=route.xml),
        },
    )(_endpoint(route.name, arguments))


def _endpoint(name: str, arguments: list[Argument]) -> Any:
    """Return a function with these arguments, from which Powertools reads the parameters of an operation."""

    def endpoint(**_: object) -> None:
        """Only its signature is read."""

    endpoint.__name__ = name
    endpoint.__signature__ = Signature(arguments)  # type: ignore[attr-defined]  # read by `inspect.signature`
    return endpoint


def _queries(parameters: tuple[Parameter, ...], *, required: bool) -> Iterator[Argument]:
    for parameter in parameters:
        value = examples()["parameters"].get(parameter.name)
        sample = {"bac à sable": Example(value=value)} if value else None
        described = Query(description=parameter.description, pattern=parameter.pattern, openapi_examples=sample)
        default = Argument.empty if required else ""
        yield Argument(parameter.name, Argument.KEYWORD_ONLY, annotation=Annotated[str, described], default=default)


def _header(name: str, what: str, *, required: bool) -> Argument:
    annotation = Annotated[str, Header(alias=name, description=what)]
    default = Argument.empty if required else ""
    return Argument(name.replace("-", "_"), Argument.KEYWORD_ONLY, annotation=annotation, default=default)


def _body(model: Any, example: object) -> Argument:
    annotation = Annotated[model, Body(openapi_examples={"exemple": Example(value=example)})]
    return Argument("body", Argument.KEYWORD_ONLY, annotation=annotation)


def _success(
    model: Any,
    example: object,
    *,
    xml: bool,
    media_type: str = "application/json",
    more: Mapping[str, str] | None = None,
) -> OpenAPIResponse:
    headers = refusals.headers("X-Request-Id", "RateLimit-Limit", "RateLimit-Policy")
    own = {name: {"description": what, "schema": {"type": "string"}} for name, what in (more or {}).items()}
    content: dict[str, Any] = {media_type: {"model": model, "examples": {"exemple": {"value": example}}}}
    if xml:
        text = in_xml("result", example)
        content["application/xml"] = {"model": model, "examples": {"exemple": {"value": text}}}
    return {"description": "La réponse", "headers": headers | own, "content": content}


# ── The whole ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _refuse_different_models_of_one_name(parts: list[dict[str, Any]]) -> None:
    """Raise ``ValueError`` for two different models with the same name: the merge would keep one of them."""
    known: dict[str, Any] = {}
    for part in parts:
        for name, schema in part["components"]["schemas"].items():
            if known.setdefault(name, schema) != schema:
                raise ValueError(f"two models are named {name}")


def _tidied(merged: dict[str, Any]) -> dict[str, Any]:
    """Add the headers of responses, share identical error responses, and remove the schemas that are not used."""
    components = merged["components"]
    components["headers"] = {
        name: {"description": what, "required": required, "schema": schema}
        for name, (what, schema, required) in _HEADERS.items()
    }
    components["responses"] = dict(sorted(_share_errors(merged)))
    components["schemas"] = {
        name: schema for name, schema in sorted(components["schemas"].items()) if "ValidationError" not in name
    }
    for operation in _operations(merged):
        for parameter in operation.get("parameters", ()):
            del parameter["schema"]["description"]  # the parameter's own
            parameter["schema"].pop("default", None)  # set only to make the argument optional
    _untitle(merged["paths"])
    _untitle(components["schemas"])
    merged["paths"] = dict(sorted(merged["paths"].items(), key=lambda path: (not path[0].startswith(_V2), path[0])))
    return merged


def _untitle(node: Any) -> None:
    """Remove the titles that pydantic makes from names."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _untitle(child)
    if isinstance(node, dict) and isinstance(node.get("title"), str):
        del node["title"]


def _operations(merged: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in merged["paths"].values():
        yield from path.values()


def _share_errors(merged: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Replace the error responses that several operations share by references, and yield them with their names."""
    found: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for operation in _operations(merged):
        for status, response in operation["responses"].items():
            if int(status) >= HTTPStatus.BAD_REQUEST:
                cases = response["content"]["application/json"]["examples"]
                kind = ["Xml"] if "application/xml" in response["content"] else []
                name = "-".join([str(status), *dict.fromkeys(_NUMBER.sub("", case) for case in cases), *kind])
                found.setdefault(name, []).append((operation["responses"], status))
    for name, places in found.items():
        shared = [responses[status] for responses, status in places]
        if len(shared) > 1 and all(response == shared[0] for response in shared):
            for responses, status in places:
                responses[status] = {"$ref": f"#/components/responses/{name}"}
            yield name, shared[0]


class _Dumper(yaml.SafeDumper):
    """Write no YAML aliases, and texts of several lines as blocks."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)
