"""A dump of all that the deployed stack stores holds no citizen's number, in clear or as a hash without a key."""

import base64
import hashlib
import json
import re
import secrets
import string
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import requests

from tests.support.stack import FAMILY_NUMBERS, NUMBERS, RFR_ROUTE, Stack

ALGORITHMS = ("md5", "sha1", "sha256", "sha512")
EVERY_NUMBER = 1_000_000
"""The numbers below it are all tried as family file numbers; the test draws its families among them."""
_SLICE = 50_000
POSTCODE = "75011"


def stored(stack: Stack) -> Iterator[str]:
    """Yield the content of every table, log and bucket."""
    dynamodb = stack.client("dynamodb")
    for table in dynamodb.list_tables()["TableNames"]:
        for page in dynamodb.get_paginator("scan").paginate(TableName=table):
            yield json.dumps(page["Items"], default=repr)
    logs = stack.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            yield from (event["message"] for event in page["events"])
    s3 = stack.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
            for found in page.get("Contents", []):
                if not found["Key"].endswith(".zip"):  # deployed code
                    body = s3.get_object(Bucket=bucket["Name"], Key=found["Key"])["Body"].read()
                    yield f"{found['Key']} {body.decode(errors='replace')}"


def digests(dump: str) -> set[bytes]:
    """Return as bytes every text that is as long as a digest in hexadecimal or base64."""
    sizes = {hashlib.new(name).digest_size for name in ALGORITHMS}
    found = {bytes.fromhex(text) for text in re.findall(r"\b(?:[0-9a-fA-F]{2}){16,64}\b", dump)}
    for text in re.findall(r"[A-Za-z0-9+/_-]{22,88}", dump):
        padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
        try:
            found.add(base64.b64decode(padded, validate=True))
        except ValueError:
            continue
    return {digest for digest in found if len(digest) in sizes}


def found_among(first: int, candidates: frozenset[bytes]) -> list[int]:
    """Return the numbers from ``first`` on, in a slice, with a hash without a key among the candidates."""
    known = [getattr(hashlib, name) for name in ALGORITHMS]
    return [
        number
        for number in range(first, first + _SLICE)
        for text in (b"%07d" % number, b"caf:%07d:75011" % number)
        if any(algorithm(text).digest() in candidates for algorithm in known)
    ]


_COMMUNE, _DAY, _BORN = "codeCogInseeCommuneNaissance", "19", "1983-04-19"


def _identity() -> dict[str, Any]:
    """Return the identity of a person that has never been, who is asked about as a known one is."""
    name, first = ("".join(secrets.choice(string.ascii_uppercase) for _ in range(14)) for _ in range(2))
    born = dict(zip(("annee", "mois", "jour"), _BORN.split("-"), strict=True))
    return {
        "nomNaissance": name,
        "prenoms[]": [first],
        **{f"{part}DateNaissance": value for part, value in born.items()},
        "sexeEtatCivil": "F",
        _COMMUNE: f"29{secrets.randbelow(900) + 100}",
        "codeCogInseePaysNaissance": "99100",
        "recipient": "21000015400018",
    }


def ask_by_identity(stack: Stack, identity: dict[str, Any]) -> Any:
    url = f"{stack.description['v3_url']}/v3/dss/quotient_familial/identite"
    return requests.get(url, identity, headers={"X-Api-Key": stack.api_key}, timeout=60).json()


def test_no_citizen_is_found_in_a_dump_of_every_table_log_and_bucket(stack: Stack) -> None:
    key = stack.issue_key("dgfip_avis_imposition", "cnaf_attestation_droits")["key"]
    random_numbers = [f"{secrets.randbelow(9 * 10**12) + 10**12}" for _ in range(20)]
    for number in random_numbers:
        stack.get(RFR_ROUTE, key=key, numeroFiscal=number, referenceAvis=f"26{number[2:]}")
    families = [f"{secrets.randbelow(EVERY_NUMBER):07}" for _ in range(20)]
    for number in families:
        stack.get("/v2/quotient-familial", key=key, numeroAllocataire=number, codePostal=POSTCODE)
    stack.get(RFR_ROUTE, key=key, **NUMBERS)
    stack.get("/v2/quotient-familial", key=key, **FAMILY_NUMBERS)
    for numbers in (NUMBERS, FAMILY_NUMBERS):
        requests.get(f"{stack.api_url}/citoyen/acces", numbers, timeout=60)
    identities = [_identity() for _ in range(10)]
    for identity in identities:
        assert ask_by_identity(stack, identity)["errors"][0]["code"] == "35560"
    born = {f"{part}DateNaissance": value for part, value in (("annee", "1988"), ("mois", "3"), ("jour", "12"))}
    known = identities[0] | {"nomNaissance": "DELMAS", "prenoms[]": ["AMINATA"], _COMMUNE: "75111", **born}
    assert ask_by_identity(stack, known)["data"]["quotient_familial"]["valeur"] == 842
    stack.run_cli("audit", "verify")
    dump = "\n".join(stored(stack))
    asked: list[Any] = [*random_numbers, *families, *NUMBERS.values(), FAMILY_NUMBERS["numeroAllocataire"]]
    assert [number for number in asked if re.search(rf"(?<!\d){number}(?!\d)", dump)] == []
    assert [text for text in ("DELMAS", "AMINATA", "LE GOFF", "17 RUE DES LILAS") if text in dump] == []
    for identity in identities:
        name, (first,) = identity["nomNaissance"], identity["prenoms[]"]
        assert [text for text in (name, first, name.lower(), f"jourDateNaissance={_DAY}") if text in dump] == []
    candidates = frozenset(digests(dump))
    assert len(candidates) > len(asked)  # among them the pseudonyms, which are as long as a digest
    family, postcode = FAMILY_NUMBERS.values()
    hidden = [f"{form}{number}" for number in random_numbers for form in ("", "dgfip:")]
    hidden += [f"26{number[2:]}" for number in random_numbers]
    hidden += [*NUMBERS.values(), f"dgfip:{NUMBERS['numeroFiscal']}", family, f"caf:{family}:{postcode}"]
    for identity in identities:
        name, (first,), commune = identity["nomNaissance"], identity["prenoms[]"], identity[_COMMUNE]
        hidden += [name, f"{name}|{first}", f"dss:{name}|{first}|{_BORN}|99100|{commune}"]
    for text in hidden:
        assert not {hashlib.new(algorithm, text.encode()).digest() for algorithm in ALGORITHMS} & candidates
    slices = range(0, EVERY_NUMBER, _SLICE)
    with ProcessPoolExecutor(2) as pool:
        found = [number for numbers in pool.map(found_among, slices, [candidates] * len(slices)) for number in numbers]
    assert found == []


def test_the_dictionary_finds_a_hash_that_has_leaked() -> None:
    leaked = [hashlib.sha256(b"0260001").digest(), hashlib.md5(b"caf:0260002:75011", usedforsecurity=False).digest()]
    dump = f'{{"a": "{leaked[0].hex()}"}} {base64.b64encode(leaked[1]).decode()}'
    assert digests(dump) == set(leaked)
    assert found_among(250_000, frozenset(leaked)) == [260_001, 260_002]
