"""Log lines and metrics: only the fields of the catalogue."""

import json
import logging
from datetime import UTC, datetime

import pytest

from api_particulier.errors import ProviderUnavailable, UnknownNotice
from api_particulier.observability import FIELDS, LogEvent, log, log_unexpected, provider_call, record_call

SECRET = "2690000000001 TILLEUL"


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str]) -> "Logged":
    return Logged(capfd)


class Logged:
    """The lines logged since the previous reading."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def lines(self) -> list[dict[str, object]]:
        out, err = self._capfd.readouterr()
        assert err == ""
        return [json.loads(line) for line in out.splitlines()]


def test_a_line_has_its_fields_and_the_time(logged: Logged) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    log(LogEvent.ANSWERED, dataset="declarants", status=200, token=None, duration_ms=12)
    (line,) = logged.lines()
    timestamp = line.pop("timestamp")
    assert line == {
        "level": "INFO",
        "service": "api-particulier",
        "event": "answered",
        "dataset": "declarants",
        "status": 200,
        "duration_ms": 12,
    }
    assert isinstance(timestamp, str)
    assert timestamp.endswith("Z")  # Lambda ignores a timestamp in another format
    assert before <= datetime.fromisoformat(timestamp) <= datetime.now(UTC)


@pytest.mark.parametrize("event", [LogEvent.PROVIDER_FAILED, LogEvent.AUDIT_FAILED, LogEvent.INTERNAL_ERROR])
def test_a_failure_is_logged_as_an_error(logged: Logged, event: LogEvent) -> None:
    log(event)
    assert [line["level"] for line in logged.lines()] == ["ERROR"]


def test_a_field_outside_the_catalogue_is_refused(logged: Logged) -> None:
    with pytest.raises(ValueError, match=r"not a field of a log line: nom, numero$"):
        log(LogEvent.ANSWERED, numero=SECRET, nom=SECRET, status=200)
    assert logged.lines() == []
    assert not FIELDS & {"message", "exc_info", "query", "headers", "path", "address", "user", "citizen", "key"}


def test_a_line_of_a_library_is_reduced_to_its_name(logged: Logged) -> None:
    logging.getLogger("some.library").warning("about %s", SECRET, extra={"dataset": SECRET, "event": SECRET})
    logging.getLogger("api-particulier").error(SECRET, exc_info=ValueError(SECRET))
    lines = logged.lines()
    assert [(line["event"], line["logger"]) for line in lines] == [
        ("library", "some.library"),
        ("library", "api-particulier"),
    ]
    assert "TILLEUL" not in repr(lines)


def test_information_lines_of_libraries_are_dropped(logged: Logged) -> None:
    logger = logging.getLogger("some.library")
    logger.setLevel(logging.DEBUG)
    logger.info("about %s", SECRET)
    assert logged.lines() == []


def test_an_unexpected_exception_is_logged_as_its_type_and_line(logged: Logged) -> None:
    def at_fault() -> None:
        raise LookupError(SECRET) from ValueError(SECRET)

    with pytest.raises(LookupError) as raised:
        at_fault()
    log_unexpected(raised.value, "3f0c")
    (line,) = logged.lines()
    assert (line["event"], line["exception"], line["request_id"]) == ("internal_error", "LookupError", "3f0c")
    assert str(line["at_line"]).endswith(f"at_fault:{at_fault.__code__.co_firstlineno + 1}")
    assert "TILLEUL" not in repr(line)
    log_unexpected(LookupError(SECRET), "3f0c")  # it was never raised
    assert "at_line" not in logged.lines()[0]


def test_a_call_is_logged_with_its_dataset_and_status(logged: Logged) -> None:
    record_call("declarants", 404, 12, route="/api/v2/declarants", token=None)
    (line,) = logged.lines()
    assert line.pop("timestamp")
    assert line == {
        "level": "INFO",
        "event": "answered",
        "route": "/api/v2/declarants",
        "duration_ms": 12,
        "service": "api-particulier",
        "dataset": "declarants",
        "status": "404",
    }


@pytest.mark.parametrize(
    ("raised", "outcome"), [(ProviderUnavailable(), "network_error"), (KeyError(SECRET), "internal_server_error")]
)
def test_a_question_that_fails_is_logged_with_its_duration_and_outcome(
    logged: Logged, raised: Exception, outcome: str
) -> None:
    with pytest.raises(type(raised)) as caught, provider_call("dgfip"):
        raise raised
    assert caught.value is raised
    (line,) = logged.lines()
    assert (line["event"], line["provider"], line["outcome"]) == ("provider_failed", "dgfip", outcome)
    assert (line["level"], line["duration_ms"] in range(1000)) == ("ERROR", True)


def test_a_question_that_is_answered_is_in_the_line_of_its_call_alone(logged: Logged) -> None:
    with provider_call("dgfip"):
        pass
    with pytest.raises(UnknownNotice), provider_call("dgfip"):
        raise UnknownNotice
    assert logged.lines() == []
