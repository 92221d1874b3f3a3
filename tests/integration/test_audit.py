"""The trace of every call: one exact record for each outcome, and no data without it (contract §5)."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from api_particulier.audit import pseudonyms
from api_particulier.audit import record as audit_record
from api_particulier.providers import dgfip
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, event, invoke, new_environment
from tests.support.tax_service import BLANK_PAGE, NOT_FOUND_PAGE, NOTICE, REFUSED_PAGE, TaxService, notice_page
from tests.support.template import resources

UNAVAILABLE = {
    "error": "audit_unavailable",
    "reason": "The audit entry could not be written",
    "message": "La trace de la consultation n'a pas pu être enregistrée, aucune donnée n'est transmise",
}
OF_TOKEN = {"token", "organisation", "siret", "token_day"}
"""Attributes of the token that calls."""
OF_QUESTION = {"citizen", "provider", "provider_ms"}
"""Attributes of the question."""


pytestmark = pytest.mark.usefixtures("dgfip")


def only_record(cloud: Cloud) -> dict[str, Any]:
    (record,) = cloud.audit_records()
    return record


def test_a_record_has_the_token_the_fields_the_citizen_and_the_time(cloud: Cloud) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    key = cloud.issue_key("dgfip_nombre_parts", "dgfip_declarant1_nom", id="jeton-1", habilitation="habilitation-9")
    assert call_api("declarants/v2", key=key, headers={"X-User": "agent.12"}).status == 200
    record = only_record(cloud)
    at = datetime.fromisoformat(record["at"])
    assert before <= at <= datetime.now(UTC)
    assert record == {
        "id": record["id"],
        "at": record["at"],
        "request_id": "5c2f1e0a-0000-4000-8000-000000000001",
        "dataset": "declarants",
        "route": "/api/v2/declarants",
        "address": "203.0.113.7",
        "kind": "dataset",
        "user": "agent.12",
        "token": "jeton-1",
        "organisation": "VILLE EXEMPLE",
        "siret": "13002526500013",
        "habilitation": "habilitation-9",
        "citizen": record["citizen"],
        "provider": "dgfip",
        "provider_ms": record["provider_ms"],
        "released": ["declarant1.nom"],
        "withheld": [
            *(f"declarant1.{name}" for name in ("nomNaissance", "prenoms", "dateNaissance")),
            *(f"declarant2.{name}" for name in ("nom", "nomNaissance", "prenoms", "dateNaissance")),
        ],
        "status": 200,
        "token_day": f"jeton-1#{at:%Y-%m-%d}",
        "expires_at": record["expires_at"],
        "mac": record["mac"],
    }
    assert 0 <= record["provider_ms"] < 60_000


def test_a_field_that_the_notice_does_not_have_is_neither_released_nor_withheld(
    cloud: Cloud, dgfip: TaxService
) -> None:
    dgfip.page = notice_page(
        {name: NOTICE[name] for name in ("declarant1", "nombreParts", "anneeImpots", "anneeRevenus")}
    )
    assert call_api("revenu_fiscal_reference/v2", key=cloud.issue_key("dgfip_annee_impot")).status == 200
    record = only_record(cloud)
    assert (record["released"], record["withheld"]) == (["anneeImpots"], ["nombreParts", "anneeRevenus"])


def good_key(cloud: Cloud) -> str:
    return cloud.issue_key("dgfip_avis_imposition")


def show(status: int, shown: str) -> Callable[[TaxService], None]:
    def prepare(dgfip: TaxService) -> None:
        dgfip.status, dgfip.page = status, shown

    return prepare


@pytest.mark.parametrize(
    ("outcome", "prepare"),
    [
        ((404, "not_found"), show(200, NOT_FOUND_PAGE)),
        ((502, "invalid_response"), show(200, BLANK_PAGE)),
        ((503, "rate_limited"), show(200, REFUSED_PAGE)),
        ((503, "network_error"), show(500, "")),
    ],
)
@pytest.mark.parametrize("door", ["avis_imposition/v1", "avis_imposition/v2"])
def test_a_call_that_the_provider_fails_leaves_a_record(
    cloud: Cloud, dgfip: TaxService, door: str, outcome: tuple[int, str], prepare: Callable[[TaxService], None]
) -> None:
    prepare(dgfip)
    answer = call_api(door, key=good_key(cloud))
    assert (answer.status, answer.body["error"]) == outcome
    assert_refused(cloud, outcome, OF_TOKEN | OF_QUESTION)


@pytest.mark.parametrize(
    ("outcome", "request_it", "present"),
    [
        (
            (400, "bad_request"),
            lambda cloud: call_api("avis_imposition/v2", key=good_key(cloud), numeroFiscal="x"),
            OF_TOKEN,
        ),
        ((401, "access_denied"), lambda _: call_api("avis_imposition/v2", key="unknown"), {"token_day"}),
        (
            (401, "access_denied"),
            lambda cloud: call_api("avis_imposition/v2", key=cloud.issue_key("dgfip_nombre_parts", state="revoked")),
            OF_TOKEN,
        ),
        (
            (403, "forbidden"),
            lambda cloud: call_api("avis_imposition/v2", key=cloud.issue_key("foo", allowed=["198.51.100.0/24"])),
            OF_TOKEN,
        ),
        ((403, "forbidden"), lambda cloud: call_api("avis_imposition/v2", key=cloud.issue_key("foo")), OF_TOKEN),
        (
            (406, "not_acceptable"),
            lambda cloud: call_api("avis_imposition/v1", key=good_key(cloud), headers={"Accept": "text/html"}),
            OF_TOKEN,
        ),
        (
            (404, "not_found"),
            lambda cloud: call_api(
                "avis_imposition/v2",
                key=good_key(cloud),
                numeroFiscal="2690000000001",
                referenceAvis="A690000000001",
            ),
            OF_TOKEN | OF_QUESTION,
        ),
    ],
)
def test_a_refused_call_leaves_a_record(
    cloud: Cloud,
    dgfip: TaxService,
    outcome: tuple[int, str],
    request_it: Callable[[Cloud], Response],
    present: set[str],
) -> None:
    answer = request_it(cloud)
    assert (answer.status, answer.body["error"]) == outcome
    assert_refused(cloud, outcome, present)
    assert dgfip.requests == []


def test_an_unexpected_error_leaves_a_record(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        msg = "2690000000001 TILLEUL"
        raise KeyError(msg)

    monkeypatch.setattr(dgfip, "avis", broken)
    answer = call_api("avis_imposition/v2", key=good_key(cloud))
    assert (answer.status, answer.body["error"]) == (500, "internal_server_error")
    assert_refused(cloud, (500, "internal_server_error"), OF_TOKEN | OF_QUESTION)


def test_data_that_is_not_sent_is_not_recorded_as_released(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dgfip, "avis", lambda _: {"nombreParts": object(), "anneeImpots": "2026"})
    assert call_api("revenu_fiscal_reference/v2", key=good_key(cloud)).status == 500
    assert_refused(cloud, (500, "internal_server_error"), OF_TOKEN | OF_QUESTION)


def assert_refused(cloud: Cloud, outcome: tuple[int, str], present: set[str]) -> None:
    """Check the record of a call without data: it has the attributes of every record and those of ``present``."""
    record = only_record(cloud)
    assert (record["status"], record["error"]) == outcome
    assert (record["address"], record["request_id"]) == ("203.0.113.7", "5c2f1e0a-0000-4000-8000-000000000001")
    assert record["released"] == record["withheld"] == []
    always = {"id", "at", "request_id", "dataset", "route", "address", "kind", "status", "error", "expires_at", "mac"}
    assert record.keys() == always | {"released", "withheld"} | present


def test_introspection_leaves_a_record(cloud: Cloud) -> None:
    assert call_api("introspect/introspect", key=cloud.issue_key("foo")).status == 200
    record = only_record(cloud)
    assert (record["dataset"], record["status"], "citizen" in record) == ("introspect", 200, False)


def test_the_records_of_unknown_keys_are_found_together(cloud: Cloud) -> None:
    call_api("avis_imposition/v2", key="unknown")
    assert str(only_record(cloud)["token_day"]).startswith("unknown#")


# ── No record, no data ───────────────────────────────────────────────────────────────────────────────────────────────


class RefusingTable:
    """A DynamoDB client that refuses writes only."""

    def __init__(self, error: Exception, *, written: bool = False) -> None:
        self._real = boto3.client("dynamodb")
        self._error = error
        self._written = written

    def put_item(self, **item: Any) -> None:
        if self._written:
            self._real.put_item(**item)
        raise self._error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def aws_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "2690000000001"}}, "PutItem")


@pytest.mark.parametrize(
    "error",
    [
        *map(aws_error, ("ProvisionedThroughputExceededException", "AccessDeniedException", "InternalServerError")),
        EndpointConnectionError(endpoint_url="https://dynamodb/2690000000001"),
        ConnectTimeoutError(endpoint_url="https://dynamodb"),
        UnicodeEncodeError("utf-8", "TILLEUL\ud800", 7, 8, "surrogates not allowed"),
        RuntimeError("TILLEUL"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("door", ["avis_imposition/v2", "avis_imposition/v1", "introspect/introspect"])
def test_no_data_is_released_when_the_table_refuses_the_record(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], door: str, error: Exception
) -> None:
    table = RefusingTable(error)
    monkeypatch.setattr(audit_record, "dynamodb", lambda: table)
    answer = call_api(door, key=good_key(cloud))
    assert_unavailable(answer)
    assert cloud.audit_records() == []
    logged = capfd.readouterr()
    assert f'"exception":"{type(error).__name__}"' in logged.out
    assert "TILLEUL" not in logged.out + logged.err
    assert "2690000000001" not in logged.out + logged.err


def test_no_data_is_released_when_the_write_has_no_response(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    table = RefusingTable(ConnectTimeoutError(endpoint_url="https://dynamodb"), written=True)
    monkeypatch.setattr(audit_record, "dynamodb", lambda: table)
    assert_unavailable(call_api("avis_imposition/v2", key=good_key(cloud)))


def test_no_data_is_released_without_an_audit_table(cloud: Cloud) -> None:
    key = good_key(cloud)
    cloud.audit.delete()
    assert_unavailable(call_api("avis_imposition/v2", key=key))
    assert_unavailable(call_api("avis_imposition/v2", key="unknown"))


def test_the_refusal_without_an_audit_is_available_in_xml(cloud: Cloud) -> None:
    key = good_key(cloud)
    cloud.audit.delete()
    answer = call_api("avis_imposition/v1", key=key, headers={"Accept": "application/xml"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert "<error>\n\t<error>audit_unavailable</error>" in answer.text


def test_the_provider_is_not_called_without_a_pseudonym(
    cloud: Cloud, dgfip: TaxService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PSEUDONYM_KEY_ID", "00000000-0000-4000-8000-000000000000")
    assert_unavailable(call_api("avis_imposition/v2", key=good_key(cloud)))
    assert dgfip.requests == []
    assert_refused(cloud, (503, "audit_unavailable"), OF_TOKEN)


def test_the_response_waits_for_the_record(cloud: Cloud, dgfip: TaxService) -> None:
    records_at_the_question: list[int] = []
    dgfip.before_response = lambda: records_at_the_question.append(len(cloud.audit_records()))
    assert call_api("avis_imposition/v2", key=good_key(cloud)).status == 200
    assert records_at_the_question == [0, 0]  # the form, then the notice
    assert only_record(cloud)["released"]


def assert_unavailable(answer: Response) -> None:
    assert (answer.status, answer.body) == (503, UNAVAILABLE)
    assert int(answer.headers["Retry-After"]) > 0


# ── Attributes of a record ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_citizen_has_one_pseudonym_that_no_other_has(cloud: Cloud) -> None:
    key, other_key = good_key(cloud), cloud.issue_key("dgfip_nombre_parts")
    for numero, reference, asked_with in (
        ("2690000000011", "2690000000011", key),
        ("26 90 000 000 011", "2590000000099", other_key),
        ("2690000000012", "2690000000011", key),
    ):
        new_environment()
        call_api("avis_imposition/v2", key=asked_with, numeroFiscal=numero, referenceAvis=reference)
    first, again, other = (record["citizen"] for record in cloud.audit_records())
    assert first == again != other
    assert len(first) == 64


def test_a_pseudonym_cannot_be_made_without_the_key(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    call_api("avis_imposition/v2", key=good_key(cloud), numeroFiscal="2690000000011", referenceAvis="2690000000011")
    another = boto3.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    monkeypatch.setenv("PSEUDONYM_KEY_ID", another["KeyMetadata"]["KeyId"])
    new_environment()
    call_api("avis_imposition/v2", key=good_key(cloud), numeroFiscal="2690000000011", referenceAvis="2690000000011")
    first, second = (record["citizen"] for record in cloud.audit_records())
    assert first != second
    for message in (b"2690000000011", b"dgfip:2690000000011"):
        for algorithm in ("md5", "sha1", "sha256", "sha512", "sha3_256", "blake2s"):
            guesses = {hashlib.new(algorithm, message).hexdigest(), hmac.digest(b"", message, "sha256").hex()}
            assert not guesses & {first, second}


def test_a_month_of_pseudonyms_costs_an_environment_one_call_of_kms(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    derived: list[str] = []

    def derive(*asked: Any) -> bytes:
        derived.append(asked[-1])
        return pseudonyms_derive(*asked)

    pseudonyms_derive = pseudonyms.derive_month_key
    monkeypatch.setattr(pseudonyms, "derive_month_key", derive)
    for number in range(5):
        call_api(
            "avis_imposition/v2", key=good_key(cloud), numeroFiscal=f"269000000001{number}", referenceAvis="2" * 13
        )
    assert derived == [f"{datetime.now(UTC):%Y-%m}"]
    assert len({record["citizen"] for record in cloud.audit_records()}) == 5


@pytest.mark.usefixtures("cloud")
def test_a_citizen_has_another_pseudonym_each_month() -> None:
    before, after = (
        pseudonyms.pseudonym("dgfip:2690000000011", datetime(2026, month, 1, tzinfo=UTC)) for month in (10, 11)
    )
    assert before != after


def test_months_are_counted_over_new_year() -> None:
    since, until = datetime(2025, 11, 30, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert pseudonyms.months(since, until) == ["2025-11", "2025-12", "2026-01", "2026-02"]


def test_a_malformed_number_has_no_pseudonym(cloud: Cloud) -> None:
    call_api("avis_imposition/v2", key=good_key(cloud), numeroFiscal="2690000000011", referenceAvis="?")
    assert "citizen" not in only_record(cloud)


def test_a_record_is_kept_45_days_in_the_table(cloud: Cloud) -> None:
    call_api("avis_imposition/v2", key=good_key(cloud))
    record = only_record(cloud)
    spec = resources("AWS::DynamoDB::Table")["AuditTable"]["TimeToLiveSpecification"]
    assert spec["Enabled"]
    end = datetime.fromtimestamp(int(record[spec["AttributeName"]]), UTC)
    life = end - datetime.fromisoformat(record["at"])
    assert timedelta(days=44) < life <= timedelta(days=45)  # 36 months are those of the archive


def test_records_are_in_the_order_of_the_calls(cloud: Cloud) -> None:
    key = good_key(cloud)
    for number in range(30):
        request = event("introspect/introspect", key=key)
        request["requestContext"]["requestId"] = f"{number:03}"
        invoke(request, "introspect")
    records = cloud.audit_records()
    assert [record["request_id"] for record in records] == [f"{number:03}" for number in range(30)]
    assert {UUID(record["id"]).version for record in records} == {7}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("agent.12", "agent.12"),
        ("  Zoé Agent  ", "Zoé Agent"),
        ("a\x00b\r\nc\td\x1b[31m\N{RIGHT-TO-LEFT OVERRIDE}e\ud800", "abcd[31me"),
        ("é" * 300, "é" * 256),
        ("", None),
        ("\r\n", None),
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_the_agent_is_recorded_as_the_caller_names_it(cloud: Cloud, sent: str, kept: str | None) -> None:
    call_api("introspect/introspect", key=good_key(cloud), headers={"x-user": sent})
    assert only_record(cloud).get("user") == kept
