"""A function is given the environment variables that it reads, and no others.

A variable that names a resource (a table, a key, a secret, a queue) goes with the right to use it: a function has it
when its role names that resource. Any other variable is a setting: a function has it when its code reads it, from the
handler on (``tests/support/reading.py``).
"""

import json
from functools import lru_cache
from typing import Any, Final

import pytest

from api_particulier.settings import Settings
from tests.support.iam import statements
from tests.support.reading import settings_read_by
from tests.support.template import ROOT, resources, template

FUNCTIONS = resources("AWS::Serverless::Function")
EVERYWHERE: Final = {"ENVIRONMENT", "RELEASE"}
"""What every function has: the name of the deployment, and what publishes a version of each (``release.build``)."""
OF_LAMBDA: Final = {"aws_default_region", "aws_endpoint_url", "environment"}
"""What Lambda or the local stack sets, and the deployment's name, which every log line has."""
TUNED_IN_CODE: Final = {
    *("ban_deadline", "circuit_seconds", "citizen_tries_by_address", "citizen_tries_by_citizen"),
    *("enumeration_people_a_day", "enumeration_unknown_a_day", "key_tries_by_address"),
    *("provider_connect_timeout", "provider_deadline", "provider_read_timeout", "token_cache_seconds"),
}
"""Settings that keep their default in the template; tests change them."""


def variables(function: str) -> dict[str, Any]:
    found: dict[str, Any] = FUNCTIONS[function].get("Environment", {}).get("Variables", {})
    return found


def named(value: Any) -> set[str]:
    """Return the resources of the template that a value names."""
    text = json.dumps(value)
    names = {*template()["Resources"], *(f"{function}Role" for function in FUNCTIONS)}
    return {name for name in names if f'"{name}"' in text or f"${{{name}." in text}


@lru_cache
def read_in(function: str) -> frozenset[str]:
    return frozenset(settings_read_by(ROOT / FUNCTIONS[function]["CodeUri"] / "app.py") - OF_LAMBDA)


def resources_named() -> dict[str, set[str]]:
    """Return the variables that name a resource, with what they name in any function."""
    found: dict[str, set[str]] = {}
    for function in FUNCTIONS:
        for name, value in variables(function).items():
            if named(value):
                found[name] = found.get(name, set()) | named(value)
    return found


OF_RESOURCES: Final = resources_named()


def test_only_the_deployments_name_and_release_are_everywhere() -> None:
    assert template()["Globals"]["Function"]["Environment"]["Variables"].keys() == EVERYWHERE


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_the_names_of_the_resources_that_its_role_may_use(function: str) -> None:
    usable = set().union(*(named(statement["Resource"]) for statement in statements(function)))
    policies = {key: properties["KeyPolicy"] for key, properties in resources("AWS::KMS::Key").items()}
    usable |= {key for key, policy in policies.items() if f"{function}Role" in named(policy)}
    expected = {name for name, resource in OF_RESOURCES.items() if resource & usable}
    assert variables(function).keys() & OF_RESOURCES.keys() == expected


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_the_settings_that_its_code_reads(function: str) -> None:
    given = {name.lower() for name in variables(function)}
    of_resources = {name.lower() for name in OF_RESOURCES}
    assert given - of_resources == read_in(function) - of_resources - TUNED_IN_CODE
    assert given <= read_in(function)


def test_a_setting_that_no_function_is_given_keeps_its_default() -> None:
    given = {name.lower() for function in FUNCTIONS for name in variables(function)}
    assert Settings.model_fields.keys() - given - OF_LAMBDA == TUNED_IN_CODE
    assert not [name for name in TUNED_IN_CODE if Settings.model_fields[name].is_required()]
