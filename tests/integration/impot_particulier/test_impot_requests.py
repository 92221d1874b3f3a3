"""Check the requests to API Impôt particulier, our credentials, and the queries refused before any request."""

import json
from base64 import b64decode
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
from pydantic import ValidationError

from api_particulier.settings import settings
from sandbox.simulators import impot_particulier
from tests.support.function import call_api
from tests.support.impot_particulier import BODY, NUMBERS, PATH, SITUATION, ImpotParticulier, put_secret

# ── The request ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_notice_has_the_fields_of_the_contract_in_order(key: str) -> None:
    for generation in ("v2", "v1"):
        answer = call_api(f"avis_imposition/{generation}", key=key)
        assert (answer.status, answer.body) == (200, BODY)
        assert list(answer.body) == list(BODY)


def test_the_request_carries_the_token_a_correlation_id_and_our_service_number(
    key: str, service: ImpotParticulier
) -> None:
    call_api("avis_imposition/v2", key=key)
    granting, question = service.requests
    assert (granting.method, granting.path) == ("POST", "/token")
    kind, _, secret = granting.headers["Authorization"].partition(" ")
    assert (kind, b64decode(secret)) == ("Basic", b"bac-a-sable:le-secret-du-bac-a-sable")
    assert dict(parse_qsl(granting.get_data(as_text=True))) == {
        "grant_type": "client_credentials",
        "scope": "RessourceIR",
    }
    assert (question.method, question.path, question.query_string) == ("GET", PATH, b"")
    assert question.headers["Authorization"].partition(" ")[2] in service.simulator.config["TOKENS"]
    assert question.headers["ID_Teleservice"] == impot_particulier.CLIENT["id_teleservice"]
    assert UUID(question.headers["X-Correlation-ID"]).version == 4


def test_each_request_has_its_own_correlation_id(key: str, service: ImpotParticulier) -> None:
    for _ in range(3):
        call_api("avis_imposition/v2", key=key)
    assert len({request.headers.get("X-Correlation-ID") for request in service.requests if request.path == PATH}) == 3


def test_an_access_token_is_reused(key: str, service: ImpotParticulier) -> None:
    for _ in range(3):
        call_api("avis_imposition/v2", key=key)
    assert service.paths == ["/token", PATH, PATH, PATH]


def test_an_access_token_about_to_expire_is_not_reused(key: str, service: ImpotParticulier) -> None:
    service.simulator.config["TOKEN_SECONDS"] = 20
    for _ in range(2):
        assert call_api("avis_imposition/v2", key=key).status == 200
    assert service.paths == ["/token", PATH] * 2


def test_an_access_token_that_the_service_has_forgotten_is_requested_again(key: str, service: ImpotParticulier) -> None:
    assert call_api("avis_imposition/v2", key=key).status == 200
    service.simulator.config["TOKENS"].clear()
    assert call_api("avis_imposition/v2", key=key).body == BODY
    assert call_api("avis_imposition/v2", key=key).body == BODY
    assert service.paths == ["/token", PATH, PATH, "/token", PATH, PATH]


def test_a_service_that_accepts_no_token_is_called_twice_and_no_more(key: str, service: ImpotParticulier) -> None:
    service.overrides[PATH] = 401, b"{}"
    answer = call_api("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"]) == (503, "rate_limited")
    assert answer.headers["Retry-After"]
    assert service.paths == ["/token", PATH] * 2


@pytest.mark.parametrize("suffix", ["/", "/impotparticulier/1.0", "/impotparticulier/1.0/"])
def test_the_configured_url_may_end_with_the_path_of_the_api(
    key: str, service: ImpotParticulier, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("IMPOT_PARTICULIER_URL", f"{service.url}{suffix}")
    assert call_api("avis_imposition/v2", key=key).body == BODY


# ── Credentials ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_refused_credentials_are_read_again_at_the_next_call(key: str) -> None:
    put_secret(json.dumps(impot_particulier.CLIENT | {"client_secret": "ancien"}))
    refused = call_api("avis_imposition/v2", key=key)
    assert (refused.status, refused.body["error"]) == (503, "rate_limited")
    put_secret(json.dumps(impot_particulier.CLIENT))
    assert call_api("avis_imposition/v2", key=key).status == 200


@pytest.mark.parametrize(
    "secret", ["", "x", "[]", "{}", json.dumps({"client_id": "a", "client_secret": "b"}), '{"client_id": 1}']
)
def test_an_unusable_secret_is_not_configured(
    key: str, service: ImpotParticulier, capfd: pytest.CaptureFixture[str], secret: str
) -> None:
    put_secret(secret or " ")
    answer = call_api("avis_imposition/v2", key=key)
    assert (answer.status, answer.body["error"], answer.headers["Retry-After"]) == (503, "not_configured", "300")
    assert service.requests == []
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    (why,) = [line for line in lines if line["event"] == "not_configured"]
    assert (why["secret"], why["outcome"]) == ("ImpotParticulierClient", "malformed" if secret else "empty")
    assert not [line for line in lines if line["event"] in {"internal_error", "provider_failed"}]


@pytest.mark.parametrize("missing", ["IMPOT_PARTICULIER_URL", "IMPOT_PARTICULIER_SECRET_ID"])
@pytest.mark.parametrize("value", [None, ""])
def test_incomplete_settings_are_refused(
    service: ImpotParticulier, monkeypatch: pytest.MonkeyPatch, missing: str, value: str | None
) -> None:
    assert service.url
    if value is None:
        monkeypatch.delenv(missing)
    else:
        monkeypatch.setenv(missing, value)
    with pytest.raises(ValidationError):
        settings()


@pytest.mark.parametrize("url", ["http://impots.exemple.fr", "http://10.0.0.1", "ftp://127.0.0.1", "impots.exemple.fr"])
def test_a_plain_http_url_is_refused(service: ImpotParticulier, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert service.url
    monkeypatch.setenv("IMPOT_PARTICULIER_URL", url)
    with pytest.raises(ValidationError):
        settings()


# ── The notice's reference ───────────────────────────────────────────────────────────────────────────────────────────


def test_only_the_year_of_the_reference_is_checked(key: str) -> None:
    """The service is not asked with it and does not return it (docs/decisions/0007-impot-particulier.md)."""
    other, another_year = "26ZZZZZZZZZZZ", "2590000000001"
    spi = NUMBERS["numeroFiscal"]
    assert call_api("avis_imposition/v2", key=key, numeroFiscal=spi, referenceAvis=other).body == BODY
    assert call_api("avis_imposition/v2", key=key, numeroFiscal=spi, referenceAvis=another_year).status == 404


@pytest.mark.parametrize(("established", "status"), [("2025-12-31", 404), ("2026-01-01", 200), ("2027-03-01", 200)])
def test_a_notice_older_than_the_year_of_its_reference_is_not_found(
    key: str, service: ImpotParticulier, established: str, status: int
) -> None:
    service.answer_with(SITUATION | {"datEtab": established})
    assert call_api("avis_imposition/v2", key=key).status == status


def test_an_unavailable_year_is_refused_before_the_service_is_called(
    key: str, service: ImpotParticulier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "1")
    old = call_api("avis_imposition/v2", key=key, numeroFiscal="2690000000001", referenceAvis="1990000000001")
    assert old.status == 404
    assert service.requests == []
