"""What real pages of the tax service hold besides the expected: markup in texts, two columns, outages, odd cells."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

import pytest

from tests.support import wire
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api
from tests.support.svair import COUPLE, NOTICE, NUMBERS, SimulatedSvair, render_notice, to_json, v1, v2

# ── Texts that markup breaks ─────────────────────────────────────────────────────────────────────────────────────────

pytestmark = pytest.mark.slow

REMARKS: Final[Mapping[str, str]] = {
    "Un avis correctif de la situation<br />la plus récente": "Un avis correctif de la situation la plus récente",
    "a<br>\r\n\t\tb": "a b",
    "a <BR/> b": "a b",
    "a<br><br>b": "a b",
    "<p>a</p><p>b</p>": "a b",
    "<p>a</p>\n<div>b</div>\n": "a b",
    "<ul><li>a</li><li>b</li></ul>": "a b",
    "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>": "a b c",
    "2025<br/>partielle": "2025 partielle",
    "2025<hr>partielle": "2025 partielle",
    "<h3>a</h3>b": "a b",
    "<b>a</b><i>b</i>": "ab",
    "a  <em>b</em>  c": "a  b  c",
    "a\n\tb": "ab",
    "<br>a<br>": "a",
}


@pytest.mark.parametrize(("markup", "text"), REMARKS.items(), ids=REMARKS)
@pytest.mark.parametrize("name", ["erreurCorrectif", "situationPartielle"])
def test_what_breaks_a_line_on_the_screen_is_one_space(
    name: str, markup: str, text: str, service: SimulatedSvair, key: str
) -> None:
    shown = render_notice(COUPLE).replace(f"<div id='{name}'>", f"<div id='{name}'>{markup}")
    service.show_page(shown)
    assert v2(key).body[name] == text


def test_a_cell_broken_by_markup_has_one_space(service: SimulatedSvair, key: str) -> None:
    page = render_notice(COUPLE).replace("<td>Ève Rose</td>", "<td><p>Ève</p><p>Rose</p></td>")
    service.show_page(page.replace("Marié(e)s", "Marié<span>(e)s</span>"))
    assert v2(key).text == to_json(NOTICE)


# ── Addresses in two columns ─────────────────────────────────────────────────────────────────────────────────────────

LABEL: Final = "Adresse déclarée au 1er janvier 2026"
TWO_COLUMNS: Final[Mapping[str, str]] = {
    f"<tr><td>{LABEL}</td><td>1 RUE DU TEST</td><td>2 RUE DU TEST</td></tr>"
    "<tr><td></td><td colspan=2>76780 LA HAYE</td></tr>": "1 RUE DU TEST 76780 LA HAYE",
    f"<tr><td>{LABEL}</td><td>1 RUE DU TEST</td><td>2 RUE DU TEST</td></tr>"
    "<tr><td></td><td>76780 LA HAYE</td><td>76000 ROUEN</td></tr>": "1 RUE DU TEST 76780 LA HAYE",
    f"<tr><td>{LABEL}</td><td>1 RUE DU TEST</td><td>BAT B</td></tr><tr><td></td><td></td><td>2 RUE DU TEST</td></tr>"
    "<tr><td></td><td>76780 LA HAYE</td><td>76000 ROUEN</td></tr>": "1 RUE DU TEST 76780 LA HAYE",
    f"<tr><td rowspan=2>{LABEL}</td><td>1 RUE DU TEST</td><td>1 RUE DU TEST</td></tr>"
    "<tr><td>76780 LA HAYE</td><td>76780 LA HAYE</td></tr>": "1 RUE DU TEST 76780 LA HAYE",
    f"<tr><td>{LABEL}</td><td></td><td>2 RUE DU TEST</td></tr><tr><td></td><td>76780 LA HAYE</td><td></td></tr>": (
        "2 RUE DU TEST 76780 LA HAYE"  # no row has two: it is one column, as wide as the page
    ),
}


@pytest.mark.parametrize(("rows", "address"), TWO_COLUMNS.items())
def test_the_address_is_that_of_the_first_declarants_column(
    rows: str, address: str, service: SimulatedSvair, key: str
) -> None:
    service.show_page(render_notice(COUPLE, rows))
    assert v2(key).body["foyerFiscal"] == {"annee": 2026, "adresse": address}


# ── Cells that the token does not open ───────────────────────────────────────────────────────────────────────────────

ODD: Final = ("Néant", "-", "1 234,56 €", "voir avis", "€")


@pytest.mark.parametrize("printed", ODD)
@pytest.mark.parametrize("row", ["montant_impot", "revenu_fiscal_reference", "nombre_parts", "nombre_personnes_charge"])
def test_an_odd_cell_fails_the_responses_of_tokens_that_open_it_and_no_other(
    row: str, printed: str, service: SimulatedSvair, cloud: Cloud
) -> None:
    scope = {"nombre_personnes_charge": "nombre_personnes_a_charge"}.get(row, row)
    service.serve_people(COUPLE.model_copy(update={row: printed}))
    blind, seeing = cloud.issue_key("dgfip_declarant1_nom"), cloud.issue_key("dgfip_declarant1_nom", f"dgfip_{scope}")
    for ask in (v1, v2):
        assert (ask(blind).status, ask(blind).body) == (200, {"declarant1": {"nom": "BRUANT"}})
        assert (ask(seeing).status, ask(seeing).body["error"]) == (502, "invalid_response")
    record = cloud.audit_records()[-1]
    assert (record["status"], record["released"], record["withheld"]) == (502, [], [])


def test_a_title_without_years_fails_only_tokens_that_open_the_years(service: SimulatedSvair, cloud: Cloud) -> None:
    service.show_page(render_notice(COUPLE).replace("Impôt 2026", "Impôt"))
    assert v2(cloud.issue_key("dgfip_declarant1_nom")).body == {"declarant1": {"nom": "BRUANT"}}
    assert v2(cloud.issue_key("dgfip_annee_revenus")).status == 502


# ── Years that differ ────────────────────────────────────────────────────────────────────────────────────────────────

OTHER_NOTICE: Final = "dgfip: the notice is not of the reference's year"
OTHER_ADDRESS: Final = "dgfip: the address is not of the reference's year"


@pytest.mark.parametrize(
    ("change", "notes"),
    [
        ({}, []),
        ({"annee": 2024}, [OTHER_ADDRESS]),
        ({"annee_impots": 2025, "annee_revenus": 2024}, [OTHER_NOTICE]),
        ({"annee": 2025, "annee_impots": 2025, "annee_revenus": 2024}, [OTHER_NOTICE, OTHER_ADDRESS]),
    ],
)
@pytest.mark.parametrize("dataset", ["avis_imposition", "declarants", "revenu_fiscal_reference"])
def test_years_that_are_not_the_references_are_noted_by_the_audit(
    dataset: str, change: dict[str, Any], notes: list[str], service: SimulatedSvair, cloud: Cloud
) -> None:
    key = cloud.issue_key("dgfip_avis_imposition")
    service.serve_people(COUPLE.model_copy(update=change))
    assert call_api(f"{dataset}/v2", key=key, headers=None, **NUMBERS).status == 200
    assert cloud.audit_records()[-1].get("notes", []) == notes


# ── An outage in HTML ────────────────────────────────────────────────────────────────────────────────────────────────


def shown(content: str, *, status: int = 200, form: bool = True, **headers: str) -> wire.Server:
    """Return a server that shows this page in response to the numbers, and in place of the form if not ``form``."""
    first = wire.response(b"<input name='javax.faces.ViewState' value='a'>")
    answer = wire.response(
        content.encode(), status=status, headers={n.replace("_", "-"): v for n, v in headers.items()}
    )

    def talk(connection: Any, _: Any) -> None:
        while request := wire.read_request(connection):
            connection.sendall(first if form and request.startswith(b"GET") else answer)

    return lambda: wire.converse(talk)


@pytest.fixture
def ask(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[wire.Server], Response]:
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")

    def asking(server: wire.Server) -> Response:
        with server() as url:
            monkeypatch.setenv("DGFIP_SVAIR_URL", url)
            return v2(cloud.issue_key("dgfip_nombre_parts"))

    return asking


MARK: Final = '<div id="service_indispo"></div>'
FORM: Final = "<form><input name='javax.faces.ViewState' value='a'></form>"
OUTAGES: Final[Mapping[str, wire.Server]] = {
    "a mark after the form": shown(MARK),
    "a mark in place of the form": shown(MARK, form=False),
    "a mark above the form": shown(MARK + FORM, form=False),
    "a mark under the form": shown(FORM + MARK, form=False),
    "a class": shown("<p class='msg service-indisponible'>Revenez demain</p>"),
    "a sentence": shown("<p>Le service est momentan&eacute;ment indisponible.</p>"),
    "a title": shown("<title>MAINTENANCE EN COURS</title>"),
    "a redirection": shown("", status=302, Location="/maintenance/index.html"),
    "a redirection from the form": shown("", status=302, form=False, Location="/service_indispo.html"),
    "a redirection to another host": shown("", status=303, form=False, Location="https://exemple.fr/excuses"),
}


@pytest.mark.parametrize("server", OUTAGES.values(), ids=OUTAGES)
def test_an_outage_in_html_is_a_network_error(server: wire.Server, ask: Callable[[wire.Server], Response]) -> None:
    answer = ask(server)
    assert (answer.status, answer.body["error"]) == (503, "network_error")
    assert int(answer.headers["Retry-After"]) == 10


@pytest.mark.parametrize(
    "server",
    [
        shown("<p>Bienvenue</p>"),
        shown("", status=302, form=False, Location="/secavis/accueil.jsf"),
        shown("", status=301, form=False, Location="https://exemple.fr/"),
    ],
)
def test_another_page_is_not_an_outage(server: wire.Server, ask: Callable[[wire.Server], Response]) -> None:
    assert ask(server).body["error"] == "invalid_response"


def test_a_notice_with_a_banner_about_a_maintenance_is_read(service: SimulatedSvair, key: str) -> None:
    banner = "<body><div class='maintenance'>Maintenance dimanche : service indisponible</div>"
    service.show_page(render_notice(COUPLE).replace("<body>", banner))
    assert v2(key).text == to_json(NOTICE)


def test_an_outage_in_html_opens_the_circuit_and_a_ping_agrees(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")
    keys = [cloud.issue_key("dgfip_nombre_parts") for _ in range(2)]
    asked: list[bytes] = []

    def talk(connection: Any, _: Any) -> None:
        while request := wire.read_request(connection):
            asked.append(request)
            connection.sendall(wire.response((FORM + MARK).encode()))

    with wire.converse(talk) as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        numbers = [f"2690{person * 7919:09}" for person in range(1, 9)]
        answers = [
            v2(keys[turn % 2], numeroFiscal=number, referenceAvis="2690000000001")
            for turn, number in enumerate(numbers)
        ]
        ping = call_api("ping/dgfip")
    assert {answer.status for answer in answers} == {503}
    assert len(asked) == 5
    assert (ping.status, ping.body["error"]) == (503, "network_error")


# ── Retry-After ──────────────────────────────────────────────────────────────────────────────────────────────────────

IN_500_SECONDS: Final = "in 500 seconds"
"""Stands for the date of then, which is known when a test runs."""


@pytest.mark.parametrize("status", [429, 403, 503, 302])
@pytest.mark.parametrize(
    ("written", "passed_on"),
    [
        *[("120", (120, 120)), ("0", (1, 1)), ("86400", (600, 600)), (" 42 ", (42, 42)), (IN_500_SECONDS, (490, 500))],
        *[("Wed, 21 Oct 2015 07:28:00 GMT", (1, 1)), ("9" * 20, (600, 600))],
        *[(odd, (10, 60)) for odd in ("bientôt", "-5", "1.5", "")],
    ],
)
def test_a_providers_retry_after_is_passed_on_between_1_second_and_10_minutes(
    status: int, written: str, passed_on: tuple[int, int], ask: Callable[[wire.Server], Response]
) -> None:
    if written == IN_500_SECONDS:
        written = format_datetime(datetime.now(UTC) + timedelta(seconds=500), usegmt=True)
    answer = ask(shown("", status=status, Location="/maintenance" if status == 302 else "", Retry_After=written))
    assert answer.status == 503
    assert passed_on[0] <= int(answer.headers["Retry-After"]) <= passed_on[1]


@pytest.mark.parametrize(("page", "error"), [(MARK, "network_error"), ("<p class=interdit>", "rate_limited")])
def test_the_retry_after_of_a_page_is_passed_on(page: str, error: str, ask: Callable[[wire.Server], Response]) -> None:
    answer = ask(shown(page, Retry_After="33"))
    assert (answer.body["error"], answer.headers["Retry-After"]) == (error, "33")


# ── References ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reference_in_small_letters_is_that_in_capitals(service: SimulatedSvair, key: str) -> None:
    numbers = {"numero_fiscal": "2690000000002", "reference_avis": "26A9000000B01"}
    service.serve_people(COUPLE.model_copy(update=numbers))
    assert v2(key, numeroFiscal="2690000000002", referenceAvis="26a9 000 000 b01").status == 200
