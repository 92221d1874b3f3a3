"""Check the MAC of an audit record and the pseudonym of a citizen against their definitions (docs/audit-format.md).

The expected values are computed here from the definitions, with the keys of the month that KMS derives: a constant
key, a short one, or one without its month gives other values.
"""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from os import environ
from typing import Any

import boto3
import pytest
import rfc8785
import time_machine
from boto3.dynamodb.types import TypeSerializer

from functions.audit_seals.app import lambda_handler as seal
from tests.support.cloud import Cloud
from tests.support.function import call_api, new_environment
from tests.support.template import ROOT

RECORD: dict[str, Any] = json.loads((ROOT / "events/audit_seals/insert.json").read_text())["Records"][0]
NUMBERS: dict[str, Any] = {"numeroFiscal": "2690000000095", "referenceAvis": "2690000000096"}
CITIZEN = b"dgfip:2690000000095"

# An hour around the end of October, in UTC; in Paris, November has begun at 23:00 UTC.
MONTHS = {
    datetime(2026, 10, 31, 22, 30, tzinfo=UTC): "2026-10",
    datetime(2026, 10, 31, 23, 30, tzinfo=UTC): "2026-10",
    datetime(2026, 11, 1, 0, 30, tzinfo=UTC): "2026-11",
}

pytestmark = pytest.mark.usefixtures("dgfip")


@pytest.fixture
def key(cloud: Cloud) -> str:
    return cloud.issue_key("dgfip_avis_imposition", expires=None, habilitation="habilitation-9", purpose="Cantines")


def call(key: str, cloud: Cloud) -> dict[str, Any]:
    """Make a call that fills in every attribute, and return its audit record."""
    assert call_api("avis_imposition/v2", key=key, headers={"X-User": "agent"}, **NUMBERS).status == 200
    return cloud.audit_records()[-1]


def month_key(key_id: str, label: str, month: str) -> bytes:
    """Have KMS derive the key of a month."""
    message = f"api-particulier/{label}/{month}".encode()
    return boto3.client("kms").generate_mac(KeyId=key_id, MacAlgorithm="HMAC_SHA_256", Message=message)["Mac"]


def expected_mac(record: dict[str, Any], month: str) -> str:
    """Compute the MAC of a record by its definition, with another implementation of canonical JSON."""
    signed = {name: _plain(value) for name, value in record.items() if name != "mac"}
    computed = hmac.digest(month_key(environ["ENTRY_KEY_ID"], "entries", month), rfc8785.dumps(signed), "sha256")
    return urlsafe_b64encode(computed).decode().removesuffix("=")


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) else value


def test_a_mac_is_computed_over_the_whole_record_under_the_key_of_its_month(key: str, cloud: Cloud) -> None:
    for moment, month in MONTHS.items():
        with time_machine.travel(moment, tick=True):
            record = call(key, cloud)
        assert str(record["at"]).startswith(f"{moment:%Y-%m-%d}")
        assert record["mac"] == expected_mac(record, month)


def test_a_pseudonym_is_computed_under_the_key_of_its_month_in_utc(key: str, cloud: Cloud) -> None:
    pseudonyms = []
    for moment, month in MONTHS.items():
        with time_machine.travel(moment, tick=True):
            pseudonyms.append(call(key, cloud)["citizen"])
        derived = month_key(environ["PSEUDONYM_KEY_ID"], "pseudonyms", month)
        assert pseudonyms[-1] == hmac.digest(derived, CITIZEN, "sha256").hex()
    assert [before == after for before, after in pairwise(pseudonyms)] == [True, False]


@pytest.mark.parametrize("variable", ["PSEUDONYM_KEY_ID", "ENTRY_KEY_ID"])
def test_pseudonyms_and_macs_have_keys_of_their_own(
    key: str, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    before = call(key, cloud)
    other = boto3.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    monkeypatch.setenv(variable, other["KeyMetadata"]["KeyId"])
    new_environment()
    after = call(key, cloud)
    assert (before["citizen"] == after["citizen"]) == (variable == "ENTRY_KEY_ID")
    month = f"{datetime.now(UTC):%Y-%m}"
    assert after["mac"] == expected_mac(after, month)
    assert (before["mac"] == expected_mac(before, month)) == (variable == "PSEUDONYM_KEY_ID")


# ── A forged record ──────────────────────────────────────────────────────────────────────────────────────────────────


def stream_record(item: dict[str, Any]) -> dict[str, Any]:
    """Return the stream record of an item written a second after its call."""
    serialize = TypeSerializer().serialize
    made = deepcopy(RECORD)
    made["dynamodb"]["NewImage"] = {name: serialize(value) for name, value in item.items()}
    made["dynamodb"]["ApproximateCreationDateTime"] = datetime.fromisoformat(item["at"]).timestamp() + 1
    return made


def changed_attributes(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a forged record for each attribute that is changed, and for each that is removed."""
    for name, value in record.items():
        if name == "at":  # less than a second later: the record is in time, and on the same day
            later = datetime.fromisoformat(value)
            later += timedelta(milliseconds=1 if later.microsecond < 999_000 else -1)
            yield name, record | {name: later.isoformat(timespec="milliseconds")}
            continue
        if name not in {"token_day", "id"}:  # the keys of the table cannot be removed
            yield f"without {name}", {other: kept for other, kept in record.items() if other != name}
        match value:
            case str() if name == "token_day":
                changed: Any = f"x{value}"
            case str():
                changed = value[:-1] + ("0" if value[-1] != "0" else "1")
            case list():
                changed = value[1:] or ["x"]
            case _:
                changed = value + 1
        yield name, record | {name: changed}


def assert_forged(forged: dict[str, dict[str, Any]], capfd: pytest.CaptureFixture[str]) -> None:
    """Check that the sealing function reports each of these records as forged, and seals none.

    There is no bucket in these tests: a record that was to be sealed would make the function fail.
    """
    for name, item in forged.items():
        capfd.readouterr()
        assert seal({"Records": [stream_record(item)]}, None) == {"batchItemFailures": []}, name
        assert '"outcome":"forged"' in capfd.readouterr().out, name


def test_a_record_with_any_attribute_changed_or_removed_is_forged(
    key: str, cloud: Cloud, capfd: pytest.CaptureFixture[str]
) -> None:
    record = call(key, cloud)
    forged = dict(changed_attributes(record))
    assert {"citizen", "released", "without released", "address", "user", "expires_at", "mac", "at"} <= forged.keys()
    assert set(record) <= forged.keys()
    assert_forged(forged, capfd)


def test_a_mac_is_compared_to_its_last_character(key: str, cloud: Cloud, capfd: pytest.CaptureFixture[str]) -> None:
    record = call(key, cloud)
    mac = str(record["mac"])
    assert len(mac) == 43
    digits = {
        f"digit {place}": mac[:place] + ("0" if mac[place] != "0" else "1") + mac[place + 1 :] for place in range(43)
    }
    parts = {"empty": "", "first half": mac[:21], "all but one": mac[:-1], "one more": f"{mac}0", "lower": mac.lower()}
    assert_forged({name: record | {"mac": forged} for name, forged in (digits | parts).items()}, capfd)
