"""``/api/citoyen/acces``: who consulted my data, told whole to who holds the numbers, and to nobody else."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from os import environ
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from api_particulier.audit import access_log, pseudonyms
from api_particulier.audit.record import DATASET, RETENTION, AuditRecord, write
from api_particulier.errors import UnknownNotice
from ops.cli.main import main
from ops.deployment import Deployment
from tests.support import caf as family
from tests.support.caf import Caf
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, event, invoke, new_environment
from tests.support.tax_service import NOT_FOUND_PAGE, REFUSED_PAGE, TaxService

CITIZEN: dict[str, Any] = {"numeroFiscal": "2690000000011", "referenceAvis": "2690000000022"}
NEIGHBOUR: dict[str, Any] = {"numeroFiscal": "2690000000012", "referenceAvis": "2690000000022"}
UNKNOWN = UnknownNotice().body


pytestmark = pytest.mark.usefixtures("dgfip")


def accesses(address: str = "203.0.113.7", **numbers: str) -> Response:
    """Ask as a citizen does."""
    made = event("citizen_access/avis")
    made["multiValueQueryStringParameters"] = {name: [value] for name, value in numbers.items()}
    made["requestContext"]["identity"]["sourceIp"] = address
    return invoke(made, "citizen_access")


def told(**numbers: str) -> list[dict[str, Any]]:
    answer = accesses(**numbers)
    assert answer.status == 200
    assert answer.body["total"] == len(answer.body["acces"])
    found: list[dict[str, Any]] = answer.body["acces"]
    return found


def town(cloud: Cloud, *scopes: str, **changes: Any) -> str:
    return cloud.issue_key(*scopes, organisation="VILLE EXEMPLE", siret="21000015400018", **changes)


# ── What a citizen is told ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_citizen_is_told_who_asked_when_why_and_which_fields(cloud: Cloud) -> None:
    key = town(cloud, "dgfip_nombre_parts", "dgfip_annee_impot", purpose="Tarif de la cantine")
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert call_api("revenu_fiscal_reference/v2", key=key, **CITIZEN).status == 200
    (one,) = told(**CITIZEN)
    assert before <= datetime.fromisoformat(one.pop("date")) <= datetime.now(UTC)
    assert one == {
        "administration": "VILLE EXEMPLE",
        "siret": "21000015400018",
        "finalite": "Tarif de la cantine",
        "jeuDeDonnees": "revenu_fiscal_reference",
        "champs": ["nombreParts", "anneeImpots"],
        "statut": 200,
    }


def test_the_latest_access_is_first_and_refused_ones_are_told_without_fields(cloud: Cloud, dgfip: TaxService) -> None:
    key = town(cloud, "dgfip_nombre_parts")
    call_api("avis_imposition/v1", key=key, **CITIZEN)
    shown, dgfip.page = dgfip.page, REFUSED_PAGE
    call_api("declarants/v2", key=cloud.issue_key("dgfip_declarant1_nom"), **CITIZEN)
    dgfip.page = shown
    found = told(**CITIZEN)
    assert [(one["jeuDeDonnees"], one["statut"], one["champs"], one["finalite"]) for one in found] == [
        ("declarants", 503, [], None),
        ("avis_imposition", 200, ["nombreParts"], None),
    ]


def test_nobody_else_s_accesses_are_told(cloud: Cloud) -> None:
    key = town(cloud, "dgfip_nombre_parts")
    assert call_api("avis_imposition/v2", key=key, **CITIZEN).status == 200
    assert told(**NEIGHBOUR) == []
    assert len(told(**CITIZEN)) == 1


def test_accesses_are_found_whichever_notice_is_shown(cloud: Cloud) -> None:
    call_api("avis_imposition/v2", key=town(cloud, "dgfip_nombre_parts"), **CITIZEN)
    assert len(told(numeroFiscal="26 90 000 000 011", referenceAvis="2590000000033")) == 1


@pytest.mark.usefixtures("caf")
def test_a_family_is_told_what_was_asked_with_its_number_and_postcode(cloud: Cloud) -> None:
    call_api("quotient_familial/v2", key=town(cloud, "cnaf_quotient_familial"), **family.NUMBERS)
    (one,) = told(**family.NUMBERS)
    assert (one["jeuDeDonnees"], one["champs"]) == ("quotient_familial", ["quotientFamilial", "mois", "annee"])


def test_36_months_are_told_and_the_period_says_so(cloud: Cloud) -> None:
    now = datetime.now(UTC)
    ages = [timedelta(0), timedelta(days=31), timedelta(days=500), RETENTION - timedelta(hours=1)]
    for age in [*ages, RETENTION + timedelta(days=1)]:  # the time to live may be two days late
        write_access(now - age)
    body = accesses(**CITIZEN).body
    assert body["total"] == len(ages)
    assert [datetime.fromisoformat(one["date"]) for one in body["acces"]] == sorted(
        (datetime.fromisoformat(one["date"]) for one in body["acces"]), reverse=True
    )
    first, last = (datetime.fromisoformat(body["periode"][name]).date() for name in ("debut", "fin"))
    assert timedelta(days=3 * 365) <= last - first <= timedelta(days=3 * 366)
    assert cloud.audit_records()


def write_access(at: datetime) -> None:
    """Write the entry of an access at a moment, as the function of a dataset did then."""
    entry = AuditRecord(at, "r", "avis_imposition", "/api/impots/svair", "203.0.113.7", DATASET)
    entry.organisation, entry.siret, entry.token, entry.status = "VILLE EXEMPLE", "21000015400018", "jeton", 200
    entry.citizen = pseudonyms.pseudonym(f"dgfip:{CITIZEN['numeroFiscal']}", at)
    write(entry)


@pytest.mark.usefixtures("cloud")
def test_who_was_consulted_thousands_of_times_is_told_the_latest_and_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "_SHOWN", 3)
    moments = [datetime.now(UTC) - timedelta(minutes=age) for age in range(5)]
    for moment in moments:
        write_access(moment)
    body = accesses(**CITIZEN).body
    assert body["total"] == 5
    assert [datetime.fromisoformat(one["date"]) for one in body["acces"]] == [
        moment.replace(microsecond=moment.microsecond // 1000 * 1000) for moment in moments[:3]
    ]


# ── What the others are not told ─────────────────────────────────────────────────────────────────────────────────────


def test_who_does_not_hold_the_numbers_gets_what_a_dataset_says_of_an_unknown_notice(
    cloud: Cloud, dgfip: TaxService
) -> None:
    key = town(cloud, "dgfip_nombre_parts")
    assert call_api("avis_imposition/v2", key=key, **CITIZEN).status == 200
    dgfip.page = NOT_FOUND_PAGE
    refused, unknown = accesses(**CITIZEN), accesses(**NEIGHBOUR)
    assert (refused.status, refused.body) == (unknown.status, unknown.body) == (404, UNKNOWN)
    assert refused.body == call_api("avis_imposition/v2", key=key, **CITIZEN).body


@pytest.mark.parametrize("reponse", [101, 111, 131, 133, 141])
def test_a_family_file_s_refusal_does_not_say_which_number_is_wrong(caf: Caf, cloud: Cloud, reponse: int) -> None:
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
def test_what_is_missing_or_malformed_is_refused_before_anybody_is_asked(
    cloud: Cloud, dgfip: TaxService, numbers: dict[str, str]
) -> None:
    answer = accesses(**numbers)
    assert (answer.status, answer.body["error"]) == (400, "bad_request")
    assert dgfip.requests == []
    assert "citizen" not in cloud.audit_records()[0]


@pytest.mark.usefixtures("cloud")
def test_a_provider_that_does_not_answer_leaves_the_citizen_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DGFIP_SVAIR_URL", "http://127.0.0.1:1")
    answer = accesses(**CITIZEN)
    assert (answer.status, answer.body["error"]) == (503, "network_error")


def test_an_audit_that_cannot_be_read_whole_is_not_told_in_part(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    call_api("avis_imposition/v2", key=town(cloud, "dgfip_nombre_parts"), **CITIZEN)
    derive = pseudonyms.derive_month_key
    lost = f"{datetime.now(UTC) - timedelta(days=300):%Y-%m}"

    def failing(kms: Any, key_id: str, month: str) -> bytes:
        return derive(kms, "nowhere" if month == lost else key_id, month)

    monkeypatch.setattr(pseudonyms, "derive_month_key", failing)
    assert accesses(**CITIZEN).status == 500


@pytest.mark.usefixtures("cloud")
def test_only_json_is_answered() -> None:
    answer = invoke(event("citizen_access/avis", headers={"Accept": "text/html"}), "citizen_access")
    assert answer.headers["Content-Type"].startswith("application/json")


# ── How often one may try ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_citizen_s_number_cannot_be_tried_for_ever_from_wherever(
    cloud: Cloud, dgfip: TaxService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITIZEN_TRIES_BY_CITIZEN", "3")
    dgfip.page = NOT_FOUND_PAGE
    tried = [
        accesses(f"203.0.113.{number}", **CITIZEN | {"referenceAvis": f"26900000000{number:02}"}) for number in range(5)
    ]
    assert [one.status for one in tried] == [404, 404, 404, 429, 429]
    assert tried[-1].body["error"] == "rate_limited"
    assert 0 < int(tried[-1].headers["Retry-After"]) <= 3600
    assert accesses(**NEIGHBOUR).status == 404
    assert [entry["status"] for entry in cloud.audit_records()] == [404, 404, 404, 429, 429, 404]


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    ("same", "other"),
    [(("203.0.113.7", "203.0.113.7"), "203.0.113.8"), (("2001:db8::1", "2001:db8::2:1"), "2001:db8:0:1::1")],
)
def test_an_address_cannot_try_for_ever_about_whomever(
    monkeypatch: pytest.MonkeyPatch, same: tuple[str, str], other: str
) -> None:
    monkeypatch.setenv("CITIZEN_TRIES_BY_ADDRESS", "4")
    tried = [
        accesses(same[number % 2], numeroFiscal=f"269000000001{number}", referenceAvis="2" * 13) for number in range(5)
    ]
    assert [one.status for one in tried] == [200] * 4 + [429]
    assert accesses(other, **CITIZEN).status == 200


def test_tries_that_cannot_be_counted_are_not_let_through(cloud: Cloud, dgfip: TaxService) -> None:
    cloud.stats.delete()
    assert accesses(**CITIZEN).status == 500
    assert dgfip.requests == []
    assert cloud.audit_records()[0]["status"] == 500


# ── Its own trace ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_citizen_s_question_is_audited_without_their_address(cloud: Cloud) -> None:
    assert accesses(**CITIZEN).status == 200
    (entry,) = cloud.audit_records()
    assert (entry["kind"], entry["dataset"], entry["status"]) == ("citizen", "citizen_access", 200)
    assert (entry["provider"], "token" in entry) == ("dgfip", False)
    assert (len(entry["address"]), len(entry["citizen"])) == (64, 64)
    kept = repr([table.scan()["Items"] for table in (cloud.audit, cloud.stats)])
    assert not [said for said in ("203.0.113.7", *CITIZEN.values()) if said in kept]


def test_without_its_entry_nothing_is_told(cloud: Cloud) -> None:
    cloud.audit.delete()
    assert accesses(**CITIZEN).status in {500, 503}


@pytest.mark.usefixtures("cloud")
def test_without_kms_nothing_is_told_and_no_address_is_kept(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSEUDONYM_KEY_ID", "nowhere")
    answer = accesses(**CITIZEN)
    assert (answer.status, answer.body["error"]) == (503, "audit_unavailable")
    assert cloud.audit_records()[0]["address"] == ""


# ── Rotation of the pseudonym key, and the operator ──────────────────────────────────────────────────────────────────


def rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what docs/operations/audit.md says: another KMS key names citizens, the ones before are known as such."""
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
        vars(on)["outputs"] = {"AuditTable": "audit", "PseudonymKeyIds": ",".join((*key_ids(), ""))}
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
    assert len(told(**CITIZEN)) == 4
    assert told(**NEIGHBOUR) == []
    assert (
        json.loads(operator("citizen", "access", "--numero-fiscal", CITIZEN["numeroFiscal"], "--json").stdout)["total"]
        == 4
    )


def test_the_operator_tells_the_same_and_does_not_repeat_the_numbers(
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
def test_the_operator_is_told_what_a_number_is(operator: Callable[..., Result], command: tuple[str, ...]) -> None:
    refused = operator("citizen", "access", *command)
    assert refused.exit_code == 2
    assert "2" * 13 not in refused.output
