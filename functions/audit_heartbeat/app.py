"""Heartbeat: each minute, write the audit record whose seal shows that sealing works.

A schedule invokes it. Alarms ring when no seal holds a heartbeat, or when no seal is counted.
"""

from typing import Any

from api_particulier.audit.record import write_heartbeat


def lambda_handler(_event: dict[str, Any], _context: object) -> None:
    """Write the record of this minute."""
    write_heartbeat()
