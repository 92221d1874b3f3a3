"""Return exactly the fields of the token's scopes, in the contract's order (contract §3 and §4).

The expected fields come from the tables of ``tests/support/scopes.py``, which copy the contract, and not from the code.
"""

import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_particulier.api.handler import handle
from api_particulier.scopes import EMPTY
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, event, invoke
from tests.support.scopes import BUNDLES, CNAF, DGFIP, EVERY_SCOPE
from tests.support.tax_service import NOTICE, TaxService, notice_page
from tests.support.template import ROOT

ORDER = {
    "/api/v2/avis-imposition": list(NOTICE),
    "/api/impots/svair": list(NOTICE),
    "/api/v2/revenu-fiscal-reference": ["revenuFiscalReference", "nombreParts", "anneeImpots", "anneeRevenus"],
    "/api/v2/declarants": ["declarant1", "declarant2"],
    "/api/v2/quotient-familial": ["quotientFamilial", "mois", "annee"],
    "/api/v2/adresse": ["adresse"],
}
"""The keys of a body, where the contract lists them."""

DATASETS = {
    folder: module.DATASET
    for folder in sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))
    if hasattr(module := importlib.import_module(f"functions.{folder}.app"), "DATASET")
    and module.DATASET.provider != "dss"  # tests/integration/dss/test_dss_answers.py
}
ROUTES = [(name, route) for name, dataset in DATASETS.items() for route in dataset.routes]
ONE_CLOUD = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

pytestmark = [pytest.mark.usefixtures("cloud", "dgfip"), pytest.mark.slow]

scope_sets = st.sets(st.sampled_from([*DGFIP, *CNAF, *BUNDLES, "foo", "dgfip_", "dgfip_nom", ""]), max_size=12)


def opened_by(provider: str, scopes: Iterable[str]) -> set[str]:
    """Return the paths of the fields that scopes give, by the contract's tables."""
    table = DGFIP if provider == "dgfip" else CNAF
    singles = [single for scope in scopes for single in BUNDLES.get(scope, [scope])]
    return {path for single in singles for path in table.get(single, [])}


def event_of(folder: str, route: str, key: str) -> dict[str, Any]:
    """Return the event of a route among those of a function."""
    for file in sorted((ROOT / "events" / folder).glob("*.json")):
        made = event(f"{folder}/{file.stem}", key=key)
        if made["resource"] == route:
            return made
    pytest.fail(f"events/{folder} has no event of {route}")


def paths(body: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Flatten a body made of ``document``: the path of each leaf with its value."""
    flat: dict[str, object] = {}
    for name, value in body.items():
        nested = isinstance(value, Mapping)
        flat |= paths(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
        assert not nested or value, f"{prefix}{name} is empty"
    return flat


def document(leaves: Mapping[str, object]) -> dict[str, object]:
    """Nest the members that ``paths`` flattens."""
    nested: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, leaf = path.split(".")
        target = nested
        for parent in parents:
            target = target.setdefault(parent, {})
        target[leaf] = value
    return nested


@pytest.mark.parametrize(("folder", "route"), ROUTES)
def test_a_route_returns_exactly_the_fields_of_the_token_scopes(cloud: Cloud, folder: str, route: str) -> None:
    dataset = DATASETS[folder]
    declared = [path for path in opened_by(dataset.provider, BUNDLES) if has_field(dataset.routes[route], path)]
    assert declared, "no field of the contract"
    values = st.fixed_dictionaries(
        {path: st.sampled_from(["absent", "blank", "", 0, None, "<&>é", 12.5]) for path in declared}
    )

    @ONE_CLOUD
    @given(scopes=scope_sets, values=values)
    def check(scopes: set[str], values: dict[str, object]) -> None:
        leaves = {path: EMPTY if value == "blank" else value for path, value in values.items() if value != "absent"}
        played = replace(dataset, fetch=lambda *_: (document(leaves), []))
        key = cloud.issue_key(*scopes)
        response: Any = handle(played, event_of(folder, route, key), None)
        opened = opened_by(dataset.provider, scopes).intersection(declared)
        (entry,) = cloud.audit_records()
        cloud.audit.delete_item(Key={name: entry[name] for name in ("token_day", "id")})
        if not opened:
            assert response["statusCode"] == 403
            assert entry["released"] == entry["withheld"] == []
            return
        assert response["statusCode"] == 200
        expected = {
            path: None if value is EMPTY else value
            for path, value in leaves.items()
            if path in opened and (value is not EMPTY or route.startswith("/api/v2/"))
        }
        body = json.loads(response["body"])
        assert paths(body) == expected
        order = ORDER.get(route, list(body))
        assert list(body) == [name for name in order if name in body]
        assert entry["released"] == list(paths(body))
        assert sorted(entry["withheld"]) == sorted(path for path in leaves if path not in opened)

    check()


@ONE_CLOUD
@given(scopes=scope_sets)
def test_a_notice_from_the_provider_is_masked_exactly(cloud: Cloud, scopes: set[str]) -> None:
    opened = opened_by("dgfip", scopes)
    answer = call_api("avis_imposition/v2", key=cloud.issue_key(*scopes))
    if opened & set(paths(NOTICE)):
        assert answer.status == 200
        assert paths(answer.body) == {path: value for path, value in paths(NOTICE).items() if path in opened}
        assert list(paths(answer.body)) == [path for path in paths(NOTICE) if path in opened]
    else:
        assert answer.status == 403


def test_each_scope_gives_its_fields_and_no_other(cloud: Cloud) -> None:
    for scope in [*DGFIP, *BUNDLES]:
        answer = call_api("avis_imposition/v2", key=cloud.issue_key(scope))
        expected = {path: value for path, value in paths(NOTICE).items() if path in opened_by("dgfip", [scope])}
        assert (paths(answer.body) if answer.status == 200 else {}) == expected, scope


def test_all_scopes_together_give_the_whole_notice(cloud: Cloud) -> None:
    whole = call_api("avis_imposition/v2", key=cloud.issue_key(*EVERY_SCOPE))
    assert whole.text == json.dumps(NOTICE, ensure_ascii=False, separators=(",", ":"))
    assert call_api("avis_imposition/v1", key=cloud.issue_key(*DGFIP)).text == whole.text


def test_one_scope_gives_a_body_of_one_field(cloud: Cloud) -> None:
    answer = call_api("avis_imposition/v2", key=cloud.issue_key("dgfip_nombre_parts"))
    assert answer.text == '{"nombreParts":2.5}'


def test_the_missing_second_declarant_has_empty_strings_for_its_granted_fields(cloud: Cloud, dgfip: TaxService) -> None:
    alone = {**NOTICE, "declarant2": dict.fromkeys(("nom", "nomNaissance", "prenoms", "dateNaissance"), "")}
    dgfip.page = notice_page(alone)
    assert (
        call_api("declarants/v2", key=cloud.issue_key("dgfip_avis_imposition")).body["declarant2"]
        == alone["declarant2"]
    )
    some: Response = call_api("declarants/v2", key=cloud.issue_key("dgfip_declarant1_nom", "dgfip_declarant2_prenoms"))
    assert some.body == {"declarant1": {"nom": "TILLEUL"}, "declarant2": {"prenoms": ""}}


def test_an_alias_returns_the_same_body_as_its_dataset(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_adresse")
    old = invoke(event_of("avis_imposition", "/api/impots/svair", key), "avis_imposition")
    new = invoke(event_of("avis_imposition", "/api/v2/avis-imposition", key), "avis_imposition")
    assert old.text == new.text


def has_field(model: Any, path: str) -> bool:
    name, _, rest = path.partition(".")
    field = model.model_fields.get(name)
    return field is not None and (not rest or has_field(field.annotation, rest))
