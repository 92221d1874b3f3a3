"""Read the use of a key from the audit: its last call, and its unused scopes."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from api_particulier.audit.bucket import Bucket
from api_particulier.audit.reader import AuditReader
from api_particulier.dynamodb import Table
from api_particulier.keys.lifecycle import NewToken, find
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import Token
from ops.keys import last_use, last_uses, scopes_used
from tests.support.cloud import SEALS_BUCKET, Cloud
from tests.support.function import call_api

LONG_AGO = datetime.now(UTC) - timedelta(days=400)


def token_of(cloud: Cloud, *scopes: str) -> tuple[str, Token]:
    """Return the key and the token of a town, issued long ago."""
    token_id = NewToken.new_id()
    key = cloud.issue_key(*scopes, id=token_id, created=LONG_AGO.isoformat())
    return key, find(KeyStore.from_environment(), token_id)


def reader(cloud: Cloud) -> AuditReader:
    return AuditReader(Table(boto3.client("dynamodb"), cloud.audit.name), Bucket(boto3.client("s3"), SEALS_BUCKET))


def later(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


@pytest.mark.slow
def test_the_last_use_is_the_last_call_even_a_refused_one(cloud: Cloud) -> None:
    key, token = token_of(cloud, "dgfip_nombre_parts")
    assert last_use(reader(cloud), token, LONG_AGO, later(0)) is None
    call_api("introspect/introspect", key=key)
    call_api("declarants/v2", key=key)
    refused = cloud.audit_records()[-1]
    assert refused["status"] == 403
    for days in (0, 1, 89):
        now = later(days)
        used = last_use(reader(cloud), token, now - timedelta(days=90), now)
        assert used is not None
        assert used.isoformat(timespec="milliseconds") == refused["at"]


def test_a_use_outside_the_period_is_not_found(cloud: Cloud) -> None:
    key, token = token_of(cloud, "dgfip_nombre_parts")
    call_api("introspect/introspect", key=key)
    assert last_use(reader(cloud), token, datetime.now(UTC), later(30)) is None
    assert last_use(reader(cloud), token, later(30), later(60)) is None


def test_unused_keys_are_distinguished_from_used_ones(cloud: Cloud) -> None:
    (key, used), (_, unused) = (token_of(cloud, "dgfip_nombre_parts") for _ in range(2))
    call_api("introspect/introspect", key=key)
    found = last_uses(reader(cloud), [used, unused], later(-30), later(0))
    assert (found[used.id] is None, found[unused.id]) == (False, None)


@pytest.mark.usefixtures("dgfip")
def test_scopes_that_released_no_field_are_unused_even_in_a_bundle(cloud: Cloud) -> None:
    key, token = token_of(cloud, "dgfip_adresse", "dgfip_revenu_fiscal_reference", "dgfip_nombre_parts", "cnaf_enfants")
    assert call_api("declarants/v2", key=key).status == 200
    assert call_api("revenu_fiscal_reference/v2", key=key).status == 200
    found = scopes_used(reader(cloud), token, later(-90), later(0))
    assert found.calls == 2
    declarants = [
        f"dgfip_declarant{number}_{what}"
        for number in (1, 2)
        for what in ("nom", "nom_naissance", "prenoms", "date_naissance")
    ]
    assert set(found.used) == {
        *declarants,
        *("dgfip_revenu_fiscal_reference", "dgfip_nombre_parts", "dgfip_annee_impot", "dgfip_annee_revenus"),
    }
    assert set(found.unused) == {
        *("dgfip_adresse_fiscale_taxation", "dgfip_adresse_fiscale_annee", "dgfip_erreur_correctif"),
        *("dgfip_situation_partielle", "cnaf_enfants"),
    }


@pytest.mark.slow
def test_every_scope_of_a_key_that_released_nothing_is_unused(cloud: Cloud) -> None:
    key, token = token_of(cloud, "cnaf_attestation_droits")
    call_api("introspect/introspect", key=key)
    call_api("declarants/v2", key=key)
    found = scopes_used(reader(cloud), token, later(-90), later(0))
    assert (found.calls, found.used) == (0, ())
    assert found.unused == ("cnaf_adresse", "cnaf_allocataires", "cnaf_enfants", "cnaf_quotient_familial")


@pytest.mark.usefixtures("dgfip")
def test_fields_read_before_the_period_do_not_count(cloud: Cloud) -> None:
    key, token = token_of(cloud, "dgfip_nombre_parts")
    assert call_api("revenu_fiscal_reference/v2", key=key).status == 200
    assert scopes_used(reader(cloud), token, datetime.now(UTC), later(1)).unused == ("dgfip_nombre_parts",)
