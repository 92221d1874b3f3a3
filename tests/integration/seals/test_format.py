"""The example of ``docs/audit-format.md`` is real, and its hashes are right."""

import json
import re
from hashlib import sha256
from pathlib import Path

from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import leaf, root
from ops.verify_file import hash_of, verify
from tests.support.template import ROOT

PAGE = (ROOT / "docs/audit-format.md").read_text()
RECORD, LISTED, HEADER, EXPORT = re.findall(r"^```json\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_example_is_proven(tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    file.write_text(EXPORT)
    report = verify(file)
    assert (report.entries, report.seals, report.complete, report.signed) == (2, 1, 0, False)


def test_every_hash_of_the_page_is_right() -> None:
    record, listed, header, export = map(json.loads, (RECORD, LISTED, HEADER, EXPORT))
    assert canonical_json(record).decode() == RECORD
    assert canonical_json(listed).decode() == LISTED
    assert canonical_json(header).decode() == HEADER
    leaves = [entry[2] for entry in listed]
    assert export["entries"][0]["entry"] == record
    assert leaf(record) == leaves[1]
    assert header["root"] == root(leaves)
    assert header["entries"] == sha256(LISTED.encode()).hexdigest()
    assert export["seals"][0]["header"] == header
    hashes = re.findall(r"`([0-9a-f]{64})`", PAGE)
    assert hashes == [leaves[1], leaves[0], leaves[2], root(leaves[:2]), root(leaves), hash_of(header)]
