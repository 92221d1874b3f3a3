"""The hashes of a seal: canonical JSON as RFC 8785 defines it, and the Merkle tree of RFC 6962."""

import json
from decimal import Decimal
from hashlib import sha256
from typing import Any

import hypothesis.strategies as st
import pytest
import rfc8785
from hypothesis import example, given

from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import leaf, proof, root
from api_particulier.dynamodb import deserialize, serialize
from ops.verify_file import canonical, root_from

pytestmark = pytest.mark.slow


SAFE = 2**53 - 1
"""The largest integer of RFC 8785."""
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | texts, lambda inner: st.lists(inner) | st.tuples(inner)
)
# Names of attributes are ASCII. Others sort differently in RFC 8785 (UTF-16) and in Python (code points).
records = st.dictionaries(st.text(st.characters(max_codepoint=127)), values)


@given(records)
@example({"b": 1, "a": [True, None, -1], "A": '\x00\x1f\x7f\u2028\\"/é😀\n\t'})
def test_canonical_json_is_that_of_rfc_8785(record: dict[str, Any]) -> None:
    assert canonical_json(record) == rfc8785.dumps(record) == canonical(record)


stored = st.recursive(st.none() | st.booleans() | st.integers(-SAFE, SAFE) | texts, st.lists)


@given(st.dictionaries(st.text(st.characters(max_codepoint=127), min_size=1), stored))
def test_a_record_read_from_the_table_has_the_text_of_the_one_written(record: dict[str, Any]) -> None:
    assert canonical_json(deserialize(serialize(record))) == rfc8785.dumps(record)


def test_an_integer_that_boto3_reads_has_the_text_of_an_integer() -> None:
    numbers = [Decimal("12.0"), Decimal("1E+2"), Decimal(-3), Decimal(0)]
    assert canonical_json({"x": numbers}) == rfc8785.dumps({"x": [12, 100, -3, 0]})


@pytest.mark.parametrize(
    "value", [1.5, 1.0, float("nan"), Decimal("1.5"), Decimal("NaN"), Decimal("Infinity"), {"a"}, b"1", "\ud800"]
)
def test_a_value_that_no_record_holds_has_no_canonical_json(value: object) -> None:
    for nested in (value, [value], [{"a": value}]):
        with pytest.raises(ValueError, match=r"^this has no canonical text$"):
            canonical_json({"x": nested})


@pytest.mark.parametrize("record", [{"a": 1}, {"a": 1, "b": 1}, {"a": 2}, {"b": 1}, {"a": "1"}])
def test_a_leaf_is_the_hash_of_the_whole_record(record: dict[str, Any]) -> None:
    text = json.dumps(record, separators=(",", ":")).encode()
    assert leaf(record) == sha256(b"\0" + text).hexdigest()


# The vectors that implementations of RFC 6962 share (certificate-transparency, merkle_tree_test).
DATA = [
    *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_tree_is_that_of_rfc_6962(count: int) -> None:
    leaves = [sha256(b"\0" + bytes.fromhex(content)).hexdigest() for content in DATA[:count]]
    assert root(leaves) == ROOTS[count - 1]


@given(count=st.integers(1, 70), data=st.data())
def test_a_proof_leads_from_its_leaf_alone_to_the_root(count: int, data: st.DataObject) -> None:
    leaves = [sha256(bytes([number])).hexdigest() for number in range(count)]
    index, other = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, count - 1))
    path = proof(leaves, index)
    whole = root(leaves)
    assert root_from(bytes.fromhex(leaves[index]), index, count, path) == whole
    assert (root_from(bytes.fromhex(leaves[other]), index, count, path) == whole) is (other == index)
    assert root_from(bytes.fromhex(leaves[index]), index, count, [*path, leaves[0]]) != whole
    if path:
        assert root_from(bytes.fromhex(leaves[index]), index, count, path[:-1]) != whole
