"""Read every kind of response of the CAF: return codes, all wrappings of a good response, and garbage."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from flask import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.simulators import caf as simulator
from sandbox.simulators.caf import Famille
from tests.support.caf import (
    FAILED,
    PEOPLE,
    PEOPLE_FILE,
    SCOPES,
    UNREACHABLE,
    UNREADABLE,
    Caf,
    call_caf,
    drt_document,
    envelope,
    multipart,
)
from tests.support.cloud import Cloud
from tests.support.function import call_api, shorten_timeouts
from tests.support.template import ROOT

pytestmark = pytest.mark.slow

REFERENCE = Path(os.environ.get("REFERENCE_DATA", ROOT.parent / "shared" / "data")) / "cnaf-soap"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs REFERENCE_DATA, the recorded examples")

# ── Return codes ─────────────────────────────────────────────────────────────────────────────────────────────────────


# Contract §5, and the table to which it refers.
NOT_FOUND = {101, 102, 111, 121, 122, 132, 133, 141, 151, 161, 171, 191, 194, 1113, 1114}
BAD_REQUEST = {103, 131, 181, 192, 193, 195, 196, 197, 198}
FAILURES = {201, 211, 221, 231, 241, 251, 252, 253, 254, 255, 256, 257}


def special_families() -> list[Famille]:
    return [family for family in simulator.familles(PEOPLE_FILE) if family.reponse != 0]


def test_the_simulator_has_a_family_for_each_return_code_and_one_unknown() -> None:
    codes = {family.reponse for family in special_families() if isinstance(family.reponse, int)}
    assert codes == NOT_FOUND | BAD_REQUEST | FAILURES | {999}


@pytest.mark.parametrize("family", special_families(), ids=lambda family: str(family.reponse))
def test_each_kind_of_refusal_has_its_error(
    caf: Caf, key: str, monkeypatch: pytest.MonkeyPatch, family: Famille
) -> None:
    caf.families = [family]
    if family.reponse == "lent":
        shorten_timeouts(monkeypatch)
    answer = call_caf(key, "quotient_familial/v1", numeroAllocataire=family.numero_allocataire)
    match family.reponse:
        case "lent" | "panne":
            assert (answer.status, answer.body, answer.headers["Retry-After"]) == (503, UNREACHABLE, "10")
        case "illisible":
            assert (answer.status, answer.body) == (502, UNREADABLE)
        case code if code in NOT_FOUND | BAD_REQUEST:
            refusal = (404, "not_found") if code in NOT_FOUND else (400, "bad_request")
            assert (answer.status, answer.body["error"]) == refusal
            assert answer.body["reason"] == answer.body["message"]
        case _:
            assert (answer.status, answer.body) == (503, FAILED)
            assert "Retry-After" not in answer.headers


DATA = (
    "<drtData><identePersonnes><UNEPERSONNE><NOMPRENOM>A B</NOMPRENOM></UNEPERSONNE></identePersonnes>"
    "<identeEnfants><UNENFANT/></identeEnfants><adresse><LIBLIG4ADR>1 RUE</LIBLIG4ADR></adresse><quotients>"
    "<QFMOIS><DUMOIS>9</DUMOIS><DELANNEE>2026</DELANNEE><QUOTIENTF>?</QUOTIENTF></QFMOIS>"
    "<QFMOIS><DUMOIS>10</DUMOIS><DELANNEE>2026</DELANNEE><QUOTIENTF>523</QUOTIENTF></QFMOIS></quotients></drtData>"
)
PARTS: dict[str, tuple[str, str, set[str]]] = {
    "a quotient with cents": ("523", "523.40", {"cnaf_quotient_familial"}),
    "a quotient in words": ("523", "Néant", {"cnaf_quotient_familial"}),
    "a month in words": (">10<", ">octobre<", {"cnaf_quotient_familial"}),
    "no people": ("identePersonnes", "autre", {"cnaf_allocataires"}),
    "a name of elements": ("A B", "<b>A</b>", {"cnaf_allocataires"}),
    "a child of elements": ("<UNENFANT/>", "<UNENFANT><SEXE><b/></SEXE></UNENFANT>", {"cnaf_enfants"}),
    "a line of elements": ("1 RUE", "<b>1</b> RUE", {"cnaf_adresse"}),
    "an older quotient in words": ("A B", "C D", set()),
}


@pytest.mark.parametrize("what", PARTS)
def test_a_part_that_cannot_be_read_fails_the_tokens_that_open_it_and_no_other(
    caf: Caf, cloud: Cloud, what: str
) -> None:
    part, odd, failing = PARTS[what]
    caf.respond_with(multipart(envelope(DATA.replace(part, odd))))
    statuses = {scope: call_caf(cloud.issue_key(scope)).status for scope in dict.fromkeys(SCOPES.values())}
    assert statuses == {scope: 502 if scope in failing else 200 for scope in statuses}


def test_a_quotient_of_another_month_is_noted_by_the_audit(caf: Caf, cloud: Cloud) -> None:
    last = datetime.now(ZoneInfo("Europe/Paris")).replace(day=1) - timedelta(days=1)
    notes = []
    for month in (last, last - timedelta(days=40)):
        quotient = f"<DUMOIS>{month.month}</DUMOIS><DELANNEE>{month.year}</DELANNEE><QUOTIENTF>5</QUOTIENTF>"
        caf.respond_with(
            multipart(envelope(drt_document(f"{PEOPLE}<quotients><QFMOIS>{quotient}</QFMOIS></quotients>")))
        )
        for scope in ("cnaf_quotient_familial", "cnaf_enfants"):
            assert call_caf(cloud.issue_key(scope)).status == 200
            notes.append(cloud.audit_records()[-1].get("notes", []))
    assert notes == [[], [], ["caf: the quotient is not the previous month's"], []]


@pytest.mark.parametrize("page", ["<html><title>Maintenance</title>", "<p>Service momentanément indisponible</p>"])
def test_an_outage_in_html_is_a_network_error(caf: Caf, key: str, page: str) -> None:
    caf.respond_with(page, "text/html")
    answer = call_caf(key)
    assert (answer.status, answer.body) == (503, UNREACHABLE)
    assert call_api("ping/caf").status == 503


def test_an_unknown_file_is_404_with_the_sentence_of_the_caf(caf: Caf, key: str) -> None:
    caf.families = []
    answer = call_caf(key)
    sentence = "Dossier allocataire inexistant. Le document ne peut être édité."
    assert (answer.status, answer.body) == (404, {"error": "not_found", "reason": sentence, "message": sentence})


@needs_reference
def test_every_recorded_return_code_has_its_status_and_sentence(caf: Caf, key: str) -> None:
    table = json.loads((REFERENCE / "errors.json").read_text())
    assert {int(code) for code in table} == NOT_FOUND | BAD_REQUEST | FAILURES
    for code, entry in table.items():
        caf.respond_with(multipart(envelope("<?xml version='1.0'?>\n", code)))
        answer = call_caf(key)
        if entry["code"] >= 500:
            assert (answer.status, answer.body) == (503, FAILED)
        else:
            error = {404: "not_found", 400: "bad_request"}[entry["code"]]
            assert answer.status == entry["code"]
            assert answer.body == {"error": error, "reason": entry["msg"], "message": entry["msg"]}


@pytest.mark.parametrize("code", ["4", "-1", "999999999", "1000", " 200 ", "99"])
def test_an_unknown_code_is_a_failure_of_the_caf(caf: Caf, key: str, code: str) -> None:
    caf.respond_with(multipart(envelope(drt_document(PEOPLE), code)))
    answer = call_caf(key)
    assert (answer.status, answer.body) == (503, FAILED)


# ── Answers of every shape ───────────────────────────────────────────────────────────────────────────────────────────


GOOD = multipart(envelope(drt_document(PEOPLE)))
SHAPES = {
    "as recorded": (GOOD, 'multipart/related; boundary=MIMEBoundary_1; type="application/xop+xml"'),
    "boundary of another": (GOOD, "multipart/related; boundary=somethingElse"),
    "no boundary declared": (GOOD, "multipart/related"),
    "declared as XML": (GOOD, "text/xml; charset=utf-8"),
    "no declared type": (GOOD, ""),
    "line feeds": (multipart(envelope(drt_document(PEOPLE)), end="\n"), "multipart/related"),
    "an empty line before": ("\r\n" + GOOD, "multipart/related"),
    "odd boundary": (multipart(envelope(drt_document(PEOPLE)), "----=_Part_1.'()+,/:=?_"), "multipart/related"),
    "another part after": (
        GOOD.replace("--MIMEBoundary_1--", "--MIMEBoundary_1\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n"),
        "multipart/related",
    ),
    "no end": (GOOD.removesuffix("--MIMEBoundary_1--\r\n"), "multipart/related"),
    "no part": (envelope(drt_document(PEOPLE)), "text/xml"),
    "no part, declared as multipart": ("\n" + envelope(drt_document(PEOPLE)).partition("?>")[2], "multipart/related"),
    "byte order mark": ("\ufeff" + envelope(drt_document(PEOPLE)), "text/xml"),
    "no declaration": (multipart(envelope(f"<drtData>{PEOPLE}</drtData>")), "multipart/related"),
    "spaces around": (multipart(envelope(f"\n \t{drt_document(PEOPLE)}\n")), "multipart/related"),
    "declared latin": (multipart(envelope(drt_document(PEOPLE).replace("UTF-8", "ISO-8859-1"))), "multipart/related"),
    "a comment within": (
        multipart(envelope(drt_document(PEOPLE.replace("A B", "A<!-- -> -->\u0020B")))),
        "multipart/related",
    ),
    "CDATA": (multipart(envelope("", more=f"<![CDATA[{drt_document(PEOPLE)}]]>")), "multipart/related"),
    "qualified elements": (
        multipart(envelope(drt_document(PEOPLE)).replace("<return>", '<return xmlns="http://example.org/">')),
        "multipart/related",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_response_is_read_in_any_wrapping(caf: Caf, key: str, shape: str) -> None:
    caf.respond_with(*SHAPES[shape])
    answer = call_caf(key)
    assert (answer.status, answer.body.get("allocataires")) == (200, [{"nomPrenom": "A B"}])
    assert answer.body["enfants"] == []


@needs_reference
def test_the_recorded_responses_are_read(caf: Caf, key: str) -> None:
    caf.respond_with((REFERENCE / "ok.txt").read_bytes())
    body = call_caf(key).body
    assert list(body) == list(SCOPES)
    assert [len(body["allocataires"]), len(body["enfants"]), len(body["adresse"])] == [2, 2, 4]
    assert [body["quotientFamilial"], body["mois"], body["annee"]] == [2057, 5, 2021]
    caf.respond_with((REFERENCE / "error.txt").read_bytes())
    assert call_caf(key).body == FAILED


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BILLION = f'<!DOCTYPE drtData [<!ENTITY l0 "rire">{LAUGHS}]>'
SECRET_FILE = f'<!DOCTYPE drtData [<!ENTITY x SYSTEM "{Path(__file__).as_uri()}">]>'


def named(name: str) -> str:
    return PEOPLE.replace("A B", name)


GARBAGE: dict[str, str | bytes] = {
    "nothing": "",
    "text": "Bonjour",
    "JSON": '{"codeRetour": 0}',
    "HTML": "<html><body><p>Bienvenue</body></html>",
    "a boundary alone": "--MIMEBoundary_1\r\n",
    "a boundary without end": "--" + "M" * 100_000,
    "an endless boundary": "--" + "M" * 100_000 + "\r\n\r\n<a/>",
    "a boundary that quotes": '--a"; boundary="b\r\n\r\n<a/>',
    "a part without body": "--MIMEBoundary_1\r\nContent-Type: text/xml\r\n",
    "parts within parts": "--b\r\n"
    + "".join(f"Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n" for n in range(3000)),
    "a part that is parts": "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n<a/>\r\n--c--\r\n--b--",
    "another encoding": multipart(envelope(drt_document(named("ZOÉ")))).encode("latin-1"),
    "an unknown encoding": multipart(envelope(drt_document(PEOPLE)).replace('"utf-8"', '"x-none"')),
    "another envelope": multipart(
        envelope(drt_document(PEOPLE)).replace("demanderDocumentWebResponse", "autreReponse")
    ),
    "no return code": multipart(envelope(drt_document(PEOPLE)).replace("codeRetour", "code")),
    "an empty return code": multipart(envelope(drt_document(PEOPLE), "")),
    "a return code in words": multipart(envelope(drt_document(PEOPLE), "OK")),
    "a return code of ten digits": multipart(envelope(drt_document(PEOPLE), "1234567890")),
    "a return code in other digits": multipart(envelope(drt_document(PEOPLE), "٠")),
    "no second document": multipart(envelope("")),
    "a second document of a declaration": multipart(envelope('<?xml version="1.0" encoding="UTF-8"?>\n')),
    "a second document not escaped": multipart(envelope("", more=f"<drtData>{PEOPLE}</drtData>")),
    "a second document cut short": multipart(envelope(drt_document(PEOPLE)[:-20])),
    "a second document of another root": multipart(envelope(f"<autre>{PEOPLE}</autre>")),
    "a second document without people": multipart(envelope(drt_document(""))),
    "an unknown entity": multipart(envelope(drt_document(named("&inconnue;")))),
    "elements in a name": multipart(envelope(drt_document(named("A<b>B</b>")))),
    "a quotient in words": multipart(
        envelope(drt_document(f"{PEOPLE}<quotients><QFMOIS><QUOTIENTF>douze</QUOTIENTF></QFMOIS></quotients>"))
    ),
    "a quotient without month": multipart(
        envelope(drt_document(f"{PEOPLE}<quotients><QFMOIS><QUOTIENTF>12</QUOTIENTF></QFMOIS></quotients>"))
    ),
    "depth": multipart(envelope(drt_document(PEOPLE + "<a>" * 5_000 + "</a>" * 5_000))),
    "a file read, outside": multipart(envelope(drt_document(PEOPLE), doctype=SECRET_FILE, more="&x;")),
    "a file read, inside": multipart(envelope(drt_document(named("&x;"), doctype=SECRET_FILE))),
    "a document type, outside": multipart(envelope(drt_document(PEOPLE), doctype="<!DOCTYPE a>")),
    "a document type, inside": multipart(
        envelope(drt_document(PEOPLE, doctype='<!DOCTYPE drtData SYSTEM "http://127.0.0.1:9">'))
    ),
    "an entity, inside": multipart(envelope(drt_document(named("&a;"), doctype='<!DOCTYPE a [<!ENTITY a "A B">]>'))),
    "an entity of a parameter": multipart(
        envelope(drt_document(PEOPLE, doctype='<!DOCTYPE a [<!ENTITY % a SYSTEM "http://127.0.0.1:9">%a;]>'))
    ),
    "billion laughs, outside": multipart(envelope(drt_document(PEOPLE), doctype=BILLION, more="&l9;")),
    "billion laughs, inside": multipart(envelope(drt_document(named("&l9;"), doctype=BILLION))),
    "billion laughs, in an attribute": multipart(
        envelope(drt_document(PEOPLE.replace("<NOMPRENOM>", "<NOMPRENOM a='&l9;'>"), doctype=BILLION))
    ),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_an_invalid_response_and_no_personal_value_is_logged(
    caf: Caf, cloud: Cloud, key: str, garbage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    caf.respond_with(GARBAGE[garbage])
    answer = call_caf(key)
    assert (answer.status, answer.body) == (502, UNREADABLE)
    written = "".join(capfd.readouterr()) + json.dumps(cloud.audit_records(), default=str)
    assert "internal_error" not in written
    for personal in ("2600001", "75011", "A B", "rire"):
        assert personal not in written


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(GOOD) - len("</s:Envelope>\r\n--MIMEBoundary_1--\r\n")))
def test_a_truncated_response_is_an_invalid_response(caf: Caf, key: str, cut: int) -> None:
    caf.respond_with(GOOD[:cut])
    assert call_caf(key).body == UNREADABLE


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.lists(
        st.binary(max_size=20)
        | st.sampled_from(
            [b"\r\n", b"--b", b"--", b"Content-Type: ", b"multipart/mixed; boundary=b", b"message/rfc822"]
        )
        | st.sampled_from([b"Content-Transfer-Encoding: base64", b"<a>", b"&#0;", b"<?xml version='1.0'?>", b"\xff"]),
        max_size=12,
    ).map(b"".join)
)
def test_noise_is_an_invalid_response(caf: Caf, key: str, noise: bytes) -> None:
    for content in (noise, b"--b\r\n" + noise):
        caf.respond_with(content)
        assert call_caf(key).body == UNREADABLE


def test_a_soap_fault_is_a_provider_error(caf: Caf, key: str) -> None:
    fault = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Server</faultcode>'
        "<faultstring>2600001 inconnu</faultstring></s:Fault></s:Body></s:Envelope>"
    )
    caf.respond_with(fault, "text/xml")
    assert call_caf(key).body == UNREADABLE
    caf.override = Response(fault, status=500, content_type="text/xml")
    assert call_caf(key).body == UNREACHABLE
