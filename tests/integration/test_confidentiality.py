"""Find no value of a citizen and no key in a log, a metric, a trace, a table or an error, in any failure.

The values are random: finding one, in clear, in another notation or as a plain hash, means that it leaked.
"""

import base64
import hashlib
import html
import json
import random
import secrets
import socket
import string
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_masking import paths
from tests.support.cloud import Cloud
from tests.support.function import call_api, event, invoke
from tests.support.runtime import Step, run_steps
from tests.support.tax_service import BLANK_PAGE, NOT_FOUND_PAGE, NOTICE, REFUSED_PAGE, TaxService, notice_page
from tests.support.wire import closing_after, resetting, response

pytestmark = pytest.mark.slow


TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


class Citizen:
    """A citizen with a random notice."""

    def __init__(self) -> None:
        self.numero = "".join(secrets.choice(string.digits) for _ in range(13))
        self.reference = f"26{''.join(secrets.choice(string.digits) for _ in range(11))}"
        self.notice = {name: self._random(name, value) for name, value in NOTICE.items()}

    def _random(self, name: str, value: object) -> object:
        if isinstance(value, dict):
            return {inner: self._random(inner, member) for inner, member in value.items()}
        if name.startswith("date"):
            return f"{random.randint(10, 28)}/{random.randint(10, 12)}/{random.randint(1900, 1999)}"  # noqa: S311 - no secret
        if name in {"annee", "anneeImpots", "anneeRevenus", "nombreParts", "nombrePersonnesCharge"}:
            return value
        if name.startswith(("revenu", "impot", "montant")):
            return 100_000_000 + secrets.randbelow(900_000_000)
        return f"{_word()} {_word()}-é{_word()}"

    @property
    def query(self) -> dict[str, Any]:
        return {"numeroFiscal": self.numero, "referenceAvis": self.reference}

    @property
    def values(self) -> list[str]:
        """Every value that names or describes the citizen."""
        of_notice = [str(value) for value in paths(self.notice).values() if len(str(value)) > 4]
        words = [word for value in of_notice for word in value.split() if len(word) > 8]
        return [self.numero, self.reference, *of_notice, *words]


def _word() -> str:
    return "".join(secrets.choice(string.ascii_uppercase) for _ in range(12))


def written(value: str) -> Iterator[str]:
    """Yield the notations of a value that reveal it, and its plain hashes."""
    yield from (value, value.lower(), html.escape(value), urllib.parse.quote(value), json.dumps(value)[1:-1])
    if value.isdigit():
        for space in " \N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}":
            yield f"{int(value):,}".replace(",", space)
    for text in (value, value.lower(), f"dgfip:{value}"):
        content = text.encode()
        yield from (content.hex(), base64.b64encode(content).decode().rstrip("="))
        for algorithm in ("md5", "sha1", "sha256", "sha512"):
            digest = hashlib.new(algorithm, content).digest()
            yield from (digest.hex(), digest.hex().upper())
            yield from (encode(digest).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode))


def assert_silent(haystack: str, values: Iterable[str]) -> None:
    found = {way: value for value in values for way in written(value) if way in haystack}
    assert found == {}


def test_a_leak_would_be_found() -> None:
    citizen = Citizen()
    assert len(set(citizen.values)) > 20
    for way in written(citizen.numero):
        with pytest.raises(AssertionError):
            assert_silent(f"… {way} …", citizen.values)


@pytest.fixture
def citizen(dgfip: TaxService) -> Citizen:
    citizen = Citizen()
    dgfip.page = notice_page(citizen.notice)
    return citizen


def unreadable(citizen: Citizen) -> str:
    """Return a page with all of the citizen's values that is not a notice."""
    return notice_page(citizen.notice).replace("sur les revenus", "sur")


def mistyped(citizen: Citizen) -> str:
    """Return a notice with words for amounts."""
    notice: Mapping[str, Any] = citizen.notice
    return notice_page({**notice, "revenuFiscalReference": notice["declarant1"]["nom"]})


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (200, lambda citizen: notice_page(citizen.notice)),
        (404, lambda citizen: NOT_FOUND_PAGE.replace("saisis", citizen.numero)),
        (502, unreadable),
        (502, mistyped),
        (502, lambda citizen: BLANK_PAGE + citizen.numero),
        (503, lambda citizen: REFUSED_PAGE + notice_page(citizen.notice)),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
def test_nothing_that_the_provider_shows_is_logged_or_stored(  # noqa: PLR0913, PLR0917 - a table of cases
    cloud: Cloud,
    dgfip: TaxService,
    citizen: Citizen,
    capfd: pytest.CaptureFixture[str],
    status: int,
    shown: Callable[[Citizen], str],
    accept: str,
) -> None:
    dgfip.page = shown(citizen)
    key = cloud.issue_key("dgfip_avis_imposition")
    agent = _word()
    headers = {"Accept": accept, "X-User": agent, "User-Agent": _word(), "X-Forwarded-For": _word()}
    answer = call_api("avis_imposition/v1", key=key, headers=headers, **citizen.query)
    assert answer.status == status
    logged = capfd.readouterr()
    # The agent is in the audit, and nowhere else.
    assert_silent(logged.out + logged.err, [*citizen.values, key, *headers.values()][:-1])
    assert_silent(stored(cloud), [*citizen.values, headers["User-Agent"]])
    assert key not in stored(cloud)
    if status != 200:
        assert_silent(answer.text + repr(answer.headers), [*citizen.values, key])


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (400, {"numeroFiscal": "x{numero}"}),
        (400, {"referenceAvis": "{reference}-{numero}"}),
        (400, {"referenceAvis": ""}),
        (404, {"referenceAvis": "A{numero}"}),
        (401, {"key": "{numero}"}),
        (403, {"scopes": "foo"}),
        (406, {"Accept": "text/{numero}"}),
    ],
)
def test_a_refusal_does_not_repeat_the_values_of_the_request(
    cloud: Cloud, citizen: Citizen, capfd: pytest.CaptureFixture[str], status: int, change: dict[str, str]
) -> None:
    change = {name: value.format(numero=citizen.numero, reference=citizen.reference) for name, value in change.items()}
    key = change.get("key") or cloud.issue_key(change.get("scopes", "dgfip_avis_imposition"))
    made = event("avis_imposition/v1", key=key, **citizen.query | {"note": citizen.numero})
    made["headers"]["Accept"] = change.get("Accept", "*/*")
    for name in change.keys() & citizen.query.keys():
        made["multiValueQueryStringParameters"][name] = [change[name]]
    made["path"] = f"/api/impots/svair/{citizen.numero}"
    answer = invoke(made, "avis_imposition")
    assert answer.status == status
    logged = capfd.readouterr()
    seen = logged.out + logged.err + answer.text + repr(answer.headers)
    assert_silent(seen + stored(cloud), citizen.values)
    assert_silent(seen, [key])
    assert '"event":"answered"' in logged.out


def stored(cloud: Cloud) -> str:
    return repr([table.scan()["Items"] for table in (cloud.tokens, cloud.audit, cloud.stats)])


def test_the_log_of_a_call_does_not_depend_on_the_citizen(
    cloud: Cloud, dgfip: TaxService, capfd: pytest.CaptureFixture[str]
) -> None:
    key = cloud.issue_key("dgfip_avis_imposition")
    logs = []
    for _ in range(2):
        citizen = Citizen()
        dgfip.page = notice_page(citizen.notice)
        call_api("avis_imposition/v2", key=key, **citizen.query)
        lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        varying = {"timestamp", "duration_ms", "provider_ms"}
        logs.append([{name: value for name, value in line.items() if name not in varying} for line in lines])
    assert logs[0] == logs[1]
    assert [line["event"] for line in logs[0]] == ["answered"]


# ── In a process of its own, as in Lambda ────────────────────────────────────────────────────────────────────────────


class Daemon:
    """The X-Ray daemon: it receives every datagram and answers none."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)  # noqa: FBT003 - its name
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def received(self) -> Iterator[str]:
        """Yield the datagrams received; the kernel keeps them until they are read."""
        while True:
            try:
                yield self._socket.recv(65536).decode()
            except BlockingIOError:
                return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    yield daemon
    daemon.close()


@pytest.fixture
def environ(daemon: Daemon) -> dict[str, str]:
    return {"LAMBDA_TASK_ROOT": "/var/task", "AWS_XRAY_DAEMON_ADDRESS": daemon.address, "_X_AMZN_TRACE_ID": TRACE}


def step(citizen: Citizen, *scopes: str, environ: dict[str, str] | None = None, fault: str = "") -> Step:
    made = event("avis_imposition/v2", **citizen.query)
    opened = list(scopes) or ["dgfip_avis_imposition"]
    return Step(event=made, function="avis_imposition", scopes=opened, environ=environ or {}, fault=fault)


@pytest.mark.usefixtures("dgfip")
def test_no_personal_value_is_in_the_log_or_the_traces_of_a_function(
    citizen: Citizen, daemon: Daemon, environ: dict[str, str], tmp_path: Path
) -> None:
    defective = response(notice_page(citizen.notice).encode()).replace(b"\r\n", f"\r\n{citizen.numero}\r\n".encode(), 1)
    with closing_after(defective)() as chatty, resetting() as reset:
        outcomes: list[tuple[int, Step]] = [
            # A warning comes first, before any line that would have set the logging up.
            (200, step(citizen, fault="warn")),
            (200, step(citizen, fault="log")),
            (500, step(citizen, fault="raise")),
            (500, step(citizen, fault="raise many")),
            (503, step(citizen, environ={"DGFIP_SVAIR_URL": reset})),
            (503, step(citizen, environ={"DGFIP_SVAIR_URL": "http://127.0.0.1:1"})),
            (502, step(citizen, environ={"DGFIP_SVAIR_URL": chatty})),
            (503, step(citizen, environ={"PSEUDONYM_KEY_ID": "nowhere"})),
            (503, step(citizen, environ={"AUDIT_TABLE": "nowhere"})),
            (403, step(citizen, "foo")),
            (200, step(citizen, "dgfip_nombre_parts")),
            (200, step(citizen, environ={"AWS_LAMBDA_LOG_LEVEL": "DEBUG", "POWERTOOLS_LOGGER_LOG_EVENT": "true"})),
        ]
        played = run_steps([step for _, step in outcomes], tmp_path / "answers.json", environ)
    assert [answer and answer["status"] for answer in played.responses] == [status for status, _ in outcomes]
    traces = "".join(daemon.received())
    refused = repr([answer for answer in played.responses if answer and answer["status"] != 200])
    assert_silent(played.log + traces + refused, [*citizen.values, *played.keys])
    assert_silent(played.tables, citizen.values)
    assert not [key for key in played.keys if key in played.tables]
    lines = [json.loads(line) for line in played.log.splitlines()]  # each line is a JSON object
    assert {line["logger"] for line in lines if line.get("event") == "library"} == {
        *(
            "root",
            "py.warnings",
            "urllib3.connection",
            "urllib3.connectionpool",
            "urllib3.util.retry",
            "botocore.endpoint",
            "lxml",
        ),
        "aws_xray_sdk",
    }
    assert {"ValueError", "ExceptionGroup"} <= {line.get("exception") for line in lines}
    assert sum(line.get("event") == "answered" for line in lines) == len(outcomes)


def subsegments(datagrams: Iterable[str]) -> list[dict[str, Any]]:
    return [json.loads(datagram.split("\n", maxsplit=1)[1]) for datagram in datagrams]


@pytest.mark.usefixtures("dgfip")
def test_a_trace_has_a_subsegment_for_the_provider_with_its_outcome(
    citizen: Citizen, daemon: Daemon, environ: dict[str, str], tmp_path: Path
) -> None:
    steps = [
        step(citizen),
        step(citizen, environ={"DGFIP_SVAIR_URL": "http://127.0.0.1:1"}),
        step(citizen, fault="raise"),
        step(citizen, "foo"),
    ]
    played = run_steps(steps, tmp_path / "answers.json", environ)
    assert [answer and answer["status"] for answer in played.responses] == [200, 503, 500, 403]
    segments = subsegments(daemon.received())
    for segment in segments:
        assert segment["name"] == "## dgfip"
        assert segment["trace_id"] == "1-5759e988-bd862e3fe1be46a994272793"
        assert segment["parent_id"] == "53995c3f42cd8ad8"
        assert segment["start_time"] <= segment["end_time"]
        assert "cause" not in segment
    assert [(segment["annotations"], segment.get("fault", False)) for segment in segments] == [
        ({"outcome": "ok"}, False),
        ({"outcome": "network_error"}, True),
        ({"outcome": "internal_server_error"}, True),
    ]


@pytest.mark.usefixtures("dgfip")
def test_a_call_that_lambda_does_not_trace_sends_and_logs_nothing_about_traces(
    citizen: Citizen, daemon: Daemon, environ: dict[str, str], tmp_path: Path
) -> None:
    headers = [
        *("", "?", "Root", "Root=;Parent=;Sampled=", "Root=x;Parent=y;Sampled=z", "Sampled=1"),
        *(TRACE.replace(";Sampled=1", ""), TRACE.replace("Sampled=1", "Sampled=0")),
    ]
    steps = [step(citizen, environ={"_X_AMZN_TRACE_ID": header}) for header in headers for _ in range(2)]
    played = run_steps(steps, tmp_path / "answers.json", environ)
    assert [answer and answer["status"] for answer in played.responses] == [200] * len(steps)
    assert list(daemon.received()) == []
    events = [json.loads(line).get("event") for line in played.log.splitlines()]
    assert events == ["answered"] * len(steps)
