"""``/api/citoyen/acces``: the accesses to a citizen's data, shown for the numbers of that citizen only."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from os import environ
from typing import Any

import boto3
import pytest
import time_machine
from click.testing import CliRunner, Result

from api_particulier.audit import access_log, pseudonyms
from api_particulier.audit.bucket import Bucket
from api_particulier.audit.mac import OPERATOR, Marks
from api_particulier.audit.record import DATASET, AuditRecord, write
from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Table
from api_particulier.errors import UnknownNotice
from ops.cli.main import main
from ops.deployment import Deployment
from tests.support import caf as family
from tests.support.caf import Caf
from tests.support.cloud import SEALS_BUCKET, Cloud
from tests.support.function import Response, call_api, event, invoke, new_environment
from tests.support.history import id_at
from tests.support.tax_service import NOT_FOUND_PAGE, REFUSED_PAGE, TaxService

CITIZEN: dict[str, Any] = {"numeroFiscal": "2690000000011", "referenceAvis": "2690000000022"}
NEIGHBOUR: dict[str, Any] = {"numeroFiscal": "2690000000012", "referenceAvis": "2690000000022"}
UNKNOWN = UnknownNotice().body


pytestmark = [pytest.mark.usefixtures("dgfip"), pytest.mark.slow]


def accesses(address: str = "203.0.113.7", **numbers: str) -> Response:
    """Call the API as a citizen does."""
    made = event("citizen_access/avis")
    made["multiValueQueryStringParameters"] = {name: [value] for name, value in numbers.items()}
    made["requestContext"]["identity"]["sourceIp"] = address
    return invoke(made, "citizen_access")


def accesses_of(**numbers: str) -> list[dict[str, Any]]:
    answer = accesses(**numbers)
    assert answer.status == 200
    assert answer.body["total"] == sum(access["nombre"] for access in answer.body["acces"])
    found: list[dict[str, Any]] = answer.body["acces"]
    return found


def town(cloud: Cloud, *scopes: str, **changes: Any) -> str:
    return cloud.issue_key(*scopes, organisation="VILLE EXEMPLE", siret="21000015400018", **changes)


# ── Accesses ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_access_has_its_date_administration_purpose_and_fields(cloud: Cloud) -> None:
    key = town(cloud, "dgfip_nombre_parts", "dgfip_annee_impot", purpose="Tarif de la cantine")
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert call_api("revenu_fiscal_reference/v2", key=key, **CITIZEN).status == 200
    (access,) = accesses_of(**CITIZEN)
    assert before <= datetime.fromisoformat(access.pop("date")) <= datetime.now(UTC)
    assert access == {
        "administration": "VILLE EXEMPLE",
        "siret": "21000015400018",
        "finalite": "Tarif de la cantine",
        "accord": None,
        "jeuDeDonnees": "revenu_fiscal_reference",
        "champs": ["nombreParts", "anneeImpots"],
        "statut": 200,
        "nombre": 1,
    }


def test_the_latest_access_is_first_and_a_refused_one_has_no_field(cloud: Cloud, dgfip: TaxService) -> None:
    key = town(cloud, "dgfip_nombre_parts")
    call_api("avis_imposition/v1", key=key, **CITIZEN)
    shown, dgfip.page = dgfip.page, REFUSED_PAGE
    call_api("declarants/v2", key=cloud.issue_key("dgfip_declarant1_nom"), **CITIZEN)
    dgfip.page = shown
    found = accesses_of(**CITIZEN)
    assert [(access["jeuDeDonnees"], access["statut"], access["champs"], access["finalite"]) for access in found] == [
        ("declarants", 503, [], None),
        ("avis_imposition", 200, ["nombreParts"], None),
    ]


def test_a_record_that_the_right_to_write_in_the_table_forged_is_neither_shown_nor_counted(cloud: Cloud) -> None:
    call_api("avis_imposition/v2", key=town(cloud, "dgfip_nombre_parts"), **CITIZEN)
    (genuine,) = [record for record in cloud.audit_records() if record["kind"] == DATASET]
    forgeries: list[dict[str, Any]] = [
        {"id": id_at(datetime.now(UTC), 1)},  # another record's MAC
        {"id": id_at(datetime.now(UTC), 2), "mac": "A" * 43},
        {"id": id_at(datetime.now(UTC), 3), "mac": None},
        {"id": id_at(datetime.now(UTC), 4), "at": "yesterday"},
        {"id": id_at(datetime.now(UTC), 5), "kind": OPERATOR, "organisation": "VILLE INVENTÉE"},
    ]
    for changes in forgeries:
        cloud.audit.put_item(Item={name: value for name, value in (genuine | changes).items() if value is not None})
    cloud.audit.put_item(Item=genuine | {"organisation": "AUTRE VILLE", "token_day": "another#2026-01-01"})
    (access,) = accesses_of(**CITIZEN)  # which compares the total with the rows
    assert access["administration"] == "VILLE EXEMPLE"


def test_records_that_dynamodb_leaves_unread_are_asked_for_again(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        call_api("avis_imposition/v2", key=town(cloud, "dgfip_nombre_parts"), **CITIZEN)
    read, left = dynamodb().batch_get_item, list[int]()

    def read_one(**request: Any) -> Any:
        ((table, asked),) = request["RequestItems"].items()
        response = read(RequestItems={table: asked | {"Keys": asked["Keys"][:1]}})
        others = asked["Keys"][1:]
        left.append(len(others))
        return response | {"UnprocessedKeys": {table: asked | {"Keys": others}} if others else {}}

    monkeypatch.setattr(dynamodb(), "batch_get_item", read_one)
    assert sum(access["nombre"] for access in accesses_of(**CITIZEN)) == 3
    assert left == [2, 1, 0]


def test_accesses_to_another_citizen_are_not_shown(cloud: Cloud) -> None:
    key = town(cloud, "dgfip_nombre_parts")
    assert call_api("avis_imposition/v2", key=key, **CITIZEN).status == 200
    assert accesses_of(**NEIGHBOUR) == []
    assert len(accesses_of(**CITIZEN)) == 1


def test_accesses_are_found_with_any_notice_of_the_citizen(cloud: Cloud) -> None:
    call_api("avis_imposition/v2", key=town(cloud, "dgfip_nombre_parts"), **CITIZEN)
    assert len(accesses_of(numeroFiscal="26 90 000 000 011", referenceAvis="2590000000033")) == 1


@pytest.mark.usefixtures("caf")
def test_accesses_to_a_family_are_found_with_its_number_and_postcode(cloud: Cloud) -> None:
    call_api("quotient_familial/v2", key=town(cloud, "cnaf_quotient_familial"), **family.NUMBERS)
    (access,) = accesses_of(**family.NUMBERS)
    assert (access["jeuDeDonnees"], access["champs"]) == ("quotient_familial", ["quotientFamilial", "mois", "annee"])


@pytest.mark.parametrize(
    ("before", "after", "is_found"),
    [
        ("75011", "75020", True),
        ("97120", "97190", True),
        ("20090", "20137", True),
        ("20090", "20200", False),
        ("97120", "97220", False),
        ("75011", "92120", False),
    ],
)
def test_a_family_that_moves_within_its_caf_finds_its_earlier_accesses(
    cloud: Cloud, caf: Caf, before: str, after: str, *, is_found: bool
) -> None:
    """The CAF of another département gives another number, and may have given this one to another family."""
    caf.families = [family.FAMILY.model_copy(update={"code_postal": before})]
    call_api(
        "quotient_familial/v2", key=town(cloud, "cnaf_quotient_familial"), **family.NUMBERS | {"codePostal": before}
    )
    caf.families = [family.FAMILY.model_copy(update={"code_postal": after})]
    assert len(accesses_of(**family.NUMBERS | {"codePostal": after})) == is_found


@pytest.mark.parametrize("code", [101, 111, 132, 141, 151, 161])
def test_a_family_whose_file_is_closed_still_reads_who_consulted_it(cloud: Cloud, caf: Caf, code: int) -> None:
    call_api("quotient_familial/v2", key=town(cloud, "cnaf_quotient_familial"), **family.NUMBERS)
    caf.families = [family.FAMILY.model_copy(update={"reponse": code})]
    assert len(accesses_of(**family.NUMBERS)) == 1


def write_access(at: datetime, **changes: Any) -> None:
    """Write the audit record of an access at a moment, as a dataset's function did then."""
    entry = AuditRecord(at, "r", "avis_imposition", "/api/impots/svair", "203.0.113.7", DATASET)
    entry.organisation, entry.siret, entry.token, entry.status = "VILLE EXEMPLE", "21000015400018", "jeton", 200
    entry.citizen, entry.id = pseudonyms.pseudonym(f"dgfip:{CITIZEN['numeroFiscal']}", at), id_at(at)
    for name, value in changes.items():
        setattr(entry, name, value)
    write(entry)


def test_accesses_that_differ_by_their_hour_alone_are_one_row(cloud: Cloud) -> None:
    noon = datetime(2026, 11, 12, 12, tzinfo=UTC)
    for minute in range(3):
        write_access(noon + timedelta(minutes=minute))
    write_access(noon + timedelta(minutes=5), released=["nombreParts"])
    write_access(noon + timedelta(minutes=6), status=404)
    write_access(noon + timedelta(minutes=7), organisation="AUTRE VILLE")
    write_access(noon + timedelta(minutes=8), purpose="Autre fin")
    write_access(noon - timedelta(days=1))
    assert cloud.audit_records()
    with time_machine.travel(noon + timedelta(days=10), tick=True):
        body = accesses(**CITIZEN).body
    assert (body["total"], [access["nombre"] for access in body["acces"]]) == (8, [1, 1, 1, 1, 3, 1])
    assert datetime.fromisoformat(body["acces"][4]["date"]) == noon + timedelta(minutes=2)


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    ("limit", "value", "pages"), [("_ROWS", 2, [2, 2, 1]), ("_RECORDS", 3, [3, 2]), ("_BYTES", 500, [3, 2])]
)
def test_a_page_ends_at_its_caps_and_the_next_one_follows(
    limit: str, value: int, pages: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, limit, value)
    now = datetime.now(UTC)
    moments = [now - timedelta(seconds=age + 1) for age in range(5)]
    for number, moment in enumerate(moments):
        write_access(moment, purpose=f"fin {number}")
    shown: list[str] = []
    body: dict[str, Any] = {}
    cursor: dict[str, str] = {}
    for expected in pages:
        body = accesses(**CITIZEN, **cursor).body
        assert (body["total"], len(body["acces"])) == (5, expected)
        shown += [access["finalite"] for access in body["acces"]]
        cursor = {"suivant": body["suivant"]}
    assert (shown, body["suivant"]) == ([f"fin {number}" for number in range(5)], None)


@pytest.mark.parametrize("cursor", ["x", "2026-11.x", "2026-11." + "0" * 37])
def test_a_cursor_of_no_page_is_refused_before_the_provider_is_called(
    cloud: Cloud, dgfip: TaxService, cursor: str
) -> None:
    answer = accesses(**CITIZEN, suivant=cursor)
    assert (answer.status, answer.body["error"], dgfip.requests) == (400, "bad_request", [])
    assert "citizen" not in cloud.audit_records()[0]


# ── Other citizens ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_wrong_numbers_get_the_response_of_an_unknown_notice(cloud: Cloud, dgfip: TaxService) -> None:
    key = town(cloud, "dgfip_nombre_parts")
    assert call_api("avis_imposition/v2", key=key, **CITIZEN).status == 200
    dgfip.page = NOT_FOUND_PAGE
    refused, unknown = accesses(**CITIZEN), accesses(**NEIGHBOUR)
    assert (refused.status, refused.body) == (unknown.status, unknown.body) == (404, UNKNOWN)
    assert refused.body == call_api("avis_imposition/v2", key=key, **CITIZEN).body


@pytest.mark.parametrize("reponse", [131, 133])
def test_the_refusal_of_a_family_does_not_show_which_number_is_wrong(caf: Caf, cloud: Cloud, reponse: int) -> None:
    caf.families = [family.FAMILY.model_copy(update={"reponse": reponse})]
    refused = call_api("quotient_familial/v2", key=town(cloud, "cnaf_quotient_familial"), **family.NUMBERS)
    assert refused.body["message"] != UNKNOWN["message"]
    answer = accesses(**family.NUMBERS)
    assert (answer.status, answer.body) == (404, UNKNOWN)


@pytest.mark.parametrize(
    "numbers",
    [
        {"numeroFiscal": "2690000000011"},
        {"referenceAvis": "2690000000022"},
        {"numeroAllocataire": "2600001"},
        {"codePostal": "75011", "numeroAllocataire": "x"},
        {"format": "json"},
        CITIZEN | {"codePostal": "75011"},
    ],
)
def test_missing_or_malformed_numbers_are_refused_before_the_provider_is_called(
    cloud: Cloud, dgfip: TaxService, numbers: dict[str, str]
) -> None:
    answer = accesses(**numbers)
    assert (answer.status, answer.body["error"]) == (400, "bad_request")
    assert dgfip.requests == []
    assert "citizen" not in cloud.audit_records()[0]


@pytest.mark.usefixtures("cloud")
def test_a_provider_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGFIP_SVAIR_URL", "http://127.0.0.1:1")
    answer = accesses(**CITIZEN)
    assert (answer.status, answer.body["error"]) == (503, "network_error")


def test_an_audit_that_cannot_be_read_whole_is_an_error(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    call_api("avis_imposition/v2", key=town(cloud, "dgfip_nombre_parts"), **CITIZEN)
    derive = pseudonyms.derive_month_key
    monkeypatch.setattr(pseudonyms, "derive_month_key", lambda kms, _, month: derive(kms, "nowhere", month))
    assert accesses(**CITIZEN).status == 500


@pytest.mark.usefixtures("cloud")
def test_an_archive_that_has_lost_its_last_months_is_an_error() -> None:
    assert accesses(**CITIZEN).status == 200
    boto3.client("s3").put_object(Bucket=SEALS_BUCKET, Key="access/2024-02/manifest.json", Body=b"{}")
    answer = accesses(**CITIZEN)
    assert (answer.status, answer.body["error"]) == (503, "audit_unavailable")
    assert "Retry-After" in answer.headers


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("accept", ["text/html", "*/*", "application/json"])
def test_the_response_is_json_for_a_browser_too(accept: str) -> None:
    request = event("citizen_access/avis", headers={"Accept": accept})
    request["multiValueQueryStringParameters"] = {name: [value] for name, value in CITIZEN.items()}
    response = invoke(request, "citizen_access")
    assert (response.status, response.body["acces"]) == (200, [])
    assert response.headers["Content-Type"].startswith("application/json")


def log_at(now: datetime) -> dict[str, Any]:
    bucket = Bucket(boto3.client("s3"), SEALS_BUCKET)
    table = Table(boto3.client("dynamodb"), "audit")
    kms = boto3.client("kms")
    marks = Marks(kms, environ["ENTRY_KEY_ID"], environ["OPERATOR_KEY_ID"])
    found = access_log.Accesses(table, bucket, kms, [environ["PSEUDONYM_KEY_ID"]], marks)
    return access_log.access_log(found, f"dgfip:{CITIZEN['numeroFiscal']}", now)


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        ("2026-07-15T15:30", "2023-07-15", "2026-07-15"),  # 36 months are 1,095 days and 18 hours
        ("2026-07-15T16:30", "2023-07-16", "2026-07-15"),
        ("2026-07-15T22:30", "2023-07-16", "2026-07-16"),
    ],
)
def test_the_period_is_in_days_of_paris(now: str, first: str, last: str) -> None:
    assert log_at(datetime.fromisoformat(f"{now}+00:00"))["periode"] == {"debut": first, "fin": last}


@pytest.mark.usefixtures("cloud")
def test_an_access_after_the_period_is_not_in_it() -> None:
    at = datetime(2026, 7, 15, 12, tzinfo=UTC)
    write_access(at)
    hour = timedelta(hours=1)
    assert [log_at(now)["total"] for now in (at - hour, at, at + hour)] == [0, 0, 1]
    assert [len(log_at(now)["acces"]) for now in (at - hour, at, at + hour)] == [0, 0, 1]


# ── Limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def guesses(count: int, address: str = "198.51.100.{}") -> list[int]:
    """Try wrong references for the citizen's number, from one address or from one each; return the statuses."""
    wrong = [CITIZEN | {"referenceAvis": f"26900000000{number:02}"} for number in range(count)]
    return [accesses(address.format(number), **query).status for number, query in enumerate(wrong)]


def test_a_strangers_tries_for_a_number_do_not_lock_the_citizen_out(
    cloud: Cloud, dgfip: TaxService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITIZEN_TRIES_BY_CITIZEN", "3")
    page, dgfip.page = dgfip.page, NOT_FOUND_PAGE
    assert guesses(6, "203.0.113.9") == [404] * 3 + [429] * 3
    refused = accesses("203.0.113.9", **CITIZEN)
    assert (refused.body["error"], int(refused.headers["Retry-After"]) <= 3600) == ("rate_limited", True)
    dgfip.page = page
    assert [accesses(**CITIZEN).status for _ in range(4)] == [200] * 3 + [429]
    assert cloud.audit_records()


def test_the_tries_for_a_number_are_limited_from_all_addresses_together(
    dgfip: TaxService, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITIZEN_TRIES_BY_CITIZEN", "3")
    dgfip.page = NOT_FOUND_PAGE
    assert guesses(32) == [404] * 30 + [429] * 2
    assert accesses(**NEIGHBOUR).status == 404
    assert len(cloud.audit_records()) == 33  # the first refusal of each address


def test_the_refusals_of_an_address_and_an_hour_leave_one_record(cloud: Cloud, dgfip: TaxService) -> None:
    dgfip.page = NOT_FOUND_PAGE
    assert guesses(5, "203.0.113.9") == [404] * 5
    assert accesses("203.0.113.9").status == 400
    assert [record["status"] for record in cloud.audit_records()] == [404]
    accesses("203.0.113.10", **CITIZEN)
    assert [record["status"] for record in cloud.audit_records()] == [404] * 2


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    ("same", "other"),
    [(("203.0.113.7", "203.0.113.7"), "203.0.113.8"), (("2001:db8::1", "2001:db8::2:1"), "2001:db8:0:1::1")],
)
def test_the_attempts_of_an_address_are_limited_for_all_numbers_together(
    monkeypatch: pytest.MonkeyPatch, same: tuple[str, str], other: str
) -> None:
    monkeypatch.setenv("CITIZEN_TRIES_BY_ADDRESS", "4")
    tried = [
        accesses(same[number % 2], numeroFiscal=f"269000000001{number}", referenceAvis="2" * 13) for number in range(5)
    ]
    assert [response.status for response in tried] == [200] * 4 + [429]
    assert accesses(other, **CITIZEN).status == 200


def test_attempts_that_cannot_be_counted_are_refused(cloud: Cloud, dgfip: TaxService) -> None:
    cloud.stats.delete()
    assert accesses(**CITIZEN).status == 500
    assert dgfip.requests == []
    assert cloud.audit_records()[0]["status"] == 500


# ── The audit of these requests ──────────────────────────────────────────────────────────────────────────────────────


def test_the_request_of_a_citizen_is_audited_without_its_address(cloud: Cloud) -> None:
    assert accesses(**CITIZEN).status == 200
    (entry,) = cloud.audit_records()
    assert (entry["kind"], entry["dataset"], entry["status"]) == ("citizen", "citizen_access", 200)
    assert (entry["provider"], "token" in entry) == ("dgfip", False)
    assert (len(entry["address"]), len(entry["citizen"])) == (64, 64)
    kept = repr([table.scan()["Items"] for table in (cloud.audit, cloud.stats)])
    assert not [value for value in ("203.0.113.7", *CITIZEN.values()) if value in kept]


def test_without_its_audit_record_no_access_is_shown(cloud: Cloud) -> None:
    cloud.audit.delete()
    assert accesses(**CITIZEN).status in {500, 503}


@pytest.mark.usefixtures("cloud")
def test_without_kms_no_access_is_shown_and_no_address_is_kept(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSEUDONYM_KEY_ID", "nowhere")
    answer = accesses(**CITIZEN)
    assert (answer.status, answer.body["error"]) == (503, "audit_unavailable")
    assert cloud.audit_records()[0]["address"] == ""


# ── Rotation of the pseudonym key, and the operator ──────────────────────────────────────────────────────────────────


def rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the KMS key of pseudonyms and keep the former ones, as docs/operations/audit.md describes."""
    before = ",".join(key_ids())
    made = boto3.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
    monkeypatch.setenv("PSEUDONYM_KEY_ID", made)
    monkeypatch.setenv("FORMER_PSEUDONYM_KEY_IDS", before)
    new_environment()


def key_ids() -> list[str]:
    return [environ["PSEUDONYM_KEY_ID"], *filter(None, environ.get("FORMER_PSEUDONYM_KEY_IDS", "").split(","))]


@pytest.fixture
def operator(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:  # noqa: ARG001 - the tables
    def run(*command: str, typed: str | None = None) -> Result:
        on = Deployment(boto3.Session(), "api-particulier")
        vars(on)["outputs"] = {
            "AuditTable": "audit",
            "SealsBucket": SEALS_BUCKET,
            "PseudonymKeyIds": ",".join((*key_ids(), "")),
            "OperatorKeyId": environ["OPERATOR_KEY_ID"],
            "EntryKeyId": environ["ENTRY_KEY_ID"],
        }
        monkeypatch.setattr(Deployment, "on_aws", lambda *_: on)
        return CliRunner().invoke(main, command, input=typed)

    return run


def test_accesses_are_found_after_each_rotation_of_the_key(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, operator: Callable[..., Result]
) -> None:
    key = town(cloud, "dgfip_nombre_parts")
    for _ in range(3):
        call_api("avis_imposition/v2", key=key, **CITIZEN)
        rotate(monkeypatch)
    call_api("avis_imposition/v2", key=key, **CITIZEN)
    assert len({entry["citizen"] for entry in cloud.audit_records()}) == 4
    assert len(accesses_of(**CITIZEN)) == 1
    assert accesses(**CITIZEN).body["total"] == 4
    assert accesses_of(**NEIGHBOUR) == []
    assert (
        json.loads(operator("citizen", "access", "--numero-fiscal", CITIZEN["numeroFiscal"], "--json").stdout)["total"]
        == 5  # the operator's own look is shown too
    )


def test_the_operator_reads_the_same_accesses_without_the_numbers(
    cloud: Cloud, operator: Callable[..., Result]
) -> None:
    call_api("avis_imposition/v2", key=town(cloud, "dgfip_nombre_parts"), **CITIZEN)
    done = operator("citizen", "access", "--json", typed="26 90 000 000 011\n")
    assert json.loads(done.stdout) == accesses(**CITIZEN).body
    shown = operator("citizen", "access", typed="2690000000011\n")
    assert "VILLE EXEMPLE (21000015400018): nombreParts" in shown.output
    assert "2690000000011" not in done.output + shown.output


@pytest.mark.parametrize(
    "command",
    [
        ("--numero-fiscal", "26"),
        ("--numero-allocataire", "1"),
        ("--numero-fiscal", "2" * 13, "--numero-allocataire", "1"),
    ],
)
def test_the_operator_gets_an_error_for_a_malformed_number(
    operator: Callable[..., Result], command: tuple[str, ...]
) -> None:
    refused = operator("citizen", "access", *command)
    assert refused.exit_code == 2
    assert "2" * 13 not in refused.output
