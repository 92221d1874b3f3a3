"""The documents that follow from the code are as the code is."""

import pytest

from ops.documents import ROOT, documents


@pytest.mark.parametrize(("path", "written"), [*documents()], ids=lambda one: getattr(one, "name", ""))
def test_a_document_says_what_the_code_does(path: object, written: str) -> None:
    assert (ROOT / str(path)).read_text() == written, "run `make docs`"
