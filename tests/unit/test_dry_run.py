"""What a set of scopes would return, of somebody who does not exist."""

import pytest

from api_particulier.api.dataset import Dataset
from api_particulier.api.parameters import Parameters
from api_particulier.scopes import BUNDLES, fields_of
from ops.dry_run import dry_run
from ops.functions import datasets


@pytest.mark.parametrize("dataset", datasets(), ids=lambda one: one.name)
def test_somebody_has_every_field_of_every_dataset(dataset: Dataset[Parameters]) -> None:
    answer = dry_run(BUNDLES, dataset.name)["datasets"][dataset.name]
    for path, _ in fields_of(dataset.routes[answer["route"]]):
        value = answer["body"]
        for name in path.split("."):
            value = value[name]


def test_what_is_not_opened_is_not_shown() -> None:
    tried = dry_run(["dgfip_nombre_parts", "cnaf_adresse", "unheard_of"])
    assert tried["unknown"] == ["unheard_of"]
    assert tried["datasets"]["avis_imposition"]["body"] == {"nombreParts": 1.5}
    assert list(tried["datasets"]["adresse_caf"]["body"]) == ["adresse"]
    refused = tried["datasets"]["declarants"]
    assert (refused["status"], refused["body"]["error"]) == (403, "forbidden")
    assert tried["datasets"].keys() == {one.name for one in datasets()}


def test_one_dataset_can_be_asked_for() -> None:
    assert dry_run(["cnaf_enfants"], "declarants")["datasets"].keys() == {"declarants"}
