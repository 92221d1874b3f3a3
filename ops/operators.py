"""The trace of the operator's command: each act is an audit record, written before the act and sealed like a call's.

The record is of the type ``operator``: the caller of AWS's API, the command, what it is about, and the reason that the
operator gave (docs/decisions/0047-operators.md). Without it, the command does nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.audit import mac, pseudonyms
from api_particulier.audit.record import AuditRecord
from ops.deployment import Deployment, DeploymentError

ORGANISATION = "Opérateur d'API Particulier"
"""What a citizen reads in the place of an administration."""
_PARTITION = "operator"
"""The token of these records: ``audit search --token operator`` lists them."""
_REASON_LENGTH = 500
_DETAILS_LENGTH = 2000


def record_act(  # noqa: PLR0913 - the parts of a record, each by its name
    deployment: Deployment,
    command: str,
    *,
    reason: str,
    target: str | None = None,
    citizen_id: str | None = None,
    details: Sequence[str] = (),
) -> None:
    """Write the audit record of an operator's command; raise ``DeploymentError`` when it cannot be written.

    ``details`` are the options of the command, ``name=value``, without personal data. ``citizen_id`` is the normalised
    identifier of the citizen whose accesses are read; the record holds its pseudonym.
    """
    now = datetime.now(UTC)
    record = AuditRecord(
        at=now,
        request_id="",
        dataset=_PARTITION,
        route=command,
        address="",
        record_type=mac.OPERATOR,
        user=deployment.operator,
        token=_PARTITION,
        organisation=ORGANISATION,
        purpose=reason[:_REASON_LENGTH] or None,
        target=target,
        warnings=[", ".join(details)[:_DETAILS_LENGTH]] if details else [],
        status=200,
    )
    try:
        if citizen_id:
            key_id, month = deployment.accesses.key_ids[0], pseudonyms.month_of(now)
            key = pseudonyms.derive_month_key(deployment.kms, key_id, month)
            record.citizen = pseudonyms.compute(key, citizen_id)
        key = mac.derive_month_key(deployment.kms, deployment.outputs["OperatorKeyId"], pseudonyms.month_of(now))
        attributes = record.attributes()
        deployment.audit.put(attributes | {mac.MAC: mac.compute(key, attributes)})
    except (BotoCoreError, ClientError) as error:
        msg = f"the audit record of this command cannot be written, so nothing was done: {error}"
        raise DeploymentError(msg) from None
