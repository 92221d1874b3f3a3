"""A parameter is accepted exactly when it matches its documented pattern."""

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_particulier.api.parameters import AllocataireNumbers, AvisNumbers, Parameters
from api_particulier.errors import BadRequest

pytestmark = pytest.mark.slow

GOOD: Final = {
    "numeroFiscal": "2690000000001",
    "referenceAvis": "2690000000001",
    "numeroAllocataire": "2600001",
    "codePostal": "75011",
}
NEARLY: Final = st.text("0123456789aZé ,\u00a0\n", max_size=20) | st.text(max_size=20)
DOCUMENTED: Final[list[tuple[type[Parameters], str, str]]] = [
    (numbers, parameter.name, parameter.pattern)
    for numbers in (AvisNumbers, AllocataireNumbers)
    for parameter in numbers.documented
]


def accepts(numbers: type[Parameters], name: str, value: str) -> bool:
    try:
        numbers.parse({parameter: [good] for parameter, good in (GOOD | {name: value}).items()})
    except BadRequest:
        return False
    return True


@pytest.mark.parametrize(("numbers", "name", "pattern"), DOCUMENTED)
def test_a_value_is_accepted_when_it_matches_the_pattern(numbers: type[Parameters], name: str, pattern: str) -> None:
    @given(st.from_regex(pattern) | NEARLY)
    def hold(value: str) -> None:
        assert accepts(numbers, name, value) is bool(re.search(pattern, value))

    hold()
