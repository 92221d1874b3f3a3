"""What a provider's answer proves about a caller that gives a person's numbers.

A route without a key shows a person's own data or accesses to the holder of the numbers. It may do so only where the
provider checks a number that the person alone has.
"""

from enum import StrEnum


class Proof(StrEnum):
    """What follows from an answer about a person."""

    POSSESSION = "possession"
    """The caller has a document of the person: the provider checked a second number, printed there."""
    EXISTENCE = "existence"
    """The person exists; others know the number, or the identity, too."""
