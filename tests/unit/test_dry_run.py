"""Responses that a set of scopes would give about a fictitious citizen."""

import pytest

from api_particulier.api.dataset import Dataset
from api_particulier.api.parameters import Parameters
from api_particulier.scopes import BUNDLES, fields_of
from ops.dry_run import dry_run
from ops.functions import datasets
from tests.support.api_secu import EVERY_SCOPE


@pytest.mark.parametrize("dataset", datasets(), ids=lambda dataset: dataset.name)
def test_the_fictitious_citizen_has_every_field_of_a_dataset(dataset: Dataset[Parameters]) -> None:
    response = dry_run([*BUNDLES, *EVERY_SCOPE], dataset.name)["datasets"][dataset.name]
    for path, _ in fields_of(dataset.routes[response["route"]]):
        value = response["body"].get("data", response["body"])
        for name in path.split("."):
            value = value[name]


def test_only_the_fields_of_the_scopes_are_shown() -> None:
    tried = dry_run(["dgfip_nombre_parts", "cnaf_adresse", "unheard_of"])
    assert tried["unknown"] == ["unheard_of"]
    assert tried["datasets"]["avis_imposition"]["body"] == {"nombreParts": 1.5}
    assert list(tried["datasets"]["adresse_caf"]["body"]) == ["adresse"]
    refused = tried["datasets"]["declarants"]
    assert (refused["status"], refused["body"]["error"]) == (403, "forbidden")
    assert tried["datasets"].keys() == {dataset.name for dataset in datasets()}


def test_a_single_dataset_can_be_chosen() -> None:
    assert dry_run(["cnaf_enfants"], "declarants")["datasets"].keys() == {"declarants"}
