"""Read the responses and errors of API Impôt particulier, and leave no trace of the citizen."""

import json
from typing import Any

import pytest

from sandbox.simulators import impot_particulier
from tests.support import wire
from tests.support.cloud import Cloud
from tests.support.function import call_api, new_environment, shorten_timeouts
from tests.support.impot_particulier import BODY, PATH, SITUATION, ImpotParticulier

pytestmark = pytest.mark.slow


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def refusal(message: str, codeapp: object = None) -> bytes:
    return json.dumps({"erreur": {"message": message} | ({"codeapp": codeapp} if codeapp else {})}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (204, b"", (404, "not_found")),
        (404, refusal("aucune situation"), (404, "not_found")),
        (410, refusal("", "4102"), (404, "not_found")),
        (400, refusal("format SPI incorrect"), (404, "not_found")),
        (400, refusal("", "4001"), (404, "not_found")),
        (400, refusal("", 4001), (404, "not_found")),
        (400, refusal("X-Correlation-ID incorrect"), (502, "invalid_response")),
        (400, b"Bad Request", (502, "invalid_response")),
        (400, b'{"rfr": 1}', (502, "invalid_response")),
        (301, b"{}", (502, "invalid_response")),
        (406, b"{}", (502, "invalid_response")),
        (403, refusal("accès refusé", "4031"), (404, "not_found")),
        (200, b"<!doctype html><title>Maintenance</title>", (503, "network_error")),
        (429, b"{}", (503, "rate_limited")),
        (500, b"{}", (503, "network_error")),
        (503, b"{}", (503, "network_error")),
    ],
)
def test_each_error_of_the_service_has_its_error(
    key: str, service: ImpotParticulier, status: int, body: bytes, expected: tuple[int, str]
) -> None:
    service.overrides[PATH] = status, body
    answer = call_api("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"error": "invalid_scope"}', (503, "rate_limited")),
        (400, b"<html>", (502, "invalid_response")),
        (401, b'{"error": "invalid_client"}', (503, "rate_limited")),
        (401, b"", (503, "rate_limited")),
        (403, b"{}", (503, "rate_limited")),
        (429, b"{}", (503, "rate_limited")),
        (404, b"{}", (502, "invalid_response")),
        (302, b"{}", (502, "invalid_response")),
        (500, b"{}", (503, "network_error")),
        (200, b"", (502, "invalid_response")),
        (200, b"<html>", (502, "invalid_response")),
        (200, b"[]", (502, "invalid_response")),
        (200, b'{"access_token": "a"}', (502, "invalid_response")),
        (200, b'{"access_token": "", "token_type": "Bearer"}', (502, "invalid_response")),
        (200, b'{"access_token": "a\\r\\nX-A: b", "token_type": "Bearer"}', (502, "invalid_response")),
        (200, b'{"access_token": "\\u00e9", "token_type": "Bearer"}', (502, "invalid_response")),
        (200, b'{"access_token": 1, "token_type": "Bearer"}', (502, "invalid_response")),
        (200, b'{"access_token": "a", "token_type": "mac"}', (502, "invalid_response")),
        (200, b'{"access_token": "a", "token_type": "Bearer", "expires_in": -1}', (502, "invalid_response")),
        (200, b'{"access_token": "a", "token_type": "Bearer", "expires_in": "x"}', (502, "invalid_response")),
    ],
)
def test_without_an_access_token_no_notice_is_requested(
    key: str, service: ImpotParticulier, status: int, body: bytes, expected: tuple[int, str]
) -> None:
    service.overrides["/token"] = status, body
    answer = call_api("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == expected
    assert service.paths == ["/token"]


def test_an_access_token_without_a_lifetime_is_used_once(key: str, service: ImpotParticulier) -> None:
    service.simulator.config["TOKENS"]["a"] = float("inf")
    service.overrides["/token"] = 200, b'{"access_token": "a", "token_type": "bearer"}'
    for _ in range(2):
        assert call_api("avis_imposition/v2", key=key).status == 200
    assert service.paths == ["/token", PATH] * 2


GRANTED = wire.response(b'{"access_token": "a", "token_type": "Bearer", "expires_in": 3600}')


def reset(connection: Any, _: Any) -> None:
    connection.shutdown(2)


def wait(_: Any, over: Any) -> None:
    over.wait()


def cut_short(connection: Any, _: Any) -> None:
    connection.sendall(wire.response(b'{"rfr": 1', headers={"Content-Length": "999"}))


def drip(connection: Any, over: Any) -> None:
    connection.sendall(wire.response(b"", headers={"Content-Length": "999"}))
    while not over.wait(wire.DRIP_SECONDS):
        connection.sendall(b" ")


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        (reset, (503, "network_error")),
        (wait, (503, "network_error")),
        (drip, (503, "network_error")),
        (cut_short, (502, "invalid_response")),
    ],
)
@pytest.mark.usefixtures("service")
def test_a_service_that_fails_after_its_token_is_a_provider_error(
    key: str, monkeypatch: pytest.MonkeyPatch, fail: wire.Conversation, expected: tuple[int, str]
) -> None:
    """The failures of ``tests/contract/test_provider_failures.py`` come before the access token."""

    def talk(connection: Any, over: Any) -> None:
        while request := wire.read_request(connection):
            if not request.startswith(b"POST /token "):
                return fail(connection, over)
            connection.sendall(GRANTED)
        return None

    if fail in {wait, drip}:
        shorten_timeouts(monkeypatch)
    with wire.converse(talk) as url:
        monkeypatch.setenv("IMPOT_PARTICULIER_URL", url)
        answer = call_api("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == expected


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "HTML": b"<!doctype html><title>Bienvenue</title>",
    "another encoding": json.dumps(SITUATION, ensure_ascii=False).encode("latin-1"),
    "a truncated document": json.dumps(SITUATION).encode()[:-1],
    "a bottomless document": b'{"rev":' + b"[" * 100_000,
    "a list": json.dumps([SITUATION]).encode(),
    "null": b"null",
    "nothing known": b'{"fipNum": "1"}',
    **{
        f"{name}: {json.dumps(value)[:20]}": json.dumps(SITUATION | {name: value}).encode()
        for name, value in [
            ("rfr", "39119"),
            ("rfr", 39119.5),
            ("rfr", True),
            ("rfr", 10**400),
            ("montTotIr", []),
            ("nbPart", "2.5"),
            ("nbPart", -1),
            ("nbPart", float("nan")),
            ("nbPart", float("inf")),
            ("sitFam", 1),
            ("pac", 1),
            ("pac", {"nbPac": 1.5}),
            ("pac", {"nbPac": -1}),
            ("nmNaiDec1", ["A"]),
            ("nmNaiDec1", "\ud800"),
            ("dateNaisDec1", "02/05/1971"),
            ("dateNaisDec1", {"jour": "02", "mois": "mai", "annee": "1971"}),
            ("dateNaisDec1", {"jour": "02"}),
            ("dateNaisDec1", {"jour": 2, "mois": 5, "annee": 1971}),
            ("datRec", "hier"),
            ("datEtab", 20260708),
            ("datEtab", "٢٠٢٦-٠٧-٠٨"),
            ("aft", {"voie": "x"}),
        ]
    },
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_response_is_an_invalid_response(key: str, service: ImpotParticulier, what: str) -> None:
    service.overrides[PATH] = 200, MALFORMED[what]
    answer = call_api("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == (502, "invalid_response")


# ── Responses ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("written", ["2026-07-31", "2026-07-31T00:00:00.000+02:00", "20260731", "31/07/2026"])
def test_a_date_is_read_in_each_of_its_formats(key: str, service: ImpotParticulier, written: str) -> None:
    service.answer_with(SITUATION | {"datRec": written})
    assert call_api("avis_imposition/v2", key=key).body["dateRecouvrement"] == "31/07/2026"


def test_a_date_of_birth_is_written_in_full(key: str, service: ImpotParticulier) -> None:
    service.answer_with(SITUATION | {"dateNaisDec1": {"jour": "2", "mois": "5", "annee": "1971"}})
    assert call_api("declarants/v2", key=key).body["declarant1"]["dateNaissance"] == "02/05/1971"


@pytest.mark.parametrize(("number", "text"), [(2, "2"), (2.0, "2"), (2.5, "2.5"), (1.25, "1.25"), (0, "0")])
def test_a_whole_number_of_parts_is_whole(key: str, service: ImpotParticulier, number: float, text: str) -> None:
    service.answer_with(SITUATION | {"nbPart": number})
    assert f'"nombreParts":{text},' in call_api("revenu_fiscal_reference/v2", key=key).text


@pytest.mark.parametrize("missing", [None, "absent"])
def test_missing_members_are_absent_fields(key: str, service: ImpotParticulier, missing: str | None) -> None:
    known = {"rfr", "nmNaiDec1"}
    service.answer_with({name: value if name in known else None for name, value in SITUATION.items()})
    if missing:
        service.answer_with({name: value for name, value in SITUATION.items() if name in known})
    assert call_api("avis_imposition/v2", key=key).body == {
        "declarant1": {"nom": "CHARME", "nomNaissance": "CHARME"},
        "declarant2": dict.fromkeys(("nom", "nomNaissance", "prenoms", "dateNaissance"), ""),
        "revenuFiscalReference": 39119,
        "foyerFiscal": {"annee": 2026},
        "anneeImpots": "2026",
        "anneeRevenus": "2025",
    }


def test_a_tax_that_is_nothing_or_less_is_null_and_an_income_of_zero_is_zero(
    key: str, service: ImpotParticulier
) -> None:
    """A notice prints "Non imposable"."""
    service.answer_with(SITUATION | {"montTotIr": 0, "impAvImput": -1350, "rfr": 0, "revImposable": -12})
    body = call_api("avis_imposition/v2", key=key).body
    assert (body["montantImpot"], body["impotRevenuNetAvantCorrections"]) == (None, None)
    assert (body["revenuFiscalReference"], body["revenuImposable"]) == (0, -12)


BLANK = [("datRec", "-"), ("datEtab", ""), ("sitFam", "Z"), ("sitFam", " "), ("datRec", " - ")]


@pytest.mark.parametrize(("member", "value"), BLANK)
def test_a_blank_a_dash_or_an_unlisted_code_is_null_in_v2_and_absent_in_v1(
    key: str, service: ImpotParticulier, member: str, value: str
) -> None:
    service.answer_with(SITUATION | {member: value})
    name = {"datRec": "dateRecouvrement", "datEtab": "dateEtablissement", "sitFam": "situationFamille"}[member]
    assert call_api("avis_imposition/v2", key=key).body == BODY | {name: None}
    assert call_api("avis_imposition/v1", key=key).body == {key: BODY[key] for key in BODY if key != name}


@pytest.mark.parametrize("name", [None, "", " ", "-"])
def test_a_missing_use_name_is_the_birth_name_as_a_notice_prints_it(
    key: str, service: ImpotParticulier, name: str | None
) -> None:
    service.answer_with(SITUATION | {"nmUsaDec1": name, "nmUsaDec2": name})
    body = call_api("declarants/v2", key=key).body
    assert (body["declarant1"]["nom"], body["declarant2"]["nom"]) == ("CHARME", "ORME")


def test_a_member_that_the_token_does_not_open_never_fails_its_response(
    cloud: Cloud, service: ImpotParticulier
) -> None:
    key = cloud.issue_key("dgfip_declarant1_nom")
    service.answer_with(SITUATION | {"rfr": "?", "datEtab": "hier", "nbPart": [], "pac": 1, "aft": {}, "sitFam": 3})
    answer = call_api("avis_imposition/v2", key=key)
    assert (answer.status, answer.body) == (200, {"declarant1": {"nom": "TILLEUL"}})


def test_unused_members_of_a_response_are_not_validated(key: str, service: ImpotParticulier) -> None:
    service.answer_with(
        SITUATION | {"rev": "?", "sitPart": 1, "pac": {"nbPac": 1, "nbPacF": "x"}, "numRole": [], "new": {}}
    )
    assert call_api("avis_imposition/v2", key=key).body == BODY


# ── Confidentiality and ping ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_citizen_is_never_logged(
    cloud: Cloud,
    key: str,
    service: ImpotParticulier,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [call_api("avis_imposition/v2", key=key)]
    for status in (204, 400, 401, 403, 404, 500):
        service.overrides[PATH] = status, refusal("2690000000001")
        answers.append(call_api("avis_imposition/v2", key=key))
    service.answer_with(SITUATION | {"rfr": "TILLEUL"})
    answers.append(call_api("avis_imposition/v2", key=key))
    new_environment()
    with wire.refusing() as url:
        monkeypatch.setenv("IMPOT_PARTICULIER_URL", url)
        answers.append(call_api("avis_imposition/v2", key=key))
    written = "".join(capfd.readouterr()) + str(cloud.audit_records()) + "".join(answer.text for answer in answers[1:])
    assert "provider_failed" in written
    token = next(iter(service.simulator.config["TOKENS"]))
    for secret in ("2690000000001", "TILLEUL", "39119", "/spi/", token, *impot_particulier.CLIENT.values()):
        assert secret not in written


def test_a_ping_requests_an_access_token_only(key: str, service: ImpotParticulier) -> None:
    assert key
    assert call_api("ping/dgfip").body == "pong"
    assert service.paths == ["/token"]


def test_a_ping_fails_when_the_service_refuses_our_credentials(service: ImpotParticulier) -> None:
    service.overrides["/token"] = 401, b"{}"
    assert call_api("ping/dgfip").status == 503
