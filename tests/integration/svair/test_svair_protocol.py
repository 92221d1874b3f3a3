"""Check the requests to the tax service, and the errors that a caller gets from its failures (contract §2, §5)."""

import re
from collections.abc import Mapping
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import pytest

from tests.support import wire
from tests.support.cloud import Cloud
from tests.support.function import call_api, shorten_timeouts
from tests.support.svair import COUPLE, NOTICE, NUMBERS, SimulatedSvair, render_notice, to_json, v1, v2

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# ── Refusals and failures ────────────────────────────────────────────────────────────────────────────────────────────

NOT_FOUND: Final = "Les paramètres fournis sont incorrects ou ne correspondent pas à un avis"


def test_an_unknown_notice_is_not_found(service: SimulatedSvair, key: str) -> None:
    service.serve_people()
    answer = v2(key)
    assert (answer.status, answer.body) == (404, {"error": "not_found", "reason": NOT_FOUND, "message": NOT_FOUND})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reponse", "expected"),
    [
        ("interdit", (503, "rate_limited")),
        ("lent", (503, "network_error")),
        ("panne", (503, "network_error")),
        ("illisible", (502, "invalid_response")),
    ],
)
def test_a_service_that_fails_after_its_form_is_a_provider_error(
    reponse: str, expected: tuple[int, str], service: SimulatedSvair, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reponse == "lent":
        shorten_timeouts(monkeypatch)
    service.serve_people(COUPLE.model_copy(update={"reponse": reponse, "secondes": 2}))
    answer = v2(key)
    assert (answer.status, answer.body["error"]) == expected
    assert ("Retry-After" in answer.headers) == (answer.status == 503)
    service.serve_people(COUPLE)
    assert v2(key).text == to_json(NOTICE)


FAILING_POSTS: Final[Mapping[str, tuple[bytes, tuple[int, str]]]] = {
    "403": (wire.response(b"", status=403), (503, "rate_limited")),
    "404": (wire.response(b"", status=404), (502, "invalid_response")),
    "500 to a new form": (wire.response(b"", status=500), (503, "network_error")),
    "an empty page": (wire.response(b""), (502, "invalid_response")),
    "a page cut short": (wire.response(b"<html>", headers={"Content-Length": "7"}), (502, "invalid_response")),
    "silence": (b"", (503, "network_error")),
}


@pytest.mark.parametrize(("content", "expected"), FAILING_POSTS.values(), ids=FAILING_POSTS)
def test_a_failure_of_the_second_request_is_a_provider_error(
    content: bytes, expected: tuple[int, str], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: Any, _: Any) -> None:
        while request := wire.read_request(connection):
            if request.startswith(b"POST"):
                connection.sendall(content)
                return
            connection.sendall(wire.response(b'<input name="javax.faces.ViewState" value="a">'))

    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")
    with wire.converse(fail) as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        answer = v2(cloud.issue_key("dgfip_nombre_parts"))
    assert (answer.status, answer.body["error"]) == expected


# ── The years ────────────────────────────────────────────────────────────────────────────────────────────────────────

THIS_YEAR: Final = datetime.now(ZoneInfo("Europe/Paris")).year


@pytest.mark.parametrize("years_ago", [0, 1])
def test_notices_of_the_last_two_years_can_be_had(
    years_ago: int, service: SimulatedSvair, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DGFIP_AVAILABLE_YEARS")
    reference = f"{(THIS_YEAR - years_ago) % 100:02}A0000000001"
    service.serve_people(COUPLE.model_copy(update={"reference_avis": reference}))
    assert v2(key, numeroFiscal="2690000000001", referenceAvis=reference).status == 200


@pytest.mark.parametrize("year", [THIS_YEAR - 2, THIS_YEAR - 3, THIS_YEAR + 1, 2000, 2099])
def test_notices_of_other_years_are_refused_without_a_call(
    year: int, service: SimulatedSvair, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DGFIP_AVAILABLE_YEARS")
    answer = v2(key, numeroFiscal="2690000000001", referenceAvis=f"{year % 100:02}A0000000001")
    assert (answer.status, answer.body["error"]) == (404, "not_found")
    assert "2 dernières années" in answer.body["message"]
    assert service.requests == []


def test_a_reference_without_a_year_is_not_found_without_a_call(service: SimulatedSvair, key: str) -> None:
    answer = v2(key, numeroFiscal="2690000000001", referenceAvis="A690000000001")
    assert (answer.status, answer.body["message"]) == (404, NOT_FOUND)
    assert service.requests == []


# ── The form ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_form_is_filled_in_as_a_browser_would(service: SimulatedSvair, key: str) -> None:
    v2(key, numeroFiscal="26 90 000 000 001", referenceAvis="26 90000000001 Z")
    form, question = service.requests
    assert (form.method, form.path, form.cookie) == ("GET", "/secavis/", "")
    assert (question.method, question.path) == ("POST", "/secavis/faces/commun/index.jsf")
    assert re.fullmatch("JSESSIONID=[0-9a-f]{32}", question.cookie)
    assert question.form.pop("javax.faces.ViewState")
    assert question.form == {
        "j_id_7:spi": "2690000000001",
        "j_id_7:num_facture": "2690000000001",
        "j_id_7:j_id_l": "Valider",
        "j_id_7_SUBMIT": "1",
    }


def test_a_form_is_reused_for_many_calls_on_one_connection(service: SimulatedSvair, key: str) -> None:
    statuses = [v2(key).status for _ in range(3)]
    service.serve_people()
    statuses += [v2(key).status, v1(key).status]
    service.serve_people(COUPLE)
    statuses += [call_api("declarants/v2", key=key, headers=None, **NUMBERS).status]
    assert statuses == [200, 200, 200, 404, 404, 200]
    assert service.methods == "GET POST POST POST POST POST POST"
    assert len({request.connection for request in service.requests}) == 1
    assert len({request.cookie for request in service.requests[1:]}) == 1


def test_a_form_is_reused_after_an_unknown_notice(service: SimulatedSvair, key: str) -> None:
    service.serve_people()
    v2(key)
    v2(key)
    assert service.methods == "GET POST POST"


@pytest.mark.parametrize("how", ["error", "form", "redirect"])
def test_a_form_that_the_service_has_forgotten_is_fetched_again_once(
    how: str, service: SimulatedSvair, key: str
) -> None:
    v2(key)
    service.simulator.config["FORGOTTEN"] = how
    service.forget_forms()
    assert v2(key).text == to_json(NOTICE)
    assert v2(key).text == to_json(NOTICE)
    assert service.methods == "GET POST POST GET POST POST"


@pytest.mark.parametrize(("how", "expected"), [("error", (503, "network_error")), ("form", (502, "invalid_response"))])
def test_a_service_that_forgets_every_form_is_called_twice_and_no_more(
    how: str, expected: tuple[int, str], service: SimulatedSvair, key: str
) -> None:
    v2(key)
    service.simulator.config["FORGOTTEN"] = how

    def forget_always(environ: "WSGIEnvironment", start: "StartResponse") -> Any:
        service.forget_forms()
        return service.simulator(environ, start)

    service.app = forget_always
    answer = v2(key)
    assert (answer.status, answer.body["error"]) == expected
    assert service.methods == "GET POST POST GET POST"


def test_a_form_older_than_ten_minutes_is_fetched_again(
    service: SimulatedSvair, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    v2(key)
    start = monotonic()
    for seconds in (590, 601, 601):
        monkeypatch.setattr("api_particulier.providers.svair.monotonic", lambda now=start + seconds: now)
        v2(key)
    assert service.methods == "GET POST POST GET POST POST"


def test_a_form_that_returned_an_unreadable_page_is_not_reused(service: SimulatedSvair, key: str) -> None:
    v2(key)
    service.show_page("<p>Votre session a expiré</p>")
    assert v2(key).status == 502
    service.serve_people(COUPLE)
    assert v2(key).status == 200
    assert service.methods == "GET POST POST GET POST"


def test_a_call_reuses_the_form_fetched_by_a_ping(service: SimulatedSvair, key: str) -> None:
    v2(key)
    assert call_api("ping/dgfip").body == "pong"
    assert v2(key).status == 200
    assert service.methods == "GET POST GET POST"


@pytest.mark.parametrize("ending", ["", "/", "/secavis", "/secavis/"])
def test_the_configured_url_may_end_with_the_path_of_the_service(
    ending: str, service: SimulatedSvair, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DGFIP_SVAIR_URL", f"{service.url}{ending}")
    assert v2(key).status == 200


@pytest.mark.parametrize("form", ["<p>Bonjour</p>", "<input name='javax.faces.ViewState' value=''>", "<input>"])
def test_a_form_without_a_state_is_an_invalid_response(
    form: str, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wire.answering(wire.response(form.encode()))() as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")
        assert v2(cloud.issue_key("dgfip_nombre_parts")).body["error"] == "invalid_response"


def test_a_refusal_in_place_of_the_form_is_rate_limited(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    with wire.answering(wire.response(b"<div class='msg interdit'>"))() as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")
        answer = v2(cloud.issue_key("dgfip_nombre_parts"))
    assert (answer.status, answer.body["error"]) == (503, "rate_limited")


# ── The connection ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("losses", "status"), [(1, 200), (2, 503)])
def test_a_request_is_retried_once_when_its_connection_is_lost(
    losses: int, status: int, service: SimulatedSvair, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service may close a kept-alive connection at the moment when it is reused."""
    requests: list[bytes] = []

    def relay(connection: Any, _: Any) -> None:
        while request := wire.read_request(connection):
            requests.append(request)
            if request.startswith(b"POST") and len(requests) <= 1 + losses:
                return
            connection.sendall(_relayed(request, service.simulator))

    with wire.converse(relay) as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        assert v2(key).status == status
    assert [request.split()[0] for request in requests] == [b"GET", b"POST", b"POST"]
    assert requests[1] == requests[2]


def _relayed(request: bytes, app: "WSGIApplication") -> bytes:
    """Answer a request of the wire with an application."""
    from werkzeug.test import Client

    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().splitlines()
    method, path, _ = first.split()
    headers = dict(line.split(": ", 1) for line in lines)
    answered = Client(app, use_cookies=False).open(path, method=method, headers=headers, data=body)
    return wire.response(answered.data, headers={"Set-Cookie": answered.headers.get("Set-Cookie", "")})


def test_a_chunked_page_is_read(cloud: Cloud, service: SimulatedSvair, monkeypatch: pytest.MonkeyPatch) -> None:
    page = render_notice(COUPLE).encode()
    form = b"<input name='javax.faces.ViewState' value='a'>"

    def answer(connection: Any, _: Any) -> None:
        while request := wire.read_request(connection):
            content = page if request.startswith(b"POST") else form
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (content[:11], content[11:]))
            headers = {"Content-Length": "", "Transfer-Encoding": "chunked"}
            connection.sendall(wire.response(b"", headers=headers) + chunks + b"0\r\n\r\n")

    assert service.url
    with wire.converse(answer) as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        key = cloud.issue_key("dgfip_avis_imposition")
        assert [v2(key).text, v2(key).text] == [to_json(NOTICE)] * 2
