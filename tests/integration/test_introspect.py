"""``GET /api/introspect``: the scopes of the caller's own key (contract §1)."""

from lxml import etree

from tests.support.cloud import Cloud
from tests.support.function import call_api
from tests.support.tax_service import TaxService


def test_introspection_returns_the_id_the_name_and_the_scopes(cloud: Cloud) -> None:
    scopes = ("dgfip_nombre_parts", "cnaf_adresse", "dgfip_montant_impot", "foo")
    key = cloud.issue_key(*scopes, id="jeton-1", organisation="VILLE D'EXEMPLE & Cie", habilitation="9")
    answer = call_api("introspect/introspect", key=key)
    assert answer.status == 200
    assert answer.body == {"_id": "jeton-1", "name": "VILLE D'EXEMPLE & Cie", "scopes": sorted(scopes)}
    assert list(answer.body) == ["_id", "name", "scopes"]


def test_a_bundle_is_shown_with_the_scopes_that_it_stands_for(cloud: Cloud) -> None:
    key = cloud.issue_key("foo", "cnaf_attestation_droits", "dgfip_adresse")
    people = (
        f"dgfip_declarant{rank}_{field}"
        for rank in (1, 2)
        for field in ("nom", "nom_naissance", "prenoms", "date_naissance")
    )
    assert call_api("introspect/introspect", key=key).body["scopes"] == sorted(
        [
            *("foo", "cnaf_attestation_droits", "dgfip_adresse", *people),
            *("cnaf_allocataires", "cnaf_enfants", "cnaf_adresse", "cnaf_quotient_familial"),
            *("dgfip_adresse_fiscale_annee", "dgfip_adresse_fiscale_taxation", "dgfip_annee_impot"),
            *("dgfip_annee_revenus", "dgfip_erreur_correctif", "dgfip_situation_partielle"),
        ]
    )


def test_a_token_without_scopes_can_be_introspected(cloud: Cloud) -> None:
    assert call_api("introspect/introspect", key=cloud.issue_key()).body["scopes"] == []


def test_introspection_calls_no_provider(cloud: Cloud, dgfip: TaxService) -> None:
    assert call_api("introspect/introspect", key=cloud.issue_key("dgfip_avis_imposition")).status == 200
    assert dgfip.requests == []


def test_introspection_is_available_in_xml(cloud: Cloud) -> None:
    key = cloud.issue_key("b", "a", id="jeton-1", organisation="<VILLE>")
    root = etree.fromstring(
        call_api("introspect/introspect", key=key, headers={"Accept": "application/xml"}).text.encode()
    )
    assert [(child.tag, child.text) for child in root] == [
        ("_id", "jeton-1"),
        ("name", "<VILLE>"),
        ("scopes", "a"),
        ("scopes", "b"),
    ]
