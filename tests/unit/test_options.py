"""What the operator's command takes for its options."""

import pytest
from click import BadParameter

from ops.cli.options import Siret


def test_a_siret_is_read_without_its_spaces() -> None:
    assert Siret().convert("210 000 154 00018", None, None) == "21000015400018"


@pytest.mark.parametrize("typed", ["21000015400019", "21000000000013", "2100001540001", "2100001540001X", ""])
def test_what_has_not_the_keys_of_a_siret_is_none(typed: str) -> None:
    with pytest.raises(BadParameter, match="14 digits"):
        Siret().convert(typed, None, None)
