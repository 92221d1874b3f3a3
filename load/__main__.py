"""``make load``: send the calls of a day in a minute or two.

The target is the local stack, or any deployment with a file of keys.
"""

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
from load.plan import INTROSPECT, Request, Target, for_fictional_people, plan
from load.report import report, text
from ops.deployment import Deployment, DeploymentError
from release.build import ROOT, ToolError, run_tool
from sandbox.stack import LocalStack
from sandbox.steps import step
from sandbox.town.demarches import SIRET

FOLDER: Final = LocalStack.here().folder / "load"
_BY_IDENTITY: Final = ("cnaf_quotient_familial", "cnaf_allocataires", "cnaf_enfants", "cnaf_adresse")
TOOLS: Final = ROOT / ".local/tools/load"


@contextmanager
def _issued_keys(deployment: Deployment, towns: list[Town]) -> Iterator[dict[Town, str]]:
    """Issue a key to each town, and revoke them all at the end."""
    now, tokens = datetime.now(UTC), []
    try:
        for town in towns:
            new = lifecycle.NewToken(
                id=lifecycle.NewToken.new_id(),
                organisation=f"Essai de charge {town.name}",
                siret=SIRET,
                scopes=frozenset({"dgfip_avis_imposition", "cnaf_attestation_droits", *_BY_IDENTITY}),
                expires=now + timedelta(days=1),
            )
            tokens.append(lifecycle.issue(deployment.key_store, new, now))
        store = deployment.key_store
        yield {town: lifecycle.draw(store, token, now) for town, token in zip(towns, tokens, strict=True)}
    finally:
        for token in tokens:
            lifecycle.revoke(deployment.key_store, token)


def _run_locust(planned: dict[str, Any], seconds: int, in_flight: int) -> list[dict[str, Any]]:
    """Run Locust, in its own environment, and return the calls that it made."""
    plan_file, calls = FOLDER / "plan.json", FOLDER / "calls.jsonl"
    plan_file.touch(mode=0o600)  # it holds keys
    plan_file.write_text(json.dumps(planned | {"in_flight": in_flight}))
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
    # Locust stops once every town has sent its calls; a run that takes three times its planned length is cut off.
    command += ["--run-time", f"{3 * seconds + 120}s", "--host", planned["url"], "--exit-code-on-error", "0"]
    try:
        run_tool(command, FOLDER / "locust.log", {"LOAD_PLAN": str(plan_file), "LOAD_CALLS": str(calls)})
    finally:
        plan_file.unlink()
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
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "MPLCONFIGDIR": str(FOLDER)})  # noqa: S603 - a program of this project
    return picture


@click.command()
@click.option("--scenario", type=click.Choice(["day", "limit"]), default="day", show_default=True)
@click.option(
    "--towns",
    "count",
    type=click.IntRange(2, 500),
    help="How many towns: 24 in a day, 10 at the limit, or as many as --keys.",
)
@click.option("--seconds", type=click.IntRange(2, 86400), default=60, show_default=True, help="How long it lasts.")
@click.option("--route", help="Call this route alone, without parameters: /introspect calls no provider.")
@click.option("--url", help="Another deployment: its address before a route, ending in /api. Needs --keys.")
@click.option("--v3-url", help="Its address before /v3; that of --url without /api, unless given.")
@click.option(
    "--keys", "key_file", type=click.Path(exists=True, path_type=Path), help="Its keys, one a line, a town for each."
)
@click.option(
    "--questions",
    "question_file",
    type=click.Path(exists=True, path_type=Path),
    help='The requests to send: lines of {"route": "/v2/…" or "/v3/…", "query": {…}}, for test identities.',
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 10000),
    default=8,
    show_default=True,
    help="Calls at the same time. The local stack starts a process for each; on AWS, 1000 for instance.",
)
@click.option("--seed", type=int, help="Draws the day; a new one every run unless given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(  # noqa: PLR0913 - one parameter an option
    *,
    scenario: str,
    count: int | None,
    seconds: int,
    route: str | None,
    url: str | None,
    v3_url: str | None,
    key_file: Path | None,
    question_file: Path | None,
    in_flight: int,
    seed: int | None,
    as_json: bool,
) -> None:
    """Call a deployment as its towns do; report latency, errors and fairness.

    ``day``: quiet towns, a few busy ones, a greedy one that ignores the limit, and school enrolment at 20 h. The calls
    are for the fictional people of the local stack. ``limit``: towns that all make exactly 20 calls a second. Those
    calls, and all calls to another deployment, are for /introspect, unless --questions is given.

    A town does not wait for a response before its next call, as long as fewer calls are in flight than allowed. A call
    that has to wait is late, and delays the following ones: a town never calls faster than planned. Before the run,
    every function is called until it is warm.
    """
    if (url is None) is not (key_file is None):
        raise click.UsageError("--url and --keys go together")
    given_keys = key_file.read_text().split() if key_file else []
    if given_keys and (count or 0) > len(given_keys):
        raise click.UsageError(f"{count} towns, and {len(given_keys)} keys")
    count = count or len(given_keys) or (24 if scenario == "day" else 10)
    drawn_towns = towns(count) if scenario == "day" else steady(count)
    requests = _requests(scenario, route, question_file, is_local=url is None)
    rng = random.Random(seed)  # noqa: S311 - a drawn day is no secret
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        if url:
            keys = dict(zip(drawn_towns, given_keys, strict=False))
            target = Target(url, (v3_url or url.removesuffix("/api")).rstrip("/"))
            planned = plan(target, keys, requests, seconds, rng)
            with step(_title(count, seconds)):
                calls = _run_locust(planned, seconds, in_flight)
        else:
            deployment = Deployment.on_local_stack("api-particulier")
            click.echo(f"· issuing {count} keys, which are revoked at the end", err=True)
            with _issued_keys(deployment, drawn_towns) as keys:
                local = LocalStack.here().description()
                target = Target(local["api_url"], local["v3_url"].rstrip("/"))
                planned = plan(target, keys, requests, seconds, rng)
                with step(_title(count, seconds)):
                    calls = _run_locust(planned, seconds, in_flight)
        result = report(calls)
    except (DeploymentError, ToolError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    picture = _draw(f"{len(result.keys)} towns, {scenario}", 24 if scenario == "day" else 0)
    if as_json:
        click.echo(json.dumps(result.to_json() | {"plot": str(picture.relative_to(ROOT))}))
    else:
        click.echo(f"{text(result)}\n\nPlot: {picture.relative_to(ROOT)}")
    if result.unfair:
        raise click.ClickException(
            "keys within their limit were throttled: " + ", ".join(key.town for key in result.unfair)
        )


def _title(towns: int, seconds: int) -> str:
    return f"warming the functions, then {towns} towns for {seconds} s"


def _requests(scenario: str, route: str | None, file: Path | None, *, is_local: bool) -> list[Request]:
    if route:
        return [{"route": route, "query": {}}]
    if file:
        return [json.loads(line) for line in file.read_text().splitlines()]
    return for_fictional_people() if scenario == "day" and is_local else [INTROSPECT]


if __name__ == "__main__":
    main(prog_name="make load ARGS=")
