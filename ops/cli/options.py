"""Options and output common to the verbs of the ``api-particulier`` command."""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from typing import Any, Final
from zoneinfo import ZoneInfo

import click
from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.audit.bucket import NotProven
from api_particulier.habilitations.known_scopes import known_scopes
from api_particulier.habilitations.model import UnknownHabilitation, UnprocessableEvent, checked_siret
from api_particulier.keys.store import KeyRefused
from ops.deployment import Deployment, DeploymentError
from ops.export import ExportError
from ops.operators import record_act

_PARIS = ZoneInfo("Europe/Paris")


_EXPECTED: Final = (
    *(DeploymentError, ExportError, KeyRefused, NotProven, UnprocessableEvent, BotoCoreError, ClientError),
)
"""Errors whose message is for the operator."""


def with_deployment[**P](verb: Callable[P, None]) -> Callable[..., None]:
    """Add the options common to all verbs, and pass the chosen ``Deployment`` first.

    Expected errors become a message and the exit code 1.
    """

    @click.option("--local", is_flag=True, help="Work on the local stack (.local/stack.json).")
    @click.option("--stack-name", default="api-particulier", show_default=True, help="The CloudFormation stack.")
    @click.option("--region", help="The AWS region; the environment's by default.")
    @click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
    @wraps(verb)
    def run(*args: Any, local: bool, stack_name: str, region: str | None, **options: Any) -> None:
        try:
            deployment = Deployment.on_local_stack(stack_name) if local else Deployment.on_aws(stack_name, region)
            verb(deployment, *args, **options)  # type: ignore[arg-type]  # click calls by name
        except _EXPECTED as error:
            raise click.ClickException(str(error)) from None
        except UnknownHabilitation as error:
            raise click.ClickException(f"no habilitation has the id {error}") from None

    return run


_TARGETS: Final = ("token_id", "habilitation_id", "token", "habilitation")
"""Parameters of the verbs that name what they are about."""
_DETAILS: Final = frozenset(
    {
        "organisation",
        "siret",
        "scopes",
        "expires",
        "allowed",
        "ranges",
        "anywhere",
        "days",
        "vendor",
        "since",
        "until",
        "people",
        "unknown",
    }
)
"""Parameters that the audit record of a verb holds; the others may hold personal data."""

with_reason = click.option(
    "--reason", default="", help="The reason, kept in the audit and in the history. Name no person."
)


def recorded[**P](verb: Callable[P, None]) -> Callable[..., None]:
    """Write the audit record of a verb before it runs, like ``with_deployment`` otherwise; adds ``--reason``."""
    takes_reason = "reason" in signature(verb).parameters

    @with_reason
    @with_deployment
    @wraps(verb)
    def run(deployment: Deployment, *args: Any, reason: str, **options: Any) -> None:
        given = {name: value for name, value in options.items() if value not in (None, (), "", False)}
        target = next((str(given[name]) for name in _TARGETS if name in given), None)
        details = [f"{name}={_text(given[name])}" for name in sorted(given.keys() & _DETAILS)]
        record_act(deployment, verb_path(), reason=reason, target=target, details=details)
        if takes_reason:
            options["reason"] = reason
        verb(deployment, *args, **options)  # type: ignore[arg-type]  # click calls by name

    return run


def verb_path() -> str:
    """Return the verb that runs, as it is typed after ``api-particulier``: ``keys issue``."""
    return " ".join(click.get_current_context().command_path.split(" ")[1:])


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class Text(click.ParamType[str]):
    """A text of a length that is kept."""

    name = "text"

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> str:
        text = str(value)
        return text if len(text) <= self._longest else self.fail(f"at most {self._longest} characters")


class Moment(click.ParamType[datetime]):
    """A date or a date and time; a value without a zone is in Paris time."""

    name = "date"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> datetime:
        """Return the moment in UTC; a date means its first instant in Paris."""
        try:
            read = datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)
        except ValueError:
            self.fail(
                "a date such as 2028-05-31, or a date and time such as 2028-05-31T18:00+02:00, in Paris by default"
            )
        moment = read if isinstance(read, datetime) else datetime.combine(read, time())
        return (moment if moment.tzinfo else moment.replace(tzinfo=_PARIS)).astimezone(UTC)


class Scopes(click.ParamType[list[str]]):
    """Scopes separated by commas; with ``known``, only those that open a field, or stand for ones that do."""

    name = "a,b,c"

    def __init__(self, *, known: bool = False) -> None:
        self._known = known

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> list[str]:
        scopes = [scope.strip() for scope in str(value).split(",")]
        if not all(scopes):
            self.fail("a comma-separated list of scopes")
        for scope in scopes if self._known else ():
            if scope not in known_scopes():
                nearest = get_close_matches(scope, known_scopes(), 1)
                self.fail(f"no field has the scope {scope}" + (f"; did you mean {nearest[0]}?" if nearest else ""))
        return scopes


class Siret(click.ParamType[str]):
    """A SIRET with a correct check digit; spaces are accepted."""

    name = "siret"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> str:
        try:
            return checked_siret(str(value))
        except ValueError:
            self.fail("14 digits, of which the last is a key")


class Future(Moment):
    """A moment to come."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> datetime:
        moment = super().convert(value, param, context)
        if moment <= datetime.now(UTC):
            self.fail(f"{shown(moment)} is in the past")
        return moment


def print_json(value: object) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_text(values: dict[str, Any]) -> None:
    width = max(14, *(len(name) + 2 for name in values))
    for name, value in values.items():
        click.echo(f"{name + ':':{width}}{shown(value)}")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], nothing: str) -> None:
    """Print rows under the names of their columns, or the sentence ``nothing`` when there is none."""
    if not rows:
        click.echo(nothing)
        return
    lines = [[name.upper() for name in columns], *([shown(row[name]) for name in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def shown(value: object) -> str:
    """Return a value as a terminal shows it: an instant is in Paris time with its offset, and options take it back."""
    match value:
        case None | "" | [] | ():
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(shown, value))
        case datetime():
            return value.astimezone(_PARIS).isoformat(timespec="seconds")
        case str() if _INSTANT.fullmatch(value):
            return shown(datetime.fromisoformat(value))
    return str(value)


_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")
