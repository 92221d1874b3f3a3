"""Operators leave a trace: each act of the command is a record of the audit, written before the act."""

import json
from os import environ
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from api_particulier.audit import mac
from ops.cli.main import main
from ops.deployment import Deployment
from tests.support.cloud import SEALS_BUCKET, Cloud
from tests.support.sealing import Sealing, stream_record

TOWN = ("--organisation", "VILLE EXEMPLE", "--siret", "13002526500013")


@pytest.fixture
def operator(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Give the command a deployment in moto."""
    api = boto3.client("apigateway")
    plan = api.create_usage_plan(name="plan")["id"]
    on = Deployment(boto3.Session(), "api-particulier")
    vars(on)["outputs"] = {
        "UsagePlanId": plan,
        "TokensTable": "tokens",
        "AuditTable": "audit",
        "StatsTable": "stats",
        "HabilitationsTable": "habilitations",
        "PseudonymKeyIds": environ["PSEUDONYM_KEY_ID"],
        "OperatorKeyId": environ["OPERATOR_KEY_ID"],
        "EntryKeyId": environ["ENTRY_KEY_ID"],
        "TokenKeyId": environ["TOKEN_KEY_ID"],
        "SealsBucket": SEALS_BUCKET,
        "Environment": "test",
    }
    monkeypatch.setattr(Deployment, "on_local_stack", lambda *_: on)
    return cloud


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--local", "--json"])


def acts(cloud: Cloud) -> list[dict[str, Any]]:
    return [record for record in cloud.audit_records() if record.get("kind") == "operator"]


def issue(*options: str) -> str:
    done = command("keys", "issue", *TOWN, "--scopes", "dgfip_nombre_parts", *options)
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["id"])


def test_an_issue_is_recorded_with_its_author_its_reason_and_what_it_opens(operator: Cloud) -> None:
    issue("--reason", "demande de la mairie", "--allow", "192.0.2.0/24")
    (record,) = acts(operator)
    assert record["user"].startswith("arn:aws:")
    assert (record["route"], record["purpose"]) == ("keys issue", "demande de la mairie")
    assert record["notes"] == [
        "allowed=192.0.2.0/24, organisation=VILLE EXEMPLE, scopes=dgfip_nombre_parts, siret=13002526500013"
    ]


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("allow", ("192.0.2.0/24",)),
        ("prolong", ("--expires", "2030-01-01")),
        ("narrow", ("--scopes", "dgfip_nombre_parts")),
        ("rotate", ()),
        ("revoke", ()),
    ],
)
def test_a_change_of_a_key_is_recorded_with_the_key(operator: Cloud, verb: str, options: tuple[str, ...]) -> None:
    token_id = issue()
    assert command("keys", verb, token_id, *options).exit_code == 0
    record = acts(operator)[-1]
    assert (record["route"], record["target"]) == (f"keys {verb}", token_id)


@pytest.mark.parametrize("verb", ["allow", "revoke"])
def test_without_its_record_an_act_is_not_done(operator: Cloud, verb: str) -> None:
    token_id = issue()
    operator.audit.delete()
    options = ("192.0.2.0/24",) if verb == "allow" else ()
    refused = command("keys", verb, token_id, *options)
    assert refused.exit_code == 1
    assert "nothing was done" in refused.output
    (item,) = operator.tokens.scan(FilterExpression="attribute_exists(id)")["Items"]
    assert item["state"] == "active"
    assert "allowed" not in item


def test_the_record_of_a_reading_has_the_citizens_pseudonym_and_not_their_number(operator: Cloud) -> None:
    read = command("citizen", "access", "--numero-fiscal", "2690000000001", "--reason", "au guichet")
    assert read.exit_code == 0, read.output
    (record,) = acts(operator)
    assert len(record["citizen"]) == 64
    assert "2690000000001" not in json.dumps(record, default=str)


def test_a_record_of_a_call_cannot_be_made_with_the_operators_key(sealing: Sealing) -> None:
    """The sealing function checks a record of kind ``operator`` under its key, and any other under the calls' key."""
    (record,) = sealing.make_calls(1)
    month = record["at"][:7]
    keys = {
        name: mac.derive_month_key(boto3.client("kms"), environ[name], month)
        for name in ("ENTRY_KEY_ID", "OPERATOR_KEY_ID")
    }
    as_operator = {name: value for name, value in record.items() if name != mac.MAC} | {"kind": mac.OPERATOR}
    forged_call = record | {mac.MAC: mac.compute(keys["OPERATOR_KEY_ID"], record)}
    forged_act = as_operator | {mac.MAC: mac.compute(keys["ENTRY_KEY_ID"], as_operator)}
    act = as_operator | {mac.MAC: mac.compute(keys["OPERATOR_KEY_ID"], as_operator)}
    sealing.deliver(map(stream_record, [forged_call, forged_act]))
    assert sealing.seals() == []
    sealing.deliver([stream_record(act)])
    (seal,) = sealing.seals()
    assert len(seal.entries) == 1
