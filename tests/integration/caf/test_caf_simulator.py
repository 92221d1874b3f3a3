"""Check the simulated CAF: its families, and its refusal of any request but the documented one."""

from pathlib import Path

import pytest
from lxml import etree

from sandbox.simulators import caf as simulator
from tests.support.caf import FAMILY, PEOPLE_FILE, UNREACHABLE, Caf, call_caf, expected_data
from tests.support.wire import serve


def test_every_simulated_family_is_read(caf: Caf, key: str) -> None:
    caf.families = [family for family in simulator.familles(PEOPLE_FILE) if family.reponse == 0]
    for family in caf.families:
        numbers = {"numeroAllocataire": family.numero_allocataire, "codePostal": family.code_postal}
        assert call_caf(key, **numbers).body == expected_data(family)


def test_families_are_read_again_when_their_file_changes(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "familles.toml"
    entry = '[[famille]]\nnumeroAllocataire = "2600001"\ncodePostal = "75011"\nquotients = [{quotientFamilial = %d}]'
    with serve(simulator.app(file)) as url:
        monkeypatch.setenv("CAF_URL", url)
        for quotient in (1, 2):
            file.write_text(entry % quotient)
            assert call_caf(key).body["quotientFamilial"] == quotient
        file.write_text("[[famille]\n")
        assert call_caf(key).body == UNREACHABLE


@pytest.mark.parametrize("malformed", [b"", b"x", b"<a>", b"<a/>", b"<!DOCTYPE a><a/>"])
def test_the_simulated_caf_answers_a_malformed_request_with_a_fault(malformed: bytes) -> None:
    client = simulator.app_of(list).test_client()
    answer = client.post(simulator.PATH, data=malformed, content_type="text/xml", headers={"SOAPAction": '""'})
    assert answer.status_code == 500
    assert etree.fromstring(answer.data).findtext(".//faultcode") == "soapenv:Client"


def test_the_simulated_caf_accepts_only_the_documented_request(caf: Caf, key: str) -> None:
    assert call_caf(key).status == 200
    client = simulator.app_of(lambda: [FAMILY]).test_client()

    def status(question: bytes, content_type: str = "text/xml", **headers: str) -> int:
        return client.post(simulator.PATH, data=question, content_type=content_type, headers=headers).status_code

    question = caf.requests[0]
    assert status(question, SOAPAction='""') == 200
    assert status(question) == 500
    assert status(question, "application/json", SOAPAction='""') == 500
    for right, wrong in ((b"WDD", b"WAT"), (b"<id>?</id>", b""), (b"<typeEnvoi>5", b"<typeEnvoi>3")):
        assert right in question
        assert status(question.replace(right, wrong), SOAPAction='""') == 500
