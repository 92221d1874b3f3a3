"""The CAF's three datasets, through the front door, with the CAF played on the wire over mutual TLS."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from api_particulier.scopes import is_granted
from sandbox.simulators.caf import Adresse, Famille, Personne, Quotient
from tests.support.caf import (
    FAMILY,
    FIELDS,
    FILE,
    NUMBERS,
    PEOPLE,
    ROUTES,
    SCOPES,
    UNREACHABLE,
    Caf,
    call_caf,
    drt_document,
    envelope,
    expected_data,
    multipart,
)
from tests.support.cloud import Cloud
from tests.support.function import call_api, new_environment


def quotient(amount: int, mois: int, annee: int) -> Quotient:
    return Quotient(quotient_familial=amount, mois=mois, annee=annee)


# ── The response ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("door", ROUTES)
def test_a_dataset_returns_its_fields_in_the_order_of_the_contract(caf: Caf, key: str, door: str) -> None:
    answer = call_caf(key, door)
    body = {name: FILE[name] for name in FIELDS[door.partition("/")[0]]}
    assert (answer.status, answer.text) == (200, json.dumps(body, ensure_ascii=False, separators=(",", ":")))
    assert len(caf.requests) == 1


def test_v1_responds_in_xml_on_request(caf: Caf, key: str) -> None:
    caf.families = [FAMILY.model_copy(update={"quotients": []})]
    answer = call_api("composition_familiale/v1", key=key, format="xml", **NUMBERS)
    root = etree.fromstring(answer.text.encode())
    assert root.findtext("allocataires[2]/nomPrenom") == "YANN <LE> GOFF & FILS ]]>"
    assert root.findtext("adresse/codePostalVille") == "75011 PARIS"
    assert root.findtext("quotientFamilial") == ""


def test_no_child_is_an_empty_list_and_one_person_is_a_list(caf: Caf, key: str) -> None:
    caf.families = [FAMILY.model_copy(update={"enfants": [], "allocataires": FAMILY.allocataires[:1]})]
    body = call_caf(key).body
    assert body["enfants"] == []
    assert body["allocataires"] == FILE["allocataires"][:1]


@pytest.mark.parametrize(
    "quotients",
    [
        "",
        "<quotients/>",
        "<quotients><QFMOIS><DUMOIS>5</DUMOIS><DELANNEE>2026</DELANNEE></QFMOIS></quotients>",
        "<quotients><QFMOIS><DUMOIS/><DELANNEE/><QUOTIENTF> </QUOTIENTF></QFMOIS></quotients>",
    ],
)
def test_no_quotient_is_three_nulls(caf: Caf, key: str, quotients: str) -> None:
    caf.respond_with(multipart(envelope(drt_document(PEOPLE + quotients))))
    for generation in ("v1", "v2"):
        body = call_caf(key, f"quotient_familial/{generation}").body
        assert body == {"quotientFamilial": None, "mois": None, "annee": None}


def test_a_quotient_of_0_is_0(caf: Caf, key: str) -> None:
    caf.families = [FAMILY.model_copy(update={"quotients": [quotient(0, 1, 2026)]})]
    assert call_caf(key, "quotient_familial/v2").text == '{"quotientFamilial":0,"mois":1,"annee":2026}'


def test_the_most_recent_quotient_is_returned(caf: Caf, key: str) -> None:
    months = [(410, 11, 2025), (455, 2, 2026), (433, 12, 2025)]
    caf.families = [FAMILY.model_copy(update={"quotients": [quotient(*month) for month in months]})]
    assert call_caf(key, "quotient_familial/v2").body == {"quotientFamilial": 455, "mois": 2, "annee": 2026}


def test_empty_address_lines_are_absent(caf: Caf, key: str) -> None:
    caf.families = [FAMILY.model_copy(update={"adresse": Adresse(lieu_dit="KERVEGUEN", pays="  ")})]
    assert call_caf(key, "adresse_caf/v2").body == {"adresse": {"lieuDit": "KERVEGUEN"}}


@pytest.mark.parametrize("lines", ["", "<adresse/>", "<adresse><LIBLIG1ADR/><LIBLIG4ADR> </LIBLIG4ADR></adresse>"])
def test_an_address_without_a_line_is_an_empty_object(caf: Caf, key: str, lines: str) -> None:
    # An absent address would mean that the token has no scope for it.
    caf.respond_with(multipart(envelope(drt_document(PEOPLE + lines))))
    for generation in ("v1", "v2"):
        assert call_caf(key, f"adresse_caf/{generation}").body == {"adresse": {}}


def test_a_missing_element_of_a_person_is_absent_and_an_empty_one_is_empty(caf: Caf, key: str) -> None:
    child = Personne(nom_prenom=None, date_de_naissance="")
    caf.families = [FAMILY.model_copy(update={"enfants": [child]})]
    assert call_caf(key).body["enfants"] == [{"dateDeNaissance": ""}]


def test_an_empty_element_is_no_child(caf: Caf, key: str) -> None:
    child = Personne(nom_prenom=None)
    caf.families = [FAMILY.model_copy(update={"enfants": [child]})]
    assert call_caf(key).body["enfants"] == []


def test_the_same_number_under_another_postcode_is_another_family(caf: Caf, key: str, cloud: Cloud) -> None:
    other = FAMILY.model_copy(update={"code_postal": "29200", "quotients": [Quotient(quotient_familial=1)]})
    caf.families = [FAMILY, other]
    assert call_caf(key, codePostal="29200").body["quotientFamilial"] == 1
    assert call_caf(key, codePostal="75011").body["quotientFamilial"] == 842
    assert call_caf(key, codePostal="67000").status == 404
    assert len({entry["citizen"] for entry in cloud.audit_records()}) == 3


@pytest.mark.parametrize("number", ["1", "0000001", "0000001C", " 0 0 0 0 0 0 1 c"])
def test_a_number_is_padded_and_its_letter_cut(caf: Caf, key: str, number: str) -> None:
    caf.families = [FAMILY.model_copy(update={"numero_allocataire": "0000001"})]
    assert call_caf(key, numeroAllocataire=number).status == 200


# ── Masking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scope", sorted({*SCOPES.values(), "cnaf_attestation_droits", "dgfip_avis_imposition"}))
def test_each_cnaf_scope_gives_its_fields_and_no_other(caf: Caf, cloud: Cloud, scope: str) -> None:
    token = cloud.issue_key(scope)
    for door in ROUTES:
        caf.requests.clear()
        fields = FIELDS[door.partition("/")[0]]
        opened = [name for name in fields if is_granted(SCOPES[name], {scope})]
        answer, entry = call_caf(token, door), cloud.audit_records()[-1]
        if opened:
            assert answer.body == {name: FILE[name] for name in opened}
            assert entry["withheld"] == [name for name in fields if name not in opened]
        else:
            assert (answer.status, answer.body["error"]) == (403, "forbidden")
            assert caf.requests == []
        assert entry["released"] == opened


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=12)
HOSTILE = st.sampled_from(
    [
        *("<b>", "&amp;", "&lt;", "]]>", "<![CDATA[", "<!DOCTYPE a>", "&x;", "{{ 7 * 7 }}", "</drtData>", "--"),
        *("--MIMEBoundary", " ", "É\u0301", "\U0001f600", "\t", "\u2028", "%s", "'\"", "0"),
    ]
)
WORDS = st.lists(TEXT | HOSTILE, max_size=3).map("".join)
PERSON = st.builds(
    Personne,
    qualite=st.none() | WORDS,
    nomPrenom=st.none() | WORDS,
    dateDeNaissance=st.none() | st.dates().map("{:%d%m%Y}".format),
    sexe=st.none() | st.sampled_from(["F", "M", ""]),
)
FAMILIES_OF_ALL_KINDS = st.builds(
    Famille,
    numeroAllocataire=st.from_regex(r"[0-9]{7}", fullmatch=True),
    codePostal=st.from_regex(r"[0-9]{5}", fullmatch=True),
    allocataires=st.lists(PERSON, max_size=3),
    enfants=st.lists(PERSON, max_size=4),
    adresse=st.fixed_dictionaries({}, optional={f"ligne{n}": WORDS for n in range(7)}).map(
        lambda lines: Adresse(**{name: lines.get(f"ligne{n}", "") for n, name in enumerate(Adresse.model_fields)})
    ),
    quotients=st.lists(st.builds(quotient, st.integers(-999, 99_999), st.integers(1, 12), st.integers(1990, 2090))),
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(family=FAMILIES_OF_ALL_KINDS, granted=st.sets(st.sampled_from(sorted(set(SCOPES.values()))), min_size=1))
def test_any_family_is_read_exactly_and_masked_exactly(
    caf: Caf, cloud: Cloud, key: str, family: Famille, granted: set[str]
) -> None:
    caf.families = [family]
    numbers = {"numeroAllocataire": family.numero_allocataire, "codePostal": family.code_postal}
    whole = expected_data(family)
    assert call_caf(key, **numbers).body == whole
    opened = {name: value for name, value in whole.items() if SCOPES[name] in granted}
    assert call_caf(cloud.issue_key(*granted), "composition_familiale/v1", **numbers).body == opened


# ── The request to the CAF ───────────────────────────────────────────────────────────────────────────────────────────


SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"


def test_the_request_to_the_caf_is_exactly_the_documented_one(caf: Caf, key: str) -> None:
    assert call_caf(key, numeroAllocataire="42", codePostal="01 234").status == 404
    asked = list(etree.fromstring(caf.requests[0]).iter())
    assert [(element.tag, element.text) for element in asked] == [
        (f"{SOAP}Envelope", None),
        (f"{SOAP}Body", None),
        ("{http://v1.ws.wsdemandedocumentcafweb.cnaf/}demanderDocumentWeb", None),
        ("arg0", None),
        ("app", "WDD"),
        ("id", "?"),
        ("beanEntreeDemandeDocumentWeb", None),
        ("codeAppli", "WDD"),
        ("matricule", "0000042"),
        ("codePostal", "01234"),
        ("typeDocument", "4"),
        ("typeEnvoi", "5"),
    ]
    assert [len(element) for element in asked] == [1, 1, 1, 3, 0, 0, 5, 0, 0, 0, 0, 0]
    assert not any(element.attrib for element in asked)
    assert caf.requests[0].startswith(b"<?xml version='1.0' encoding='utf-8'?>")
    assert caf.headers[0]["Content-Type"] == "text/xml; charset=utf-8"
    assert caf.headers[0]["Soapaction"] == '""'


@pytest.mark.parametrize(
    "hostile",
    [
        *("<", "2600001<", "&amp;", "]]>", '"/><x>', "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>", "&b;"),
        *("2600001\x00", "\x00", "٢٦٠٠٠٠١", "２６００００１", "2600001\ud800", "0" * 10_240, "é" * 10_240),
        *("12345678", "1C", "-1", "1.0", "0x10"),
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_malformed_numbers_are_refused_without_calling_the_caf(caf: Caf, key: str, hostile: str) -> None:
    should = {
        "numeroAllocataire": "Le paramètre numeroAllocataire doit comporter de 1 à 7 chiffres.",
        "codePostal": "Le paramètre codePostal doit comporter 5 chiffres.",
    }
    for door in ROUTES:
        for name, sentence in should.items():
            answer = call_caf(key, door, **{name: hostile})
            assert answer.status == 400
            assert answer.body == {"error": "bad_request", "reason": sentence, "message": sentence}
    assert caf.requests == []


@pytest.mark.parametrize("missing", [{"codePostal": ""}, {"numeroAllocataire": "  "}])
def test_a_missing_number_is_refused_with_the_sentence_of_2020(caf: Caf, key: str, missing: dict[str, str]) -> None:
    sentence = "Les paramètres `codePostal` et `numeroAllocataire` sont obligatoires"
    answer = call_caf(key, **missing)
    assert answer.status == 400
    assert answer.body == {"error": "bad_request", "reason": sentence, "message": sentence}
    assert caf.requests == []


def test_a_connection_to_the_caf_is_reused(caf: Caf, key: str) -> None:
    for _ in range(3):
        assert call_caf(key).status == 200
    assert len(set(caf.connections)) == 1


@pytest.mark.parametrize("path", ["/", "/sgmap/wswdd/v1", "/sgmap/wswdd/v1/"])
def test_the_configured_url_may_already_have_the_path_of_the_caf(
    caf: Caf, key: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAF_URL", os.environ["CAF_URL"] + path)
    new_environment()
    assert call_caf(key).status == 200
    assert len(caf.requests) == 1


# ── Ping ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", ["133", "201", "0", "999"])
@pytest.mark.usefixtures("cloud")
def test_a_caf_that_responds_is_up_with_any_return_code(caf: Caf, code: str) -> None:
    caf.respond_with(multipart(envelope("", code)))
    assert (call_api("ping/caf").status, call_api("ping/caf").text) == (200, '"pong"')
    asked = etree.fromstring(caf.requests[0])
    assert (asked.findtext(".//matricule"), asked.findtext(".//codePostal")) == ("0000000", "00000")
    assert len(caf.requests) == 1


@pytest.mark.usefixtures("cloud")
def test_the_simulated_caf_is_up(caf: Caf) -> None:
    assert call_api("ping/caf").text == '"pong"'
    assert len(caf.requests) == 1


@pytest.mark.usefixtures("cloud")
def test_a_caf_that_answers_garbage_is_down(caf: Caf) -> None:
    caf.respond_with("<html/>")
    assert (call_api("ping/caf").status, call_api("ping/caf").body) == (503, UNREACHABLE)


@pytest.mark.usefixtures("cloud")
def test_a_caf_without_our_certificate_configured_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CAF_URL", "https://127.0.0.1:9")
    assert [call_api("ping/caf").status for _ in range(2)] == [503, 503]
