"""The documents that follow from the code are as the code is."""

import pytest

from release.documents import DOCUMENTS
from tests.support.template import ROOT


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_says_what_the_code_does(name: str) -> None:
    assert (ROOT / name).read_text() == DOCUMENTS[name](), "run `make docs`"
