"""``make load``: a day of towns in a minute or two, against the local stack, or any deployment with a file of keys."""

import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from api_particulier.keys import lifecycle
from load.day import Town, steady, towns
from load.plan import INTROSPECT, Question, of_fictional_people, plan
from load.report import report, text
from ops.deployment import Deployment, DeploymentError
from release.build import ROOT, ToolError, run_tool
from sandbox.stack import LocalStack

FOLDER: Final = LocalStack.here().folder / "load"
TOOLS: Final = ROOT / ".local/tools/load"


@contextmanager
def _issued(on: Deployment, everybody: list[Town]) -> Iterator[dict[Town, str]]:
    """Issue a key to each town, and take them all away at the end."""
    now, made = datetime.now(UTC), []
    try:
        for town in everybody:
            new = lifecycle.NewToken(
                id=lifecycle.NewToken.new_id(),
                organisation=f"Essai de charge {town.name}",
                siret="21000015400018",
                scopes=frozenset({"dgfip_avis_imposition", "cnaf_attestation_droits"}),
                expires=now + timedelta(days=1),
            )
            made.append(lifecycle.issue(on.key_store, new, now))
        yield {town: lifecycle.reveal(on.key_store, token) for town, token in zip(everybody, made, strict=True)}
    finally:
        for token in made:
            lifecycle.revoke(on.key_store, token)


def _drive(planned: dict[str, Any], seconds: int, in_flight: int) -> list[dict[str, Any]]:
    """Let Locust ask, in its own environment, and return the calls that it made."""
    written, calls = FOLDER / "plan.json", FOLDER / "calls.jsonl"
    written.touch(mode=0o600)  # it holds keys
    written.write_text(json.dumps(planned | {"in_flight": in_flight}))
    calls.unlink(missing_ok=True)
    count = str(len(planned["towns"]))
    command = [
        str(TOOLS / "bin/python"),
        "-m",
        "locust",
        "--locustfile",
        str(ROOT / "load/locustfile.py"),
        "--headless",
    ]
    command += ["--users", count, "--spawn-rate", count, "--only-summary"]
    # It ends by itself once every town has asked everything; a day that lasts three times what was said is cut.
    command += ["--run-time", f"{3 * seconds + 120}s", "--host", planned["url"], "--exit-code-on-error", "0"]
    try:
        run_tool(command, FOLDER / "locust.log", {"LOAD_PLAN": str(written), "LOAD_CALLS": str(calls)})
    finally:
        written.unlink()
    return [json.loads(line) for line in calls.read_text().splitlines()]


def _draw(title: str, hours: int) -> Path:
    picture = FOLDER / "load.svg"
    command = [
        str(TOOLS / "bin/python"),
        "-m",
        "load.plot",
        str(FOLDER / "calls.jsonl"),
        str(picture),
        title,
        str(hours),
    ]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "MPLCONFIGDIR": str(FOLDER)})  # noqa: S603 - ours
    return picture


@click.command()
@click.option("--scenario", type=click.Choice(["day", "limit"]), default="day", show_default=True)
@click.option(
    "--towns",
    "count",
    type=click.IntRange(2, 500),
    help="How many: 24 in a day, 10 at the limit, or as many as --keys.",
)
@click.option("--seconds", type=click.IntRange(2, 86400), default=60, show_default=True, help="How long it lasts.")
@click.option("--route", help="Ask this route alone, about nobody: /introspect costs no provider anything.")
@click.option("--url", help="Another deployment: what callers put before a route, ending in /api. Needs --keys.")
@click.option(
    "--keys", "key_file", type=click.Path(exists=True, path_type=Path), help="Its keys, one a line, a town each."
)
@click.option(
    "--questions",
    "question_file",
    type=click.Path(exists=True, path_type=Path),
    help='What to ask: lines of {"route": "/v2/…", "query": {…}}, about test identities.',
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 10000),
    default=8,
    show_default=True,
    help="Calls at once. The local stack starts a process for each; on AWS, say 1000.",
)
@click.option("--seed", type=int, help="Draws the day; another one every run unless given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(  # noqa: PLR0913 - one parameter an option
    *,
    scenario: str,
    count: int | None,
    seconds: int,
    route: str | None,
    url: str | None,
    key_file: Path | None,
    question_file: Path | None,
    in_flight: int,
    seed: int | None,
    as_json: bool,
) -> None:
    """Drive a deployment as its towns do, and tell how it answered and whether it was fair.

    ``day``: quiet towns, a few busy ones, one whose software knows no limit, school enrolment at 20 h. They ask about
    the fictional people of the local stack. ``limit``: towns that all ask exactly 20 times a second, for /introspect,
    as they all do on another deployment unless --questions are given.

    No town waits for an answer before it asks again, while fewer calls are in flight than may be. What waits for its
    turn is late, and puts off what follows: no town ever asks faster than planned. Before the first second every
    function is called until it is warm.
    """
    if (url is None) is not (key_file is None):
        raise click.UsageError("--url and --keys go together")
    given = key_file.read_text().split() if key_file else []
    if given and (count or 0) > len(given):
        raise click.UsageError(f"{count} towns, and {len(given)} keys")
    count = count or len(given) or (24 if scenario == "day" else 10)
    everybody = towns(count) if scenario == "day" else steady(count)
    questions = _questions(scenario, route, question_file, is_local=url is None)
    chance = random.Random(seed)  # noqa: S311 - a day drawn is no secret
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        if url:
            keys = dict(zip(everybody, given, strict=False))
            calls = _drive(plan(url, keys, questions, seconds, chance), seconds, in_flight)
        else:
            on = Deployment.on_local_stack("api-particulier")
            with _issued(on, everybody) as keys:
                calls = _drive(plan(str(on.local_api_url), keys, questions, seconds, chance), seconds, in_flight)
        made = report(calls)
    except (DeploymentError, ToolError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    picture = _draw(f"{len(made.keys)} towns, {scenario}", 24 if scenario == "day" else 0)
    if as_json:
        click.echo(json.dumps(made.described() | {"plot": str(picture.relative_to(ROOT))}))
    else:
        click.echo(f"{text(made)}\n\nPlot: {picture.relative_to(ROOT)}")
    if made.unfair:
        raise click.ClickException(
            "keys within their limit were throttled: " + ", ".join(key.town for key in made.unfair)
        )


def _questions(scenario: str, route: str | None, file: Path | None, *, is_local: bool) -> list[Question]:
    if route:
        return [{"route": route, "query": {}}]
    if file:
        return [json.loads(line) for line in file.read_text().splitlines()]
    return of_fictional_people() if scenario == "day" and is_local else [INTROSPECT]


if __name__ == "__main__":
    main(prog_name="make load ARGS=")
