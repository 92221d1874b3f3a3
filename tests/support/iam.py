"""What the roles of the template's functions allow."""

from collections.abc import Iterator
from typing import Any

from tests.support.template import resources


def statements(function: str) -> Iterator[dict[str, Any]]:
    """Yield the statements of a function's role, those of shared policies and those under a condition included."""
    shared = resources("AWS::IAM::ManagedPolicy")
    for policy in resources("AWS::Serverless::Function")[function].get("Policies", []):
        for statement in (shared[policy["Ref"]]["PolicyDocument"] if "Ref" in policy else policy)["Statement"]:
            if "Fn::If" in statement:
                yield from (branch for branch in statement["Fn::If"][1:] if "Sid" in branch)
            else:
                yield statement


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
