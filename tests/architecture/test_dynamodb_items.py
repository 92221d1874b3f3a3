"""``docs/dynamodb-items.md`` names every key prefix that the code uses and every attribute that it writes.

The source is read, not run: literal prefixes of keys (``watch#``), names in update expressions, and the fields of the
models that are stored. An attribute put in an item by other means is not seen here.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields

from api_particulier.audit.record import AuditRecord
from api_particulier.habilitations.model import Habilitation, HistoryEntry
from api_particulier.keys.token import Token
from tests.support.template import ROOT, resources

PAGE = (ROOT / "docs/dynamodb-items.md").read_text()
ATTRIBUTES = {
    name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
} | set(re.findall(r"key `(\w+)` \(S\)", PAGE))
PREFIXES = set(re.findall(r"`([a-z]+#)", "\n".join(re.findall(r"^### .*$", PAGE, re.MULTILINE))))
STORED_AS = {"record_type": "kind", "warnings": "notes"}
"""Fields of the code whose attribute keeps an older name."""


def texts() -> Iterator[str]:
    """Yield the literal texts of the code; of an f-string, its literal parts joined by ``{}``."""
    for folder in ("layers/common/api_particulier", "functions", "ops"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                elif isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                    yield "".join(map(str, parts))


def test_the_page_names_the_prefixes_that_the_code_uses_and_no_other() -> None:
    used = {found[1] for text in texts() if (found := re.match(r"([a-z]+#)(?:$|\{\})", text))}
    assert used - {"unknown#"} == PREFIXES


def test_the_page_names_every_attribute_of_an_update() -> None:
    updates = [text for text in texts() if re.match(r"(SET|ADD|REMOVE) #?[a-z_]+", text)]
    assert updates
    written = set()
    for update in updates:
        written |= set(re.findall(r"#?(\w+) (?:=|:)", update))
        written |= set(re.findall(r"REMOVE (\w+)", update))
    assert written <= ATTRIBUTES


def test_the_page_names_every_field_that_is_stored() -> None:
    stored = {field.name for record in (Token, AuditRecord) for field in fields(record)}
    models = (Habilitation, HistoryEntry)
    stored |= {field.alias or name for model in models for name, field in model.model_fields.items()}
    assert {STORED_AS.get(name, name) for name in stored} <= ATTRIBUTES


def test_the_page_names_the_keys_and_the_time_to_live_of_every_table() -> None:
    tables = resources("AWS::DynamoDB::Table").values()
    declared = {attribute["AttributeName"] for table in tables for attribute in table["AttributeDefinitions"]}
    lifetimes = {
        table["TimeToLiveSpecification"]["AttributeName"] for table in tables if "TimeToLiveSpecification" in table
    }
    assert declared | lifetimes <= ATTRIBUTES
