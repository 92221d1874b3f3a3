"""Make a tax notice's two calls with `requests` and `boto3`, and nothing else.

What a dataset costs beyond this handler is the project's own code: authentication, parsing, masking, the record's MAC.
"""

import os
from typing import Any

import boto3
import requests
from botocore.config import Config

_URL = f"{os.environ['DGFIP_SVAIR_URL']}/secavis/faces/commun/index.jsf"
_FORM = {
    "j_id_7:spi": "2690000000001",
    "j_id_7:num_facture": "2690000000001",
    "j_id_7:j_id_l": "Valider",
    "j_id_7_SUBMIT": "1",
    "javax.faces.ViewState": "lFuU8iTmL04uiQE3jQlZtQAAAABrCNS8mJESyG1B/TCZfUfUFnPHiedtD6o9IecjyHgkWUp7cVI=",
}
_RELEASED = (
    *(f"declarant{number}.{name}" for number in (1, 2) for name in ("nom", "nomNaissance", "prenoms", "dateNaissance")),
    *("dateRecouvrement", "dateEtablissement", "nombreParts", "situationFamille", "nombrePersonnesCharge"),
    *("revenuBrutGlobal", "revenuImposable", "impotRevenuNetAvantCorrections", "montantImpot"),
    *("revenuFiscalReference", "foyerFiscal.annee", "foyerFiscal.adresse", "anneeImpots", "anneeRevenus"),
)
_RECORD: dict[str, Any] = {
    "at": {"S": "2026-01-01T00:00:00.000+00:00"},
    "request_id": {"S": "5c2f1e0a-0000-4000-8000-000000000001"},
    "dataset": {"S": "avis_imposition"},
    "route": {"S": "/api/v2/avis-imposition"},
    "address": {"S": "203.0.113.7"},
    "kind": {"S": "dataset"},
    "id": {"S": "01a21a63-8b3e-70bd-86e0-0ca621b2455b"},
    "token": {"S": "bench"},
    "organisation": {"S": "VILLE EXEMPLE"},
    "siret": {"S": "21000015400018"},
    "citizen": {"S": "0" * 64},
    "provider": {"S": "dgfip"},
    "provider_ms": {"N": "1"},
    "released": {"L": [{"S": name} for name in _RELEASED]},
    "withheld": {"L": []},
    "notes": {"L": []},
    "status": {"N": "200"},
    "token_day": {"S": "bench#2026-01-01"},
    "expires_at": {"N": "1890411861"},
    "mac": {"S": "0" * 64},
}
"""An item with the attributes and the size of a tax notice's audit record."""

_session = requests.Session()
_session.trust_env = False
_session.cookies.set("JSESSIONID", "0" * 32, domain="127.0.0.1", path="/secavis")  # without it the form is unknown
_dynamodb = boto3.client(
    "dynamodb",
    config=Config(
        parameter_validation=False,
        tcp_keepalive=True,
        retries={"mode": "standard", "total_max_attempts": 2},
        connect_timeout=1,
        read_timeout=1,
    ),
)


def lambda_handler(_event: object, _context: object) -> dict[str, object]:
    page = _session.post(_URL, data=_FORM, timeout=5).content
    _dynamodb.put_item(TableName=os.environ["AUDIT_TABLE"], Item=_RECORD)
    return {"statusCode": 200, "headers": {}, "body": page.decode()}
