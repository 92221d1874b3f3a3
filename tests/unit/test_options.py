"""The formats of the command's options."""

import pytest
from click import BadParameter

from ops.cli.options import Siret


def test_spaces_of_a_siret_are_ignored() -> None:
    assert Siret().convert("210 000 154 00018", None, None) == "21000015400018"


@pytest.mark.parametrize("typed", ["21000015400019", "21000000000013", "2100001540001", "2100001540001X", ""])
def test_a_siret_with_a_wrong_length_or_check_digit_is_refused(typed: str) -> None:
    with pytest.raises(BadParameter, match="14 digits"):
        Siret().convert(typed, None, None)
