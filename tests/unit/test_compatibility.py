"""Changes of the contract that break callers are refused, the others accepted (docs/decisions/0023)."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from release.openapi.compatibility import breaks, contract_of, last_release
from tests.support.openapi import document

RFR = "/api/v2/revenu-fiscal-reference"
CLES = "/api/cles/remise"


def test_the_contract_is_compatible_with_the_last_release() -> None:
    release = last_release()
    if release is None:
        pytest.skip("nothing is released yet: there is no git tag")
    assert breaks(contract_of(release), document()) == []


def test_a_tag_without_a_contract_promises_nothing() -> None:
    assert breaks(contract_of("no-such-tag"), document()) == []


def operation(changed: dict[str, Any], path: str = RFR, method: str = "get") -> Any:
    return changed["paths"][path][method]


def schema(changed: dict[str, Any], name: str) -> Any:
    return changed["components"]["schemas"][name]


def parameter(changed: dict[str, Any], number: int) -> Any:
    return operation(changed)["parameters"][number]


type Change = Callable[[dict[str, Any]], object]

BREAKING: dict[str, Change] = {
    "a route is gone": lambda new: new["paths"].pop(RFR),
    "a method is gone": lambda new: new["paths"][CLES].pop("post"),
    "a field is gone": lambda new: schema(new, "AvisImposition")["properties"].pop("montantImpot"),
    "a field within one is gone": lambda new: schema(new, "Declarant1")["properties"].pop("nom"),
    "a field is of another type": lambda new: schema(new, "AvisImposition")["properties"]["nombreParts"].update(
        anyOf=[{"type": "string"}]
    ),
    "a field may now be null": lambda new: schema(new, "FoyerFiscal")["properties"].update(
        annee={"type": ["integer", "null"]}
    ),
    "a list may hold anything": lambda new: schema(new, "CompositionFamiliale")["properties"]["enfants"].pop("items"),
    "a field is no longer always there": lambda new: schema(new, "Erreur")["required"].remove("message"),
    "a parameter is gone": lambda new: operation(new)["parameters"].pop(0),
    "a parameter accepts less": lambda new: parameter(new, 0)["schema"].update(pattern="^[0-9]{13}$"),
    "a parameter can no longer be left out": lambda new: parameter(new, 2).update(required=True),
    "a parameter is new and required": lambda new: operation(new)["parameters"].append(
        {"in": "query", "name": "motif", "required": True, "schema": {"type": "string"}}
    ),
    "a body needs more": lambda new: schema(new, "Ouverture")["required"].append("motif"),
    "a body is asked for": lambda new: operation(new).update(requestBody=operation(new, CLES, "post")["requestBody"]),
    "a status is gone": lambda new: operation(new)["responses"].pop("200"),
    "a format is gone": lambda new: operation(new, "/api/caf/qf")["responses"]["200"]["content"].pop("application/xml"),
    "a header is gone": lambda new: operation(new)["responses"]["200"]["headers"].pop("X-Request-Id"),
    "a key is asked for": lambda new: operation(new, "/api/ping").update(security=[{"X-API-Key": []}]),
}
HARMLESS: dict[str, Change] = {
    "a route is added": lambda new: new["paths"].update({"/api/v2/une-autre-route": new["paths"][RFR]}),
    "a method is added": lambda new: new["paths"][RFR].update(post=operation(new, CLES, "post")),
    "a field is added": lambda new: schema(new, "AvisImposition")["properties"].update(taille={"type": "integer"}),
    "a description changes": lambda new: schema(new, "AvisImposition")["properties"]["montantImpot"].update(
        description="…"
    ),
    "a field is never null any more": lambda new: schema(new, "AvisImposition")["properties"].update(
        montantImpot={"type": "integer"}
    ),
    "a parameter accepts more": lambda new: parameter(new, 0)["schema"].pop("pattern"),
    "a parameter can be left out": lambda new: parameter(new, 0).update(required=False),
    "a parameter is added": lambda new: operation(new)["parameters"].append(
        {"in": "query", "name": "motif", "required": False, "schema": {"type": "string"}}
    ),
    "a format is added": lambda new: operation(new)["responses"]["200"]["content"].update(
        {"text/csv": {"schema": {"type": "string"}}}
    ),
    "an error is added": lambda new: operation(new)["responses"].update({"451": operation(new)["responses"]["404"]}),
}


def changed(change: Change) -> dict[str, Any]:
    new = copy.deepcopy(document())
    change(new)
    assert new != document()
    return new


@pytest.mark.parametrize("what", BREAKING)
def test_a_breaking_change_is_refused(what: str) -> None:
    assert breaks(document(), changed(BREAKING[what]))


@pytest.mark.parametrize("what", HARMLESS)
def test_a_harmless_change_is_accepted(what: str) -> None:
    assert breaks(document(), changed(HARMLESS[what])) == []


def test_a_refusal_names_the_change() -> None:
    (why,) = breaks(document(), changed(BREAKING["a route is gone"]))
    assert why == f"GET {RFR} is gone"
