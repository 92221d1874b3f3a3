"""The settings of a function, read once from its environment."""

import pytest
from pydantic import ValidationError

from api_particulier import aws
from api_particulier.api import deadline
from api_particulier.settings import settings
from tests.support.cloud import Cloud
from tests.support.function import call_api, new_environment
from tests.support.template import template


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings()
    monkeypatch.setenv("TOKENS_TABLE", "other")
    assert settings() is before
    new_environment()
    assert settings().tokens_table == "other"


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError):
        settings().tokens_table = "other"  # type: ignore[misc]  # the tested assignment


def test_the_defaults_are_those_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROVIDER_CONNECT_TIMEOUT", "PROVIDER_READ_TIMEOUT", "PROVIDER_DEADLINE"):
        monkeypatch.delenv(name)
    assert settings().token_cache_seconds == 60
    assert settings().dgfip_available_years == 2


def test_a_call_ends_before_the_timeout_of_the_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PROVIDER_CONNECT_TIMEOUT", "PROVIDER_READ_TIMEOUT", "PROVIDER_DEADLINE"):
        monkeypatch.delenv(name)
    assert deadline.CALL < template()["Globals"]["Function"]["Timeout"] < 29
    counted_opened_and_audited = 3 * aws.CALL_SECONDS
    assert counted_opened_and_audited == deadline.RESERVED
    # A fast DynamoDB leaves all of its time to the provider.
    assert settings().provider_deadline + 1 < deadline.CALL - deadline.RESERVED


def test_a_function_without_the_name_of_its_table_answers_500(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    key = cloud.issue_key("dgfip_avis_imposition")
    monkeypatch.delenv("TOKENS_TABLE")
    response = call_api("introspect/introspect", key=key)
    assert (response.status, response.body["error"]) == (500, "internal_server_error")


@pytest.mark.parametrize("unset", ["", None])
def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch, unset: str | None) -> None:
    if unset is None:
        monkeypatch.delenv("DGFIP_SVAIR_URL")
    else:
        monkeypatch.setenv("DGFIP_SVAIR_URL", unset)
    assert settings().dgfip_svair_url == "https://cfsmsp.impots.gouv.fr"


@pytest.mark.parametrize("name", ["DGFIP_SVAIR_URL", "CAF_URL", "BAN_URL"])
@pytest.mark.parametrize(
    "url", ["https://provider.example/", "http://127.0.0.1:8000", "http://localhost:1/x/", "http://[::1]:1"]
)
def test_the_url_of_a_provider_is_https_or_loopback(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    monkeypatch.setenv(name, url)
    assert getattr(settings(), name.lower()) == url.rstrip("/")


@pytest.mark.parametrize("name", ["DGFIP_SVAIR_URL", "CAF_URL", "BAN_URL"])
@pytest.mark.parametrize(
    "url",
    [
        *("http://provider.example", "http://127.0.0.1.provider.example", "http://127.0.0.1@provider.example"),
        *("http://localhost@provider.example/", "http://10.0.0.1", "http://0.0.0.0:1", "ftp://127.0.0.1", "127.0.0.1"),
        *("file:///etc/passwd", "https:", "//127.0.0.1", "http://provider.example#127.0.0.1"),
    ],
)
def test_any_other_url_of_a_provider_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(ValidationError, match="https"):
        settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DGFIP_PROVIDER", "other"),
        ("DGFIP_AVAILABLE_YEARS", "0"),
        ("DGFIP_AVAILABLE_YEARS", "two"),
        ("PROVIDER_DEADLINE", "soon"),
        ("PROVIDER_READ_TIMEOUT", "0"),
        ("PROVIDER_CONNECT_TIMEOUT", "-1"),
        ("PROVIDER_DEADLINE", "nan"),
        ("TOKEN_CACHE_SECONDS", "-1"),
        ("TOKEN_CACHE_SECONDS", "61"),
    ],
)
def test_an_impossible_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name.lower()):
        settings()
