"""What an attacker tries on the running stack, with random numbers, and what is answered: none succeeds.

`make attack` prints each attempt. `make attack WITHOUT=countermeasures` takes away what stops each attack while it is
under way (tests/support/disarmed/countermeasures.py), and then these tests fail. docs/threat-model.md names the actor
of each attack.
"""

import json
import random
import string
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.exceptions import ClientError

from api_particulier.audit.record import CITIZEN, new_id
from api_particulier.audit.sealing import COUNTED
from api_particulier.audit.seals import key_of
from api_particulier.dynamodb import Table
from api_particulier.keys import lifecycle
from ops import audit, chain, verify_file
from sandbox.simulators.caf import Famille, Quotient, app_of
from tests.support.datapass import datapass_event
from tests.support.disarmed.countermeasures import attempt, disarmed
from tests.support.stack import NUMBERS, RFR_ROUTE, Stack
from tests.support.wire import serve

pytestmark = pytest.mark.attack
QUOTIENT = "/v2/quotient-familial"
_CHANCE = random.SystemRandom()


# ── The CAF, with families that no other test asks about ─────────────────────────────────────────────────────────────


def _families(count: int, **more: Any) -> list[Famille]:
    """Return families of one postcode, with numbers far from each other."""
    numbers = _CHANCE.sample(range(1000, 10_000), count)
    quotients = [Quotient(quotient_familial=_CHANCE.randrange(2_000))]
    return [
        Famille(
            numero_allocataire=f"{number}{_CHANCE.randrange(1000):03}", code_postal="75011", quotients=quotients, **more
        )
        for number in numbers
    ]


class Caf:
    """The families of a simulated CAF."""

    def __init__(self) -> None:
        self.known, self.closed = _families(60), _families(200, reponse=151)
        self.broken, self.moving = _families(1, reponse="panne")[0], _families(1)[0]

    def load(self) -> Iterable[Famille]:
        return (self.broken, self.moving, *self.closed, *self.known)


@pytest.fixture(scope="module")
def caf(stack: Stack) -> Iterator[Caf]:
    families = Caf()
    with serve(app_of(families.load)) as url, ExitStack() as changes:
        for function in ("QuotientFamilial", "CitizenAccess"):
            changes.enter_context(stack.with_variables(function, CAF_URL=url))
        yield families


def ask(stack: Stack, key: str, family: Famille | str, end_user: str = "") -> int:
    """Ask about a family as a patient attacker does: the gateway's limit of calls a second is waited for."""
    number = family if isinstance(family, str) else family.numero_allocataire
    numbers, headers = {"numeroAllocataire": number, "codePostal": "75011"}, {"X-API-Key": key, "X-End-User": end_user}
    while True:
        response = requests.get(f"{stack.api_url}{QUOTIENT}", numbers, headers=headers, timeout=60)
        if response.status_code != 429 or response.headers.get("Retry-After") != "1":
            return response.status_code
        time.sleep(0.2)


def ask_all(stack: Stack, key: str, families: Iterable[Famille | str], at_once: int = 6) -> list[int]:
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda family: ask(stack, key, family), families))


def unknown(count: int) -> list[str]:
    """Return numbers of no family, far from each other."""
    return [f"{number}{_CHANCE.randrange(1000):03}" for number in _CHANCE.sample(range(1000, 10_000), count)]


class Town:
    """A town with a key of its own."""

    def __init__(self, stack: Stack, *scopes: str) -> None:
        self._store, now = stack.deployment.key_store, datetime.now(UTC)
        new = lifecycle.NewToken(
            id=lifecycle.NewToken.new_id(),
            organisation="VILLE EXEMPLE",
            siret="21000015400018",
            scopes=frozenset(scopes or {"cnaf_quotient_familial"}),
            expires=now + lifecycle.LIFETIME,
        )
        self.stack, self.token = stack, lifecycle.issue(self._store, new, now)
        self.id, self.key = new.id, lifecycle.draw(self._store, self.token, now)

    @property
    def state(self) -> str:
        return lifecycle.find(self._store, self.id).state

    def size(self, *, people: int = 1000, unknown: int = 1000) -> None:
        lifecycle.set_daily_bounds(self._store, lifecycle.find(self._store, self.id), people, unknown)

    def records(self) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        period = audit.Period(now - timedelta(hours=1), now + timedelta(hours=1))
        return audit.of_token(self.stack.deployment, period, self.id)


# ── One write in a table ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mac", ["kept", "removed"])
def test_a_write_in_the_tokens_table_opens_nothing(stack: Stack, mac: str) -> None:
    town = Town(stack, "dgfip_nombre_parts")
    token = lifecycle.find(stack.deployment.key_store, town.id)
    other = "".join(_CHANCE.choices(string.ascii_uppercase, k=12))
    stack.client("dynamodb").update_item(
        TableName=stack.description["tables"]["tokens"],
        Key={"key_hash": {"S": token.key_hash}},
        UpdateExpression="SET scopes = :scopes, organisation = :other" + (" REMOVE mac" if mac == "removed" else ""),
        ExpressionAttributeValues={":scopes": {"L": [{"S": "dgfip_avis_imposition"}]}, ":other": {"S": other}},
    )
    response = stack.get(RFR_ROUTE, key=town.key, **NUMBERS)
    attempt(f"scopes and the administration {other} written in a token, its MAC {mac}", response.status_code)
    records = town.records()
    stack.run_cli("keys", "revoke", town.id)
    assert response.status_code == 401
    assert other not in str(records)


def test_a_forged_record_is_in_no_citizens_log(stack: Stack) -> None:
    town = Town(stack, "dgfip_nombre_parts")
    assert stack.get(RFR_ROUTE, key=town.key, **NUMBERS).status_code == 200
    (genuine,) = town.records()
    total = stack.access_log(NUMBERS)["total"]
    invented = "".join(_CHANCE.choices(string.ascii_uppercase, k=12))
    forged = genuine | {"id": new_id(), "organisation": invented}
    table = Table(stack.client("dynamodb"), stack.description["tables"]["audit"])
    table.put(forged)
    log = stack.access_log(NUMBERS)
    table.delete({name: forged[name] for name in ("token_day", "id")})
    attempt("an access by a town that made none, written in the audit table", f"{log['total']}, as before: {total}")
    assert log["total"] == total
    assert invented not in str(log)


def test_a_garbage_object_in_the_place_of_a_seal_is_named_and_stepped_over(stack: Stack) -> None:
    town, content = Town(stack, "dgfip_nombre_parts"), _CHANCE.randbytes(300)
    with _without_policy(stack):  # which lets the sealing function alone write
        number = _put_in_the_place_of_the_next_seal(stack, content)
    assert stack.get(RFR_ROUTE, key=town.key, **NUMBERS).status_code == 200
    named = _seal_after(stack, number)
    attempt(f"a garbage object in the place of seal {number}", f"named by the next seal: {named}")
    assert named == {number: sha256(content).hexdigest()}
    verified = stack.run_cli("audit", "verify")
    assert (verified["ok"], number in verified["stepped_over"]) == (True, True)


@contextmanager
def _without_policy(stack: Stack) -> Iterator[None]:
    s3, bucket = stack.deployment.s3, stack.deployment.outputs["SealsBucket"]
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    try:
        yield
    finally:
        s3.put_bucket_policy(Bucket=bucket, Policy=policy)


def _put_in_the_place_of_the_next_seal(stack: Stack, content: bytes) -> int:
    """Write an object where the next seal goes; return its number."""
    s3, bucket = stack.deployment.s3, stack.deployment.outputs["SealsBucket"]
    while True:  # a seal may be made at the same time
        number = chain.last_before(stack.deployment.bucket, datetime.now(UTC) + timedelta(hours=1)) + 1
        try:
            s3.put_object(Bucket=bucket, Key=key_of(number), Body=content, IfNoneMatch="*", ChecksumAlgorithm="SHA256")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"  # noqa: PT017 - any other is a fault
        else:
            return number


def _seal_after(stack: Stack, number: int) -> dict[int, str] | None:
    """Return what the seal after an object names as stepped over; None when there is none within 10 seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if (seal := stack.deployment.bucket.first_seal(number + 1)) is not None:
            return seal.skipped
        time.sleep(0.2)
    return None


def test_a_poisoned_number_makes_no_seal_after_an_invented_one(stack: Stack) -> None:
    town = Town(stack, "dgfip_nombre_parts")
    table = Table(stack.client("dynamodb"), stack.description["tables"]["stats"])
    number = _CHANCE.randrange(10**5, 10**6)
    table.update(
        COUNTED,
        "SET #number = :number, #hash = :hash",
        values={"number": number, "hash": _CHANCE.randbytes(32).hex()},
    )
    stack.get(RFR_ROUTE, key=town.key, **NUMBERS)
    named = stack.run_cli("audit", "verify", expect=1)  # the seals up to that number would have been removed
    following = stack.deployment.bucket.first_seal(number + 1)
    attempt(f"seal {number} named as the last one", f"{named.strip()}; seal {number + 1}: {following and 'made'}")
    assert following is None
    assert "they are missing" in named
    stack.run_cli("stats", "rebuild")
    verified = stack.run_cli("audit", "verify")
    assert verified["ok"]
    assert verified["seals"] < number


def _log(stack: Stack, family: Famille) -> Any:
    numbers = {"numeroAllocataire": family.numero_allocataire, "codePostal": family.code_postal}
    response = requests.get(f"{stack.api_url}/citoyen/acces", numbers, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_role_with_every_right_on_keys_signs_no_seal(stack: Stack) -> None:
    """Such a role signs exports; what it signs is evidence of no access."""
    outputs, kms = stack.deployment.outputs, stack.client("kms")
    thief = _assume_role_with_every_right_on_keys(stack)
    seal_key = outputs["SealKeyId"]
    with disarmed(_open_to_the_account(kms, seal_key)):
        tried = {name: _sign(thief, outputs[name]) for name in ("SealKeyId", "ExportKeyId")}
    attempt("kms:Sign of a forged seal, by a role with kms:*", tried)
    assert tried == {"SealKeyId": "AccessDeniedException", "ExportKeyId": "signed"}


def _assume_role_with_every_right_on_keys(stack: Stack) -> Any:
    iam, name = stack.client("iam"), f"thief-{_CHANCE.randrange(10**9)}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    every = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [trust]}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="keys", PolicyDocument=json.dumps(document | {"Statement": [every]}))
    credentials = stack.client("sts").assume_role(RoleArn=role, RoleSessionName="thief")["Credentials"]
    return boto3.client(
        "kms",
        endpoint_url=str(stack.description["cloud_url"]),
        region_name=str(stack.description["region"]),
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )


@contextmanager
def _open_to_the_account(kms: Any, key_id: str) -> Iterator[None]:
    policy = kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"]
    others, *_ = json.loads(policy)["Statement"]
    allowed = {name: value for name, value in others.items() if name != "NotAction"} | {"Action": "kms:*"}
    opened = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=opened)
    try:
        yield
    finally:
        kms.put_key_policy(KeyId=key_id, PolicyName="default", Policy=policy)


def _sign(kms: Any, key_id: str) -> str:
    try:
        kms.sign(KeyId=key_id, Message=_CHANCE.randbytes(32), MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256")
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "signed"


def test_what_the_key_of_exports_signs_is_no_evidence(stack: Stack, tmp_path: Path) -> None:
    invented = "".join(_CHANCE.choices(string.ascii_uppercase, k=12))
    thief, key_id = _assume_role_with_every_right_on_keys(stack), stack.deployment.outputs["ExportKeyId"]
    forged = _export_of(f"{invented} READ THIS CITIZEN'S NOTICE", lambda message: _signature(thief, key_id, message))
    file, keys = tmp_path / "export.json", (tmp_path / "seals.pem", tmp_path / "exports.pem")
    file.write_bytes(forged)
    signed = f"{verify_file.SIGNATURE}\n{sha256(forged).hexdigest()}".encode()
    signature = {"format": verify_file.SIGNATURE, "signature": _signature(thief, key_id, signed)}
    verify_file.signature_of(file).write_text(json.dumps(signature))
    for path, output in zip(keys, ("SealKeyId", "ExportKeyId"), strict=True):
        path.write_text(audit.public_key(stack.deployment, output))
    try:
        answered = str(verify_file.verify(file, *keys))
    except verify_file.NotProvenError as error:
        answered = str(error)
    attempt("an export of an access that never was, its seal and its file signed by the key of exports", answered)
    assert answered == "seal 1: the signature is wrong"


def _export_of(organisation: str, sign: Callable[[bytes], str]) -> bytes:
    """Return an export of one invented record in one invented seal."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    record = {"id": new_id(), "at": now, "kind": "dataset", "dataset": "avis_imposition", "status": 200}
    record |= {"organisation": organisation}
    header = {"format": verify_file.SEALS[-1], "number": 1, "previous": verify_file.GENESIS_HASH, "at": now, "count": 1}
    header |= {"root": verify_file.leaf_of(record).hex()}
    seal = {"header": header, "signature": sign(verify_file.canonical(header))}
    entries = [{"entry": record, "seal": 1, "index": 0, "path": []}]
    return verify_file.canonical({"format": verify_file.EXPORT, "seals": [seal], "entries": entries})


def _signature(kms: Any, key_id: str, message: bytes) -> str:
    asked = {"KeyId": key_id, "Message": message, "MessageType": "RAW", "SigningAlgorithm": "ECDSA_SHA_256"}
    return b64encode(kms.sign(**asked)["Signature"]).decode()


# ── Messages that nobody signed ──────────────────────────────────────────────────────────────────────────────────────


def test_an_approval_that_datapass_did_not_sign_makes_no_key(stack: Stack) -> None:
    body = json.dumps(datapass_event(at=int(time.time()), model_id=_CHANCE.randrange(10**8, 10**9)))
    signatures = [None, "", "sha256=", f"sha256={_CHANCE.randbytes(32).hex()}", _CHANCE.randbytes(32).hex()]
    headers = [{"X-Hub-Signature-256": value} if value is not None else {} for value in signatures]
    url = f"{stack.api_url}/datapass/v2/api_particulier/webhook"
    store = stack.deployment.key_store
    before = {token.id for token in store.list_all()}
    statuses = [requests.post(url, body.encode(), headers=header, timeout=60).status_code for header in headers]
    attempt("an approval, without a signature and with four others", statuses)
    assert statuses == [401] * 5
    assert {token.id for token in store.list_all()} == before


def test_a_suspicion_that_no_function_sent_suspends_no_key(stack: Stack) -> None:
    town = Town(stack)
    queue = stack.client("sqs").get_queue_url(QueueName=_queue(stack, "Suspicions"))["QueueUrl"]
    sent = {"token": town.id, "at": "2026-11-27T09:00:00+00:00", "sanction": "suspend"}
    for mac in ("", _CHANCE.randbytes(32).hex()):
        stack.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(sent | {"mac": mac}))
    while _waiting(stack, queue):
        time.sleep(0.1)
    state = town.state
    attempt("two suspicions without a MAC of the service in the queue", state)
    assert state == "active"


def _waiting(stack: Stack, queue: str) -> int:
    """Return how many messages of a queue are not processed yet."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = stack.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(map(int, counts.values()))


def _queue(stack: Stack, logical_id: str) -> str:
    return stack.deployment.resources[logical_id].id.rsplit("/", 1)[-1]


# ── What one caller spends ───────────────────────────────────────────────────────────────────────────────────────────


def test_one_broken_file_asked_60_times_leaves_another_town_its_answers(stack: Stack, caf: Caf) -> None:
    first, other = Town(stack).key, Town(stack).key
    with ThreadPoolExecutor(1) as attacker:
        asking = attacker.submit(ask_all, stack, first, [caf.broken] * 60, at_once=3)
        answers = ask_all(stack, other, caf.known[:20], at_once=1)
        broken = Counter(asking.result())
    attempt("one broken file asked 60 times", f"{dict(broken)}; another town: {dict(Counter(answers))}")
    assert answers.count(200) >= 0.95 * len(answers)


def test_200_known_families_without_data_leave_the_key_alive(stack: Stack, caf: Caf) -> None:
    town = Town(stack)
    statuses = Counter(ask_all(stack, town.key, caf.closed))
    state = town.state
    attempt("200 closed files (code 151) in a row", f"{dict(statuses)}, the key is {state}")
    assert statuses == {404: 200}
    assert state == "active"


def test_260_numbers_of_strangers_in_a_towns_form_do_not_stop_its_families(stack: Stack, caf: Caf) -> None:
    town = Town(stack)
    statuses = Counter(ask_all(stack, town.key, unknown(260)))
    families = Counter(ask_all(stack, town.key, caf.known[20:40]))
    attempt("260 numbers of strangers in a town's form", f"{dict(statuses)}; the town's families: {dict(families)}")
    assert statuses[429] > 0
    assert families == {200: 20}
    assert town.state == "active"


def test_guesses_hidden_among_known_calls_end_at_the_bound_of_the_day(stack: Stack, caf: Caf) -> None:
    """At a seventh of the default, which `test_guesses_hidden_among_known_calls_are_refused_before_the_300th` has."""
    town = Town(stack)
    town.size(unknown=40)
    guesses = []
    for guess, known in zip(unknown(60), caf.known, strict=True):
        guesses.append(ask(stack, town.key, guess))
        ask(stack, town.key, known)
    attempt("60 guesses, each followed by a known family, of a key sized for 40", dict(Counter(guesses)))
    assert guesses.count(404) <= 42
    assert guesses[-1] == 429


def test_a_thief_reads_no_more_people_in_a_day_than_the_bound_of_the_key(stack: Stack, caf: Caf) -> None:
    town = Town(stack)
    town.size(people=10)
    statuses = Counter(ask_all(stack, town.key, caf.known[:25], at_once=1))
    attempt("25 known families, with a key sized for 10 people a day", dict(statuses))
    assert statuses == {200: 10, 429: 15}


def test_an_end_user_that_types_numbers_of_strangers_is_refused_alone(stack: Stack, caf: Caf) -> None:
    town = Town(stack)
    statuses = [ask(stack, town.key, number, "guichet-1") for number in unknown(24)]
    others = [ask(stack, town.key, caf.known[0], "guichet-2"), ask(stack, town.key, unknown(1)[0], "guichet-2")]
    attempt("24 numbers of strangers by one end user", f"{dict(Counter(statuses))}; another end user: {others}")
    assert statuses[-1] == 429
    assert others == [200, 404]


def test_a_flood_of_reports_does_not_keep_a_holder_from_killing_a_stolen_key(stack: Stack) -> None:
    town, (stranger, holder) = Town(stack), _addresses(2)

    def report(key: str, address: str) -> int:
        url, headers = f"{stack.api_url}/keys/compromised", {"X-Forwarded-For": address}
        return requests.post(url, json={"key": key}, headers=headers, timeout=60).status_code

    flood = Counter(report(_CHANCE.randbytes(32).hex(), stranger) for _ in range(62))
    own = report(town.key, holder)
    status = stack.get("/introspect", key=town.key).status_code
    attempt(
        "62 reports of invented keys by a stranger", f"{dict(flood)}; the holder's: {own}, and the key gets {status}"
    )
    assert flood == {200: 60, 429: 2}
    assert (own, status) == (200, 401)


def _addresses(count: int) -> list[str]:
    """Return addresses for ``X-Forwarded-For``, from which the local gateway takes a caller's own."""
    return [str(IPv4Address("10.0.0.0") + number) for number in _CHANCE.sample(range(2**24), count)]


# ── A citizen's log ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_family_that_moves_finds_its_earlier_accesses(stack: Stack, caf: Caf) -> None:
    assert ask(stack, Town(stack).key, caf.moving) == 200
    former, caf.moving = caf.moving, caf.moving.model_copy(update={"code_postal": "75020"})
    total = _log(stack, caf.moving)["total"]
    wrong = requests.get(
        f"{stack.api_url}/citoyen/acces",
        {"numeroAllocataire": former.numero_allocataire, "codePostal": "75012"},
        timeout=60,
    )
    attempt("the log of a family that moved, then with a postcode that is not its own", f"{total}, {wrong.status_code}")
    assert (total, wrong.status_code) == (1, 404)


def test_where_a_number_alone_finds_a_citizen_no_reference_opens_a_log(stack: Stack) -> None:
    year = NUMBERS["referenceAvis"][:2]
    references = [f"{year}{_CHANCE.randrange(10**10, 10**11)}" for _ in range(3)]

    def read(reference: str) -> int:
        numbers = NUMBERS | {"referenceAvis": reference}
        return requests.get(f"{stack.api_url}/citoyen/acces", numbers, timeout=60).status_code

    with _asking_impot_particulier(stack):
        statuses = list(map(read, references))
    attempt("a citizen's tax number with three invented references, at API Impôt particulier", statuses)
    assert set(statuses) == {403}


@contextmanager
def _asking_impot_particulier(stack: Stack) -> Iterator[None]:
    """Configure the citizen's access log as with ``DgfipProvider=impot_particulier``, with the right to its secret."""
    iam, role = stack.client("iam"), stack.function("CitizenAccess")["Role"].rsplit("/", 1)[-1]
    named = stack.deployment.outputs["ImpotParticulierClient"]
    secret = stack.client("secretsmanager").describe_secret(SecretId=named)["ARN"]
    right = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secret}
    document = json.dumps({"Version": "2012-10-17", "Statement": [right]})
    iam.put_role_policy(RoleName=role, PolicyName="impot", PolicyDocument=document)
    try:
        with stack.with_variables("CitizenAccess", DGFIP_PROVIDER="impot_particulier"):
            yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="impot")


def test_a_stranger_that_tries_numbers_does_not_lock_a_citizen_out(stack: Stack, caf: Caf) -> None:
    family = caf.known[-1]

    stranger, citizen = _addresses(2)
    tries = Counter(_try_postcodes(stack, family, stranger, 32))
    own = _read_log(stack, family, citizen, family.code_postal)
    attempt("32 postcodes tried by a stranger for one family", f"{dict(tries)}; the family itself: {own}")
    assert tries == {404: 30, 429: 2}
    assert own == 200


def test_the_refusals_of_a_stranger_leave_one_record(stack: Stack, caf: Caf) -> None:
    before = _records_of_citizens(stack)
    tries = _try_postcodes(stack, caf.known[-2], _addresses(1)[0], 6)
    records = _records_of_citizens(stack) - before
    attempt("6 postcodes tried by a stranger", f"{tries}, {records} audit records")
    assert tries == [404] * 6
    assert records == 1


def _try_postcodes(stack: Stack, family: Famille, address: str, count: int) -> list[int]:
    """Try to read a family's log with postcodes that are not its own."""
    postcodes = [f"{_CHANCE.randrange(10_000, 75_000)}" for _ in range(count)]
    return [_read_log(stack, family, address, postcode) for postcode in postcodes]


def _read_log(stack: Stack, family: Famille, address: str, postcode: str) -> int:
    numbers = {"numeroAllocataire": family.numero_allocataire, "codePostal": postcode}
    headers = {"X-Forwarded-For": address}
    return requests.get(f"{stack.api_url}/citoyen/acces", numbers, headers=headers, timeout=60).status_code


def _records_of_citizens(stack: Stack) -> int:
    """Return how many records there are today of requests for access logs."""
    today = {"token_day": f"unknown#{datetime.now(UTC):%Y-%m-%d}"}
    return sum(
        record.get("kind") == CITIZEN for record in stack.deployment.audit.query("#token_day = :token_day", today)
    )


def test_an_operator_that_reads_a_citizens_log_is_seen_in_it(stack: Stack, caf: Caf) -> None:
    family = caf.known[-3]
    numbers = ("--numero-allocataire", family.numero_allocataire, "--code-postal", family.code_postal)
    stack.run_cli("citizen", "access", *numbers)
    seen = [access["jeuDeDonnees"] for access in _log(stack, family)["acces"]]
    attempt("a citizen's log, read by an operator", f"in the log: {seen}")
    assert seen[:1] == ["operator"]


# ── Free text ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_caller_writes_in_a_record_is_bounded(stack: Stack) -> None:
    town = Town(stack, "dgfip_nombre_parts")

    def call(**headers: str) -> int:
        return requests.get(
            f"{stack.api_url}{RFR_ROUTE}", NUMBERS, headers={"X-API-Key": town.key} | headers, timeout=60
        ).status_code

    statuses = [
        call(**{"X-User": "u" * 4_000}),
        call(**{"X-Consent": "c" * 65}),
        call(**{"X-Consent": f"accord-{NUMBERS['numeroFiscal']}"}),
        call(**{"X-End-User": "e" * 4_000}),
    ]
    records = town.records()
    longest = max(len(str(record)) for record in records)
    attempt("a user of 4,000 characters, a consent of 65, one with a tax number", f"{statuses}, records of {longest}")
    assert statuses == [200, 400, 400, 200]
    assert longest < 1_500
