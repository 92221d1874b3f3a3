"""The tax address: the one that the notice prints, and its match by the geocoder (contract §3.3)."""

import json
from collections.abc import Iterator
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.etree import ElementTree as ET

import pytest

from sandbox.simulators import ban
from tests.support import wire
from tests.support.cloud import Cloud
from tests.support.function import call_api, new_environment
from tests.support.tax_service import NOTICE, TaxService, notice_page
from tests.support.template import ROOT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PRINTED = "BAT C 3 allée des Frênes 01234 BOURG-EXEMPLE"
PROPERTIES: dict[str, object] = {
    "label": "3 Allée des Frênes 01234 Bourg-Exemple",
    "score": 0.9218,
    "housenumber": "3",
    "id": "01999_0042_00003",
    "name": "3 Allée des Frênes",
    "postcode": "01234",
    "citycode": "01999",
    "x": 871234.56,
    "y": 6571234,
    "city": "Bourg-Exemple",
    "context": "01, Ain, Auvergne-Rhône-Alpes",
    "type": "housenumber",
    "importance": 0.62,
    "street": "Allée des Frênes",
}
NULLS = {"adresseStructuree": None, "coordonnees": None, "score": None}
WHOLE = {"annee": 2026, "dateReference": "01/01/2026", "adresse": PRINTED, **NULLS}
REFERENCE = ROOT / Path(environ.get("REFERENCE_DATA", "../shared/data")) / "ban" / "search-response.json"


def collection(properties: object = PROPERTIES, coordinates: object = (5.2258, 46.2052)) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": coordinates}
    return {
        "type": "FeatureCollection",
        "version": "draft",
        "features": [{"type": "Feature", "geometry": geometry, "properties": properties}],
    }


def without(*names: str, **changes: object) -> dict[str, object]:
    return {name: value for name, value in PROPERTIES.items() if name not in names} | changes


class Geocoder:
    """A geocoder that gives the content set by a test, and records its requests."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.content = json.dumps(collection()).encode()
        self.asked: list[tuple[str, dict[str, list[str]]]] = []

    def returns(self, answer: object) -> None:
        self.content = json.dumps(answer).encode()

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> list[bytes]:
        """Answer, as a WSGI application."""
        self.asked.append((environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])))
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(self.content)))]
        start(f"{self.status} Status", headers)
        return [self.content]


@pytest.fixture
def geocoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Geocoder]:
    made = Geocoder()
    with wire.serve(made) as made.url:
        monkeypatch.setenv("BAN_URL", made.url)
        yield made


@pytest.fixture
def key(cloud: Cloud, dgfip: TaxService) -> str:
    """A key with every tax scope, and a tax service that knows every number."""
    assert dgfip.url
    return cloud.issue_key("dgfip_avis_imposition")


def prints(dgfip: TaxService, address: str) -> None:
    dgfip.page = notice_page(NOTICE | {"foyerFiscal": {"annee": 2026, "adresse": address}})


def test_v2_returns_the_printed_address_its_parts_and_its_coordinates(key: str, geocoder: Geocoder) -> None:
    answer = call_api("adresse_fiscale/v2", key=key)
    assert (answer.status, answer.body) == (
        200,
        {
            "annee": 2026,
            "dateReference": "01/01/2026",
            "adresse": PRINTED,
            "adresseStructuree": {
                "numero": "3",
                "voie": "Allée des Frênes",
                "codePostal": "01234",
                "codeInsee": "01999",
                "commune": "Bourg-Exemple",
                "contexte": "01, Ain, Auvergne-Rhône-Alpes",
            },
            "coordonnees": {"latitude": 46.2052, "longitude": 5.2258},
            "score": 0.9218,
        },
    )
    assert list(answer.body) == list(WHOLE)
    assert geocoder.asked == [("/search/", {"q": [PRINTED], "limit": ["1"]})]


def test_v1_returns_the_geocoder_properties_without_their_identifier_and_the_household(
    key: str, geocoder: Geocoder
) -> None:
    assert geocoder.url
    answer = call_api("adresse_fiscale/v1", key=key)
    assert (answer.status, answer.body) == (
        200,
        {
            "adresses": [
                {"adresse": without("id"), "geometry": {"type": "Point", "coordinates": [5.2258, 46.2052]}},
            ],
            "declarant1": NOTICE["declarant1"],
            "declarant2": NOTICE["declarant2"],
            "foyerFiscal": NOTICE["foyerFiscal"],
        },
    )
    assert list(answer.body) == ["adresses", "declarant1", "declarant2", "foyerFiscal"]


def test_the_year_scope_returns_two_fields_and_does_not_call_the_geocoder(
    cloud: Cloud, dgfip: TaxService, geocoder: Geocoder
) -> None:
    assert dgfip.url
    year = cloud.issue_key("dgfip_adresse_fiscale_annee")
    assert call_api("adresse_fiscale/v2", key=year).body == {"annee": 2026, "dateReference": "01/01/2026"}
    assert call_api("adresse_fiscale/v1", key=year).body == {"foyerFiscal": {"annee": 2026}}
    assert geocoder.asked == []
    assert [entry.get("notes", []) for entry in cloud.audit_records()] == [[], []]
    assert cloud.audit_records()[0]["released"] == ["annee", "dateReference"]
    assert cloud.audit_records()[0]["withheld"] == ["adresse", "adresseStructuree", "coordonnees", "score"]


def test_the_address_scope_returns_the_fields_derived_from_the_address(
    cloud: Cloud, dgfip: TaxService, geocoder: Geocoder
) -> None:
    assert dgfip.url
    address = cloud.issue_key("dgfip_adresse_fiscale_taxation")
    assert list(call_api("adresse_fiscale/v2", key=address).body) == [
        "adresse",
        "adresseStructuree",
        "coordonnees",
        "score",
    ]
    v1 = call_api("adresse_fiscale/v1", key=address).body
    assert (list(v1), v1["foyerFiscal"]) == (["adresses", "foyerFiscal"], {"adresse": PRINTED})
    assert len(geocoder.asked) == 2


def test_a_token_without_an_address_scope_calls_no_provider(
    cloud: Cloud, dgfip: TaxService, geocoder: Geocoder
) -> None:
    refused = call_api("adresse_fiscale/v2", key=cloud.issue_key("dgfip_revenu_fiscal_reference", "cnaf_adresse"))
    assert (refused.status, refused.body["error"]) == (403, "forbidden")
    assert dgfip.requests == []
    assert geocoder.asked == []


def test_a_sure_match_leaves_no_warning_in_the_audit_record(cloud: Cloud, key: str, geocoder: Geocoder) -> None:
    assert geocoder.url
    call_api("adresse_fiscale/v2", key=key)
    assert cloud.audit_records()[0].get("notes", []) == []


@pytest.mark.parametrize(
    ("changed", "numero", "voie"),
    [
        (without(), "3", "Allée des Frênes"),
        (without("street"), "3", "Allée des Frênes"),
        (without("street", "housenumber", type="street", name="Allée des Frênes"), None, "Allée des Frênes"),
        (without("street", "housenumber", type="locality", name="Les Trois Fontaines"), None, "Les Trois Fontaines"),
        (without("street", "housenumber", type="municipality", name="Bourg-Exemple"), None, None),
        (without("street", "name"), "3", None),
    ],
)
def test_the_number_and_the_street_are_null_where_the_match_does_not_reach_them(
    key: str, geocoder: Geocoder, changed: object, numero: str | None, voie: str | None
) -> None:
    geocoder.returns(collection(changed))
    parts = call_api("adresse_fiscale/v2", key=key).body["adresseStructuree"]
    assert (parts["numero"], parts["voie"], parts["commune"]) == (numero, voie, "Bourg-Exemple")


def test_properties_that_the_geocoder_leaves_out_are_null(key: str, geocoder: Geocoder) -> None:
    geocoder.returns(collection({"score": 0.7}))
    answer = call_api("adresse_fiscale/v2", key=key).body
    assert set(answer["adresseStructuree"].values()) == {None}
    assert answer["score"] == 0.7


@pytest.mark.parametrize(("score", "located"), [(0, False), (0.4999, False), (0.5, True), (1, True)])
def test_a_match_with_a_score_under_a_half_is_discarded(
    cloud: Cloud, key: str, geocoder: Geocoder, *, score: float, located: bool
) -> None:
    geocoder.returns(collection(without(score=score)))
    answer = call_api("adresse_fiscale/v2", key=key)
    assert answer.status == 200
    assert (answer.body["score"] == score) is located
    assert (answer.body == WHOLE) is not located
    assert cloud.audit_records()[0].get("notes", []) == ([] if located else ["ban: score under 0.5"])


def test_an_empty_geocoder_result_is_explained_in_the_audit_record(cloud: Cloud, key: str, geocoder: Geocoder) -> None:
    geocoder.returns(collection() | {"features": []})
    assert call_api("adresse_fiscale/v2", key=key).body == WHOLE
    assert cloud.audit_records()[0]["notes"] == ["ban: no result"]


def test_an_empty_address_is_not_geocoded(cloud: Cloud, dgfip: TaxService, key: str, geocoder: Geocoder) -> None:
    prints(dgfip, "")
    assert call_api("adresse_fiscale/v2", key=key).body == WHOLE | {"adresse": ""}
    assert geocoder.asked == []
    assert cloud.audit_records()[0]["notes"] == ["ban: no address"]


def test_a_notice_without_an_address_row_returns_nulls(
    cloud: Cloud, dgfip: TaxService, key: str, geocoder: Geocoder
) -> None:
    dgfip.page = notice_page({name: value for name, value in NOTICE.items() if name != "foyerFiscal"})
    assert call_api("adresse_fiscale/v2", key=key).body == NULLS
    assert call_api("adresse_fiscale/v1", key=key).body == {
        "adresses": [],
        "declarant1": NOTICE["declarant1"],
        "declarant2": NOTICE["declarant2"],
    }
    assert geocoder.asked == []
    assert cloud.audit_records()[0]["notes"] == ["ban: no address"]


@pytest.mark.parametrize(
    "address",
    [
        "1 rue A&B?limit=50#c 75001 X",
        "12 + 12 rue “É” 75001 ÇA",
        "2e%2e/../search",
        "q=1&q=2",
        "rue>;\x7f",
        "漢字 🏠",
    ],
)
def test_special_characters_of_an_address_reach_the_geocoder_unchanged(
    dgfip: TaxService, key: str, geocoder: Geocoder, address: str
) -> None:
    prints(dgfip, address)
    printed = call_api("adresse_fiscale/v2", key=key).body["adresse"]
    assert geocoder.asked == [("/search/", {"q": [printed], "limit": ["1"]})]


@pytest.mark.parametrize(
    ("printed", "asked"),
    [
        ("(CHEZ MME X) 12 RUE DU BAC 75007 PARIS", "CHEZ MME X) 12 RUE DU BAC 75007 PARIS"),
        ("- APT 12 3 RUE DU BAC", "APT 12 3 RUE DU BAC"),
        ("«LES PINS» 1 AV DU LAC", "LES PINS» 1 AV DU LAC"),
        ("__ 'É", ""),
        ("É 1", "É 1"),
        ("A" * 53 + " (" + "B" * 198, "B" * 198),
        ("1 " + "C" * 253, "C" * 200),
    ],
)
def test_the_geocoder_is_asked_what_it_takes_and_nothing_else(
    dgfip: TaxService, geocoder: Geocoder, cloud: Cloud, printed: str, asked: str
) -> None:
    prints(dgfip, printed)
    key = cloud.issue_key("dgfip_avis_imposition")
    assert call_api("adresse_fiscale/v2", key=key).body["adresse"] == printed
    assert [query["q"] for _, query in geocoder.asked] == ([[asked]] if asked else [])
    assert cloud.audit_records()[0].get("notes", []) == ([] if asked else ["ban: no address"])


def test_v1_has_every_candidate_without_a_threshold_and_those_that_can_be_read(
    cloud: Cloud, key: str, geocoder: Geocoder
) -> None:
    found = [without(score=score) for score in (0.9, 0.3, 0, 0.2, 0.1, 0.1)]
    features = [collection(properties)["features"][0] for properties in found]
    geocoder.returns(collection() | {"features": [features[0], {"geometry": None}, *features[1:]]})
    candidates = call_api("adresse_fiscale/v1", key=key).body["adresses"]
    assert [candidate["adresse"]["score"] for candidate in candidates] == [0.9, 0.3, 0, 0.2, 0.1]
    assert [query["limit"] for _, query in geocoder.asked] == [["5"]]
    assert cloud.audit_records()[0].get("notes", []) == []


DRIPPING = wire.dripping(wire.response(b"", headers={"Content-Length": "10000"}), b"{")
TOO_SLOW = {wire.silent, DRIPPING}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("server", "why"),
    [
        (wire.refusing, "network_error"),
        (wire.resetting, "network_error"),
        (wire.silent, "network_error"),
        (wire.plain_behind_https, "network_error"),
        (DRIPPING, "network_error"),
        (wire.flooding, "invalid_response"),
        *((wire.answering(wire.response(b"{}", status=status)), "invalid_response") for status in (204, 301, 400, 404)),
        *((wire.answering(wire.response(b"{}", status=status)), "network_error") for status in (500, 502, 503, 504)),
        *((wire.answering(wire.response(b"{}", status=status)), "rate_limited") for status in (403, 429)),
        (wire.closing_after(wire.response(b'{"type":', headers={"Content-Length": "500"})), "invalid_response"),
    ],
)
def test_a_failing_geocoder_does_not_fail_the_call(
    cloud: Cloud, key: str, monkeypatch: pytest.MonkeyPatch, server: wire.Server, why: str
) -> None:
    if server in TOO_SLOW:
        monkeypatch.setenv("BAN_DEADLINE", "0.5")
    with server() as url:
        monkeypatch.setenv("BAN_URL", url)
        v2, v1 = call_api("adresse_fiscale/v2", key=key), call_api("adresse_fiscale/v1", key=key)
    assert (v2.status, v2.body) == (200, WHOLE)
    assert (v1.status, v1.body["adresses"], v1.body["foyerFiscal"]) == (200, [], NOTICE["foyerFiscal"])
    assert [entry.get("notes", []) for entry in cloud.audit_records()] == [[f"ban: {why}"]] * 2
    assert [entry["status"] for entry in cloud.audit_records()] == [200, 200]


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "HTML": b"<!doctype html><title>Bienvenue</title>",
    "another encoding": json.dumps(collection(), ensure_ascii=False).encode("latin-1"),
    "a truncated document": json.dumps(collection()).encode()[:-9],
    "a bottomless document": b'{"features":' + b"[" * 100_000,
    "a list": b"[]",
    "null": b"null",
    "no features": b'{"type":"FeatureCollection"}',
    "another type": json.dumps(collection() | {"type": "Topology"}).encode(),
    "features of a wrong type": json.dumps(collection() | {"features": {"0": {}}}).encode(),
    "a feature of a wrong type": json.dumps(collection() | {"features": ["x"]}).encode(),
    "properties of a wrong type": json.dumps(collection([])).encode(),
    "no score": json.dumps(collection(without("score"))).encode(),
    "a score that is text": json.dumps(collection(without(score="0.9"))).encode(),
    "a score that is true": json.dumps(collection(without(score=True))).encode(),
    "a score over 1": json.dumps(collection(without(score=1.5))).encode(),
    "a negative score": json.dumps(collection(without(score=-0.5))).encode(),
    "a score that is no number": json.dumps(collection(without(score=float("nan")))).encode(),
    "an endless score": json.dumps(collection()).encode().replace(b"0.9218", b"9e999"),
    "a number in figures": json.dumps(collection(without(housenumber=3))).encode(),
    "a city that is a list": json.dumps(collection(without(city=["A", "B"]))).encode(),
    "a city without end": json.dumps(collection(without(city="A" * 100_000))).encode(),
    "half a character": json.dumps(collection(without(city="\ud800"))).encode(),
    "a line": json.dumps(collection()).replace("Point", "LineString").encode(),
    "one coordinate": json.dumps(collection(coordinates=[5.2])).encode(),
    "coordinates that are text": json.dumps(collection(coordinates=["5.2", "46.2"])).encode(),
    "a latitude off the map": json.dumps(collection(coordinates=[46.2, 95.2])).encode(),
    "a longitude off the map": json.dumps(collection(coordinates=[181, 46.2])).encode(),
    "coordinates that are no numbers": json.dumps(collection(coordinates=[float("nan"), 46.2])).encode(),
    "an endless coordinate": json.dumps(collection(coordinates=[float("-inf"), 46.2])).encode(),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_geocoder_response_does_not_fail_the_call(
    cloud: Cloud, key: str, geocoder: Geocoder, what: str
) -> None:
    geocoder.content = MALFORMED[what]
    answer = call_api("adresse_fiscale/v2", key=key)
    assert (answer.status, answer.body) == (200, WHOLE)
    assert call_api("adresse_fiscale/v1", key=key).body["adresses"] == []
    assert [entry.get("notes", []) for entry in cloud.audit_records()] == [["ban: invalid_response"]] * 2


def test_geocoder_properties_that_would_break_xml_are_left_out(key: str, geocoder: Geocoder) -> None:
    hostile = {
        "a b": "c",
        "<script>": "x",
        "": "x",
        "1er": "x",
        "xmlns:a": "x",
        "nested": {"deep": [1]},
        "list": [1, 2],
        "big": 10**400,
        "long": "x" * 10_000,
    }
    kept = {"_type": "address", "population": 4000, "vrai": True, "rien": None, "texte": "<&>]]>\x00"}
    geocoder.returns(collection({**hostile, **PROPERTIES, **kept}))
    properties = call_api("adresse_fiscale/v1", key=key).body["adresses"][0]["adresse"]
    assert properties == without("id") | kept
    xml = call_api("adresse_fiscale/v1", key=key, headers={"Accept": "application/xml"})
    parsed = ET.fromstring(xml.text.encode())  # noqa: S314 - written by ourselves just now
    assert {element.tag for element in parsed.iterfind("adresses/adresse/*")} == properties.keys()
    assert parsed.findtext("adresses/adresse/texte") == "<&>]]>\ufffd"
    assert [parsed.findtext(f"adresses/adresse/{name}") for name in ("vrai", "population", "rien")] == [
        "true",
        "4000",
        "",
    ]
    assert [element.text for element in parsed.iterfind("adresses/geometry/coordinates")] == ["5.2258", "46.2052"]


def test_an_address_is_never_logged(
    key: str, geocoder: Geocoder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for status in (200, 400, 500):
        geocoder.status = status
        call_api("adresse_fiscale/v2", key=key)
    new_environment()
    with wire.refusing() as url:
        monkeypatch.setenv("BAN_URL", url)
        call_api("adresse_fiscale/v2", key=key)
    written = "".join(capfd.readouterr())
    assert '"provider":"ban"' in written
    for secret in ("Frênes", "Fr%C3%AAnes", "BOURG-EXEMPLE", "01234", "46.2052", "/search"):
        assert secret not in written


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sandbox's geocoder, with a shorter deadline than the other providers."""
    monkeypatch.setenv("BAN_DEADLINE", "2")
    geocoder = ban.app()
    geocoder.config["SLOW_SECONDS"] = 3
    with wire.serve(geocoder) as url:
        monkeypatch.setenv("BAN_URL", f"{url}/")
        yield


@pytest.mark.usefixtures("simulated")
def test_the_simulated_geocoder_derives_every_part_from_the_printed_address(dgfip: TaxService, key: str) -> None:
    prints(dgfip, "Appartement 4 Résidence du Lac 7 bis allée de l'Étang 74000 ANNECY")
    body = call_api("adresse_fiscale/v2", key=key).body
    assert body["adresseStructuree"] | {"codeInsee": None} == {
        "numero": "7 bis",
        "voie": "allée de l'Étang",
        "codePostal": "74000",
        "codeInsee": None,
        "commune": "ANNECY",
        "contexte": "74, Département d'exemple, Région d'exemple",
    }
    assert body["score"] == ban.SURE
    assert call_api("adresse_fiscale/v2", key=key).body == body
    prints(dgfip, "place du Marché 59000 LILLE")
    parts = call_api("adresse_fiscale/v2", key=key).body["adresseStructuree"]
    assert (parts["numero"], parts["voie"]) == (None, "place du Marché")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("2 rue Sans Code LILLE", "score under 0.5"),
        ("2 rue Introuvable 59000 LILLE", "no result"),
        ("2 rue de la Panne 59000 LILLE", "network_error"),
        ("2 rue du Charabia 59000 LILLE", "invalid_response"),
        ("2 rue de la Lenteur 59000 LILLE", "network_error"),
        ("x", "no address"),
    ],
)
@pytest.mark.usefixtures("simulated")
def test_special_street_names_make_the_simulated_geocoder_fail(
    cloud: Cloud, dgfip: TaxService, key: str, address: str, why: str
) -> None:
    prints(dgfip, address)
    answer = call_api("adresse_fiscale/v2", key=key)
    assert (answer.status, answer.body) == (200, WHOLE | {"adresse": address})
    assert cloud.audit_records()[0]["notes"] == [f"ban: {why}"]


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"no {REFERENCE}: set REFERENCE_DATA")
def test_a_recorded_geocoder_response_is_read(cloud: Cloud, key: str, geocoder: Geocoder) -> None:
    real = json.loads(REFERENCE.read_text())
    geocoder.returns(real)
    assert call_api("adresse_fiscale/v2", key=key).body == WHOLE
    assert cloud.audit_records()[0]["notes"] == ["ban: score under 0.5"]
    assert len(call_api("adresse_fiscale/v1", key=key).body["adresses"]) == len(real["features"][:5])
    real["features"] = real["features"][:1]
    properties = real["features"][0]["properties"]
    properties["score"] = 0.8
    geocoder.returns(real)
    body = call_api("adresse_fiscale/v2", key=key).body
    assert list(body["adresseStructuree"].values()) == [
        properties["housenumber"],
        properties["name"].removeprefix(properties["housenumber"]).strip(),
        properties["postcode"],
        properties["citycode"],
        properties["city"],
        properties["context"],
    ]
    longitude, latitude = real["features"][0]["geometry"]["coordinates"]
    assert body["coordonnees"] == {"latitude": latitude, "longitude": longitude}
    v1 = call_api("adresse_fiscale/v1", key=key).body["adresses"]
    del properties["id"]
    assert v1 == [{"adresse": properties, "geometry": real["features"][0]["geometry"]}]
