"""The fields of a model that scopes open."""

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from api_particulier.scopes import BUNDLES, EMPTY, Scope, allowed_fields, fields_of, is_granted, mask


class Inner(BaseModel):
    nom: Annotated[str, Scope("x_nom")]
    age: Annotated[int, Scope("x_age")]


class Outer(BaseModel):
    personne: Inner
    ville: Annotated[str, Scope("x_ville")]
    dossier: Annotated[Inner, Scope("x_dossier")]
    noms: Annotated[list[str], Scope("x_nom")]


def test_a_field_has_its_own_scope_or_that_of_its_object() -> None:
    assert list(fields_of(Outer)) == [
        ("personne.nom", "x_nom"),
        ("personne.age", "x_age"),
        ("ville", "x_ville"),
        ("dossier", "x_dossier"),
        ("noms", "x_nom"),
    ]


def test_a_field_without_a_scope_is_an_error() -> None:
    class Forgotten(BaseModel):
        nom: Annotated[str, Scope("x_nom")]
        age: int

    class Deeper(BaseModel):
        inner: Forgotten

    for model in (Forgotten, Deeper):
        with pytest.raises(TypeError, match="age has no scope"):
            allowed_fields(model, frozenset({"x_nom"}))


def test_a_scope_opens_its_own_fields() -> None:
    assert allowed_fields(Outer, frozenset({"x_nom"})) == {"personne.nom", "noms"}
    assert allowed_fields(Outer, frozenset({"x_dossier", "other"})) == {"dossier"}
    assert allowed_fields(Outer, frozenset()) == frozenset()


@given(
    given_scope=st.text(),
    scope=st.sampled_from(
        [
            "dgfip_declarant1_nom",
            "dgfip_annee_impot",
            "dgfip_adresse_fiscale_annee",
            "cnaf_adresse",
            "dgfip_montant_impot",
        ]
    ),
)
def test_a_scope_other_than_a_bundle_grants_only_itself(given_scope: str, scope: str) -> None:
    assert is_granted(scope, [given_scope]) == (given_scope == scope or given_scope in BUNDLES)


@pytest.mark.parametrize(
    "nearly", ["DGFIP_AVIS_IMPOSITION", "dgfip_avis_imposition ", "dgfip_avis", "dgfip_", "dgfip", "_", "*", "cnaf"]
)
def test_a_name_close_to_a_bundle_grants_nothing(nearly: str) -> None:
    assert not is_granted("dgfip_declarant1_nom", [nearly])


@pytest.mark.parametrize(
    ("bundle", "scope", "opened"),
    [
        ("dgfip_avis_imposition", "dgfip_revenu_fiscal_reference", True),
        ("dgfip_avis_imposition", "cnaf_adresse", False),
        ("dgfip_adresse", "dgfip_declarant2_date_naissance", True),
        ("dgfip_adresse", "dgfip_adresse_fiscale_taxation", True),
        ("dgfip_adresse", "dgfip_erreur_correctif", True),
        ("dgfip_adresse", "dgfip_revenu_fiscal_reference", False),
        ("dgfip_adresse", "dgfip_nombre_parts", False),
        ("dgfip_adresse", "dgfip_situation_familiale", False),
        ("cnaf_attestation_droits", "cnaf_quotient_familial", True),
        ("cnaf_attestation_droits", "dgfip_nombre_parts", False),
    ],
)
def test_a_bundle_of_2020_opens_the_same_scopes(bundle: str, scope: str, opened: bool) -> None:  # noqa: FBT001 - expected
    assert is_granted(scope, [bundle]) is opened


def test_a_body_follows_the_order_of_the_model() -> None:
    document = {"noms": ["a"], "dossier": {"age": 3}, "personne": {"age": 1, "nom": "b"}, "ville": "c", "autre": 1}
    selection = mask(document, Outer, allowed_fields(Outer, frozenset({"x_nom", "x_age", "x_ville"})), keep_empty=True)
    assert list(selection.body) == ["personne", "ville", "noms"]
    assert selection.body == {"personne": {"nom": "b", "age": 1}, "ville": "c", "noms": ["a"]}
    assert (selection.released, selection.withheld) == (["personne.nom", "personne.age", "ville", "noms"], ["dossier"])


@pytest.mark.parametrize(("keep_empty", "body"), [(True, {"personne": {"nom": None}, "ville": None}), (False, {})])
def test_an_empty_field_is_null_in_v2_and_absent_in_v1(
    keep_empty: bool,  # noqa: FBT001 - a case
    body: dict[str, object],
) -> None:
    document = {"personne": {"nom": EMPTY, "age": EMPTY}, "ville": EMPTY}
    opened = allowed_fields(Outer, frozenset({"x_nom", "x_ville"}))
    selection = mask(document, Outer, opened, keep_empty=keep_empty)
    assert selection.body == body
    assert selection.withheld == ["personne.age"]


def test_an_object_missing_at_the_provider_is_absent() -> None:
    shown: list[object] = [{}, None, "?", EMPTY]
    for personne in shown:
        selection = mask({"personne": personne}, Outer, allowed_fields(Outer, frozenset({"x_nom"})), keep_empty=True)
        assert (selection.body, selection.released, selection.withheld) == ({}, [], [])
