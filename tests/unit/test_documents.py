"""The generated documents are up to date."""

import pytest

from release.documents import DOCUMENTS
from tests.support.template import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_generated_document_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == DOCUMENTS[name](), "run `make docs`"
