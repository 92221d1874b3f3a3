"""``docs/collection.json``: the requests of the API for Postman, Bruno and Newman, with the sandbox's people.

The format is Postman's v2.1, which all three read. Its variables are ``url``, what comes before ``/api`` (production by
default), ``url_v3``, what comes before ``/v3``, and ``cle``, the key.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from release.openapi.generator import HOST, openapi
from sandbox.simulators import PEOPLE

_SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_LEFT_OUT: Final = frozenset({"/api/cles/remise", "/api/open-api.yml", "/documentation-open-api.yaml"})
"""Pages, which are for a browser."""
_YEARS: Final = ("aa", "aaPrecedente")
"""Variables of the last two digits of this year and of the year before: a notice's reference begins with them."""
_SCRIPT: Final = (
    "const annee = new Date().getFullYear();",
    f"pm.variables.set('{_YEARS[0]}', String(annee).slice(2));",
    f"pm.variables.set('{_YEARS[1]}', String(annee - 1).slice(2));",
)
_AT_MOST: Final = 3
"""People of each provider: one key that asks for many in a row is slowed."""

type Object = dict[str, Any]


def document() -> str:
    """Return the text of the collection."""
    return json.dumps(collection(), ensure_ascii=False, indent=1) + "\n"


def collection() -> Object:
    """Return the collection: a folder for each part of the documentation, and one for the sandbox's people."""
    described = openapi()
    about = described["info"]
    folders: dict[str, list[Object]] = {tag["name"]: [] for tag in described["tags"]}
    for path, item in described["paths"].items():
        if path not in _LEFT_OUT and "get" in item:
            operation = item["get"]
            folders[operation["tags"][0]].append(_request(path, operation, _query_of(operation)))
    people = [
        _request(path, described["paths"][path]["get"], query, name=name)
        for path, name, query in (*_notices(), *_families())
    ]
    return {
        "info": {"name": about["title"], "schema": _SCHEMA, "description": about["description"]},
        "variable": [
            {"key": "url", "value": HOST},
            {"key": "url_v3", "value": HOST},
            {"key": "cle", "value": ""},
        ],
        "event": [_event("prerequest", *_SCRIPT)],
        "item": [
            *({"name": name, "item": requests} for name, requests in folders.items() if requests),
            {"name": "Personnes du bac à sable", "item": people},
        ],
    }


def _request(path: str, operation: Object, query: Mapping[str, str], name: str = "") -> Object:
    host = "url_v3" if path.startswith("/v3/") else "url"
    keys = [{"key": "X-API-Key", "value": "{{cle}}"}] if operation.get("security") else []
    pairs = [{"key": key, "value": value} for key, value in query.items()]
    text = "&".join(f"{key}={value}" for key, value in query.items())
    return {
        "name": name or operation["summary"],
        "event": [_event("test", "pm.test('200', () => pm.response.to.have.status(200));")],
        "request": {
            "method": "GET",
            "description": operation.get("description", ""),
            "header": keys,
            "url": {
                "raw": f"{{{{{host}}}}}{path}" + (f"?{text}" if text else ""),
                "host": [f"{{{{{host}}}}}"],
                "path": path.strip("/").split("/"),
                "query": pairs,
            },
        },
    }


def _event(moment: str, *lines: str) -> Object:
    return {"listen": moment, "script": {"type": "text/javascript", "exec": list(lines)}}


def _query_of(operation: Object) -> dict[str, str]:
    """Return the parameters of the first person that the operation takes: a notice's numbers, or else a family's."""
    if operation["operationId"].startswith("api_particulier_v3"):
        return _identity_of(operation)
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    for _, _, query in (*_notices(), *_families()):
        if query.keys() <= names:
            return query
    return {}


def _identity_of(operation: Object) -> dict[str, str]:
    """Return the identity of the documentation's examples; a quotient is that of the current month by default."""
    found = {}
    for parameter in operation["parameters"]:
        for example in parameter.get("examples", {}).values():
            value = example["value"]
            found[parameter["name"]] = value[0] if isinstance(value, list) else value
    return {name: value for name, value in found.items() if name not in {"annee", "mois", "nomUsage"}}


def _notices() -> Iterator[tuple[str, str, dict[str, str]]]:
    years = {"courante": _YEARS[0], "precedente": _YEARS[1]}
    people = tomllib.loads((PEOPLE / "avis.toml").read_text())["personne"]
    for person in [person for person in people if person.get("annee") in years and "reponse" not in person][:_AT_MOST]:
        reference = person["referenceAvis"].replace("AA", f"{{{{{years[person['annee']]}}}}}", 1)
        name = f"Avis de {person['declarant1']['prenoms']} {person['declarant1']['nom']}"
        yield "/api/v2/avis-imposition", name, {"numeroFiscal": person["numeroFiscal"], "referenceAvis": reference}


def _families() -> Iterator[tuple[str, str, dict[str, str]]]:
    families = tomllib.loads((PEOPLE / "familles.toml").read_text())["famille"]
    for family in [family for family in families if "reponse" not in family][:_AT_MOST]:
        query = {"numeroAllocataire": family["numeroAllocataire"], "codePostal": family["codePostal"]}
        yield "/api/v2/composition-familiale", f"Famille de {family['allocataires'][0]['nomPrenom']}", query
