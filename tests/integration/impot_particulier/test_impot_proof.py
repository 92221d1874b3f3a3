"""The interface in JSON proves that a person exists, not that the caller is that person."""

import pytest

from tests.support.cloud import Cloud
from tests.support.function import call_api
from tests.support.impot_particulier import NUMBERS, ImpotParticulier


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("reference", [NUMBERS["referenceAvis"], "2690000000099"])
def test_a_tax_number_that_others_know_opens_no_access_log(
    cloud: Cloud, service: ImpotParticulier, reference: str
) -> None:
    """It finds a notice by the tax number alone, so that any reference would do."""
    response = call_api("citizen_access/avis", numeroFiscal=NUMBERS["numeroFiscal"], referenceAvis=reference)
    assert (response.status, response.body["error"]) == (403, "forbidden")
    assert service.requests == []
    assert cloud.audit_records()[-1]["status"] == 403
