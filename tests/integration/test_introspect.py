"""``GET /api/introspect``: the scopes of the caller's own key (contract §1)."""

from lxml import etree

from tests.support.function import Cloud, ask
from tests.support.tax_service import Provider


def test_introspection_returns_the_id_the_name_and_the_scopes(cloud: Cloud) -> None:
    scopes = ("dgfip_nombre_parts", "cnaf_adresse", "dgfip_adresse", "foo")
    key = cloud.token(*scopes, id="jeton-1", organisation="VILLE D'EXEMPLE & Cie", habilitation="9")
    answer = ask("introspect/introspect", key=key)
    assert answer.status == 200
    assert answer.body == {"_id": "jeton-1", "name": "VILLE D'EXEMPLE & Cie", "scopes": sorted(scopes)}
    assert list(answer.body) == ["_id", "name", "scopes"]


def test_a_token_without_scopes_can_be_introspected(cloud: Cloud) -> None:
    assert ask("introspect/introspect", key=cloud.token()).body["scopes"] == []


def test_introspection_calls_no_provider(cloud: Cloud, dgfip: Provider) -> None:
    assert ask("introspect/introspect", key=cloud.token("dgfip_avis_imposition")).status == 200
    assert dgfip.asked == []


def test_introspection_is_available_in_xml(cloud: Cloud) -> None:
    key = cloud.token("b", "a", id="jeton-1", organisation="<VILLE>")
    root = etree.fromstring(ask("introspect/introspect", key=key, headers={"Accept": "application/xml"}).text.encode())
    assert [(child.tag, child.text) for child in root] == [
        ("_id", "jeton-1"),
        ("name", "<VILLE>"),
        ("scopes", "a"),
        ("scopes", "b"),
    ]
