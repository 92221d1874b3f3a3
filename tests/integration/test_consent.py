"""The reference to a citizen's consent: it travels with a call, is kept in its trace, and is shown to the citizen."""

from typing import Any

import pytest

from tests.support.cloud import Cloud
from tests.support.function import Response, call_api
from tests.support.tax_service import TaxService

NUMBERS: dict[str, Any] = {"numeroFiscal": "2690000000001", "referenceAvis": "2690000000001"}
SCOPE = "dgfip_revenu_fiscal_reference"


def ask(cloud: Cloud, consent: str, route: str = "revenu_fiscal_reference/v2") -> Response:
    return call_api(route, key=cloud.issue_key(SCOPE), headers={"X-Consent": consent}, **NUMBERS)


@pytest.mark.parametrize("consent", ["a", "cantine-2026:42", "A.b_c-9" * 9 + "Z"])
def test_a_reference_is_kept_and_shown_to_the_citizen(cloud: Cloud, dgfip: TaxService, consent: str) -> None:
    assert ask(cloud, consent).status == 200
    assert [record["consent"] for record in cloud.audit_records()] == [consent]
    (access,) = call_api("citizen_access/avis", **NUMBERS).body["acces"]
    assert access["accord"] == consent
    assert dgfip.requests


def test_a_call_without_a_reference_has_none_in_its_trace(cloud: Cloud, dgfip: TaxService) -> None:
    assert ask(cloud, "").status == 200
    assert "consent" not in cloud.audit_records()[0]
    (access,) = call_api("citizen_access/avis", **NUMBERS).body["acces"]
    assert access["accord"] is None
    assert dgfip.requests


@pytest.mark.parametrize("route", ["revenu_fiscal_reference/v2", "avis_imposition/v1"])
@pytest.mark.parametrize(
    "consent", ["x" * 65, "deux mots", "élu", "a/b", "<script>", "a\u0000b", "n-2690000000001-b", "2690000000001"]
)
def test_a_reference_that_cannot_be_kept_is_refused_before_the_provider_is_asked(
    cloud: Cloud, dgfip: TaxService, consent: str, route: str
) -> None:
    refused = ask(cloud, consent, route)
    assert (refused.status, refused.body["error"]) == (400, "bad_request")
    assert "X-Consent" in refused.body["message"]
    assert consent not in refused.text
    assert "consent" not in cloud.audit_records()[0]
    assert dgfip.requests == []
