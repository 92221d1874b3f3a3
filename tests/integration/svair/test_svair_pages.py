"""Read a page by its labels, in any HTML rendering."""

import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from socket import socket
from threading import Event
from typing import Final

import pytest

from tests.support import wire
from tests.support.svair import COUPLE, NBSP, NOTICE, SimulatedSvair, render_notice, to_json, v1, v2
from tests.support.template import ROOT


def _cells(page: str, change: Callable[[str], str]) -> str:
    """Change the content of each cell."""
    return re.sub(r"(<td[^>]*>)(.*?)(</td>)", lambda cell: cell[1] + change(cell[2]) + cell[3], page, flags=re.DOTALL)


def _labels(page: str, change: Callable[[str], str]) -> str:
    """Change each label."""
    return re.sub(r"(<tr><td[^>]*>)((?!</td>).+?)(</td>)", lambda row: row[1] + change(row[2]) + row[3], page)


def _backwards(page: str) -> str:
    rows = re.findall(r"<tr><td colspan='2'>[^<]+</td><td>[^<]*</td></tr>", page)
    return page.replace("".join(rows), "".join(reversed(rows)))


def _decomposed(page: str) -> str:
    labels = "Impôt|Prénom|établissement|référence|Adresse déclarée|impôt"
    return re.sub(labels, lambda label: unicodedata.normalize("NFD", label[0]), page)


RENDERINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "as it is": str,
    "headers for cells": lambda page: page.replace("<td", "<th").replace("</td", "</th"),
    "headers for labels": lambda page: re.sub(r"<tr><td([^>]*)>(.*?)</td>", r"<tr><th\1>\2</th>", page),
    "capital tags": lambda page: re.sub(r"<(/?[a-z]+)", lambda tag: "<" + tag[1].upper(), page),
    "no closing tags of cells": lambda page: page.replace("</td>", ""),
    "no closing tags": lambda page: re.sub(r"</(td|tr|tbody|table|body|html)>", "", page),
    "no body of the table": lambda page: page.replace("<tbody>", "").replace("</tbody>", ""),
    "line breaks and tabs": lambda page: re.sub(r"(<td[^>]*>)", "\\1\r\n\t\t\t", page).replace("</", "\r\n\t\t</"),
    "spaces": lambda page: _cells(page, lambda text: f"   {text}   "),
    "no-break spaces around": lambda page: _cells(page, lambda text: f"&nbsp;{text}&#160;"),
    "line breaks in labels": lambda page: re.sub(r"(Revenu|Date|Nombre|Impôt|Prénom) ", "\\1\n\t\t", page),
    "bold": lambda page: _cells(page, lambda text: f"<b><font color=red>{text}</font></b>"),
    "paragraphs": lambda page: _cells(page, lambda text: f"<p>{text}</p>"),
    "nested divisions": lambda page: _cells(page, lambda text: f"<div><div>{text}</div></div>"),
    "comments": lambda page: _cells(page, lambda text: f"<!-- 1 € -->{text}<!-- <td>Nom</td> -->"),
    "classes": lambda page: page.replace("<td", "<td align=left class=label id=a").replace("<tr", "<tr class=y"),
    "other classes": lambda page: page.replace("titre_affiche_avis", "titre"),
    "a heading": lambda page: page.replace("<span>", "<h1>").replace("</span>", "</h1>"),
    "a title in pieces": lambda page: page.replace("Impôt 2026 sur", "Impôt <b>2026</b>\n<i>sur").replace(
        "née 2", "née<br>2"
    ),
    "typographic apostrophes": lambda page: page.replace("l'", "l’").replace("d'", "d’").replace("l’Ill", "l'Ill"),
    "escaped apostrophes": lambda page: page.replace("l'", "l&#39;").replace("d'", "d&#x27;"),
    "accents in two pieces": _decomposed,
    "entities for accents": lambda page: page.replace("é", "&eacute;").replace("ô", "&ocirc;").replace("€", "&euro;"),
    "colons": lambda page: _labels(page, lambda label: f"{label}{NBSP}:"),
    "marks of a note": lambda page: _labels(page, lambda label: f"{label} (*)"),
    "capital labels": lambda page: _labels(page, str.upper),
    "plain 1er": lambda page: page.replace("1<sup>er</sup>", "1er"),
    "spaced 1er": lambda page: page.replace("1<sup>er</sup>", "1 <sup>er</sup>"),
    "two cells": lambda page: page.replace("<td colspan='2'>", "<td>"),
    "three cells, the value last": lambda page: re.sub(r"<td colspan='2'>([^<]+)</td>", r"<td>\1</td><td></td>", page),
    "three cells, the value amid": lambda page: re.sub(
        r"<td colspan='2'>([^<]+)</td>(<td>[^<]*</td>)", r"<td>\1</td>\2<td>&nbsp;</td>", page
    ),
    "a cell for the euro": lambda page: page.replace(" €</td>", "</td><td>€</td>"),
    "more rows": lambda page: page.replace("<tbody>", "<tbody><tr><td>Numéro fiscal</td><td>X</td></tr>").replace(
        "</tbody>", "<tr><td colspan=3><hr></td></tr><tr></tr><tr><td>Divers</td><td>1 €</td></tr></tbody>"
    ),
    "rows without a label": lambda page: page.replace(" €</td></tr>", " €</td></tr><tr><td></td><td>1 €</td></tr>"),
    "headings between rows": lambda page: page.replace(
        "<tr><td colspan='2'>Revenu", "<tr><td colspan='3'>Les revenus</td></tr><tr><td colspan='2'>Revenu"
    ),
    "a table a row": lambda page: page.replace("<tr><td colspan='2'>", "</table><table><tr><td colspan='2'>"),
    "a table that lays the page out": lambda page: page.replace(
        "<table>", "<table><tr><td>Menu</td><td><table>", 1
    ).replace("</table>", "</table></td></tr></table>"),
    "a table in an empty first column": lambda page: page.replace(
        "<table>", "<table><tr><td></td><td><table>", 1
    ).replace("</table>", "</table></td></tr></table>"),
    "the other way round": _backwards,
    "a form on the page": lambda page: page.replace(
        "<table>", "<form><input name='javax.faces.ViewState' value='b'></form><table>"
    ),
    "an XML declaration": lambda page: "<?xml version='1.0' encoding='ISO-8859-1'?>\n" + page,
    "a byte order mark": lambda page: "\ufeff" + page,
    "scripts and styles": lambda page: page.replace(
        "<body>", "<body><script>if (1 < 2) { a('<tr>') }</script><style>td{}</style>"
    ),
    "no doctype, no head": lambda page: re.sub("<!DOCTYPE html>|<head>.*</head>", "", page),
}


@pytest.mark.parametrize("change", RENDERINGS.values(), ids=RENDERINGS)
def test_a_notice_is_read_in_any_rendering(change: Callable[[str], str], service: SimulatedSvair, key: str) -> None:
    service.show_page(change(render_notice(COUPLE)))
    assert v2(key).text == to_json(NOTICE)
    assert v1(key).text == to_json(NOTICE)
    assert service.methods == "GET POST POST"


ADDRESSES: Final = {
    "lines in a cell": (
        "<tr><td>Adresse déclarée au 1er janvier 2026</td><td>8 quai de l'Ill<br/>67000 STRASBOURG</td></tr>"
    ),
    "divisions in a cell": (
        "<tr><td>Adresse déclarée au 1er janvier 2026</td><td>8 quai de l'Ill<div>67000 STRASBOURG</div></td></tr>"
    ),
    "a label over the rows": (
        "<tr><td rowspan='2'>Adresse déclarée au 1er janvier 2026</td><td>8 quai de l'Ill</td></tr>"
        "<tr><td>67000 STRASBOURG</td></tr>"
    ),
    "no-break labels": (
        "<tr><td>Adresse déclarée au 1er janvier&nbsp;2026 :</td><td>&nbsp;</td><td>8 quai de l'Ill</td></tr>"
        "<tr><td>&nbsp;</td><td>67000 STRASBOURG</td><td>&nbsp;</td></tr><tr><td>&nbsp;</td><td>&nbsp;</td></tr>"
    ),
    "an unlabelled row apart": (
        "<tr><td>Adresse déclarée au 1er janvier 2026</td><td colspan=2>8 quai de l'Ill</td></tr>"
        "<tr><td></td><td>67000 STRASBOURG</td></tr><tr><td class='espace'></td></tr><tr><td></td><td>Autre</td></tr>"
    ),
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_goes_on_in_the_unlabelled_rows_after_its_own(
    address: str, service: SimulatedSvair, key: str
) -> None:
    service.show_page(render_notice(COUPLE, address))
    assert v2(key).text == to_json(NOTICE)


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [("ISO-8859-15", "iso-8859-15"), ("windows-1252", "cp1252"), ('"utf-8"', "utf-8"), ("UTF-16", "utf-16")],
)
def test_a_page_is_read_in_its_declared_encoding(
    charset: str, encoding: str, service: SimulatedSvair, key: str
) -> None:
    service.show_page(render_notice(COUPLE).encode(encoding), content_type=f"Text/HTML; Charset={charset}")
    assert v2(key).text == to_json(NOTICE)


@pytest.mark.parametrize("content_type", ["", "text/html", "application/xhtml+xml; charset=utf-8"])
def test_a_page_without_a_declared_encoding_is_read_as_utf_8(
    content_type: str, service: SimulatedSvair, key: str
) -> None:
    service.show_page(render_notice(COUPLE), content_type=content_type)
    assert v2(key).text == to_json(NOTICE)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/pdf"])
def test_another_type_of_content_is_an_invalid_response(content_type: str, service: SimulatedSvair, key: str) -> None:
    service.show_page(render_notice(COUPLE), content_type=content_type)
    answer = v2(key)
    assert (answer.status, answer.body["error"]) == (502, "invalid_response")


UNREADABLE: Final = {
    "no title": render_notice(COUPLE).replace("Impôt 2026", "Impôt"),
    "no rows": re.sub("<table>.*</table>", "", render_notice(COUPLE)),
    "labels of another language": re.sub(r"<tr><td([^>]*)>\w.*?</td>", r"<tr><td\1>Name</td>", render_notice(COUPLE)),
}


@pytest.mark.parametrize("page", UNREADABLE.values(), ids=UNREADABLE)
def test_a_page_that_is_not_a_notice_is_an_invalid_response(page: str, service: SimulatedSvair, key: str) -> None:
    service.show_page(page)
    answer = v2(key)
    assert (answer.status, answer.body["error"]) == (502, "invalid_response")


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("<div class='msg interdit'>", 503),
        (f"<p class=interdit>{render_notice(COUPLE)}", 503),
        ("<span id=nonTrouve></span>", 404),
        (render_notice(COUPLE).replace("</body>", "<div id='nonTrouve'>"), 404),
        ("<div id='interdit'>nonTrouve</div>", 502),
    ],
)
def test_a_refusal_is_recognised_by_its_class_and_an_unknown_notice_by_its_id(
    page: str, status: int, service: SimulatedSvair, key: str
) -> None:
    service.show_page(page)
    assert v2(key).status == status


def test_a_page_of_a_megabyte_of_padding_is_read(service: SimulatedSvair, key: str) -> None:
    """A quadratic reading would run into the timeout of the test."""
    third = 600_000
    service.show_page(
        render_notice(COUPLE)
        .replace("<td>", "<td>" + " " * third, 1)
        .replace("Nom<", "Nom" + ":*" * (third // 2) + "<", 1)
    )
    assert v2(key).status == 200


# ── The real service's own pages ─────────────────────────────────────────────────────────────────────────────────────

REAL: Final = ROOT / os.environ.get("REFERENCE_DATA", "../shared/data") / "dgfip-svair"


@pytest.mark.skipif(not REAL.is_dir(), reason=f"its pages are not in {REAL}; REFERENCE_DATA says where they are")
def test_the_pages_of_the_real_service_are_read(
    service: SimulatedSvair, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [(REAL / name).read_bytes() for name in ("two-people.html", "not-found.html")]

    def show(connection: socket, _: Event) -> None:
        while request := wire.read_request(connection):
            page = shown.pop(0) if request.startswith(b"POST") else (REAL / "form.html").read_bytes()
            connection.sendall(wire.response(page))

    assert service.url
    with wire.converse(show) as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        found, unknown = v2(key), v2(key)
    assert (found.status, unknown.status) == (200, 404)
    assert list(found.body) == list(NOTICE)
    assert {name: type(value) for name, value in found.body.items() if value is not None} == {
        name: type(value) for name, value in NOTICE.items() if found.body[name] is not None
    } | {"nombreParts": int}
    assert all(found.body["declarant1"].values())
    assert all(found.body["declarant2"].values())
