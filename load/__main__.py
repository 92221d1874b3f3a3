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
from urllib.parse import urlencode

import click

from api_particulier import keys as key_service
from load.day import Town, arrivals, steady, towns
from load.report import report, text
from ops.build import ROOT, ToolError, run_tool
from ops.deployment import Deployment, DeploymentError
from sandbox import caf, svair
from sandbox.simulators import PEOPLE

FOLDER: Final = ROOT / ".local/load"
_TOOLS: Final = ROOT / ".local/tools/load/bin"
_INTROSPECT: Final = {"route": "/introspect", "query": {}}


def _questions_of_fictional_people() -> list[dict[str, Any]]:
    """Return what towns ask most, to set prices: an income and a quotient, of whom the simulators answer at once."""
    notices = [
        {"numeroFiscal": one.numero_fiscal, "referenceAvis": one.reference_avis}
        for one in svair.people(PEOPLE / "avis.toml")
        if one.reponse == "avis"
    ]
    files = [
        {"numeroAllocataire": one.numero_allocataire, "codePostal": one.code_postal}
        for one in caf.familles(PEOPLE / "familles.toml")
        if one.reponse == 0
    ]
    asked = [{"route": "/v2/revenu-fiscal-reference", "query": query} for query in notices]
    return asked + [{"route": "/v2/quotient-familial", "query": query} for query in files]


@contextmanager
def _issued(on: Deployment, everybody: list[Town]) -> Iterator[list[str]]:
    """Issue a key to each town, and take them all away at the end."""
    now, made = datetime.now(UTC), []
    try:
        for town in everybody:
            new = key_service.NewToken(
                id=key_service.NewToken.new_id(),
                organisation=f"Essai de charge {town.name}",
                siret="21000000000018",
                scopes=frozenset({"dgfip_avis_imposition", "cnaf_attestation_droits"}),
                expires=now + timedelta(days=1),
            )
            made.append(key_service.issue(on.gateway, new, now))
        yield [key_service.reveal(on.gateway, token) for token in made]
    finally:
        for token in made:
            key_service.revoke(on.gateway, token)


def _drive(url: str, plan: dict[str, Any], seconds: int, in_flight: int) -> list[dict[str, Any]]:
    """Let Locust ask, in its own environment, and return the calls that it made."""
    written, calls = FOLDER / "plan.json", FOLDER / "calls.jsonl"
    written.touch(mode=0o600)  # it holds keys
    written.write_text(json.dumps(plan | {"in_flight": in_flight}))
    calls.unlink(missing_ok=True)
    count = str(len(plan["towns"]))
    command = [str(_TOOLS / "locust"), "--locustfile", str(ROOT / "load/locustfile.py"), "--headless", "--only-summary"]
    command += ["--users", count, "--spawn-rate", count, "--run-time", f"{seconds + 10}s", "--stop-timeout", "40"]
    command += ["--host", url, "--exit-code-on-error", "0"]
    try:
        run_tool(command, FOLDER / "locust.log", {"LOAD_PLAN": str(written), "LOAD_CALLS": str(calls)})
    finally:
        written.unlink()
    return [json.loads(line) for line in calls.read_text().splitlines()]


def _draw(title: str, hours: int) -> Path:
    picture = FOLDER / "load.svg"
    command = [str(_TOOLS / "python"), "-m", "load.plot", str(FOLDER / "calls.jsonl"), str(picture), title, str(hours)]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "MPLCONFIGDIR": str(FOLDER)})  # noqa: S603 - ours
    return picture


@click.command()
@click.option("--scenario", type=click.Choice(["day", "limit"]), default="day", show_default=True)
@click.option("--towns", "count", type=click.IntRange(2, 500), help="How many; 24 in a day, 10 at the limit.")
@click.option("--seconds", type=click.IntRange(2, 86400), default=60, show_default=True, help="How long it lasts.")
@click.option("--route", help="Ask this route alone, without a citizen: /introspect costs no provider anything.")
@click.option("--url", help="Another deployment: what callers put before a route, ending in /api. Needs --keys.")
@click.option(
    "--keys", "key_file", type=click.Path(exists=True, path_type=Path), help="Its keys, one a line, a town each."
)
@click.option(
    "--questions",
    "question_file",
    type=click.Path(exists=True, path_type=Path),
    help='What to ask: lines of {"route": "/v2/…", "query": {…}}, about test identities. /introspect alone by default.',
)
@click.option(
    "--in-flight",
    type=click.IntRange(1, 10000),
    default=4,
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

    ``day``: quiet towns, a few busy ones, one whose software knows no limit, school enrolment at 20 h. ``limit``: towns
    that all ask exactly 20 times a second. No town waits for an answer before it asks again, while fewer calls are in
    flight than may be: what waits for its turn is told as the generator's lateness.
    """
    if (url is None) is not (key_file is None):
        raise click.UsageError("--url and --keys go together")
    everybody = towns(count or 24) if scenario == "day" else steady(count or 10)
    chance = random.Random(seed)  # noqa: S311 - a day drawn is no secret
    FOLDER.mkdir(parents=True, exist_ok=True)
    if question_file:
        questions = [json.loads(line) for line in question_file.read_text().splitlines()]
    else:
        questions = [_INTROSPECT] if url else _questions_of_fictional_people()
    if route:
        questions = [{"route": route, "query": {}}]
    try:
        if url and key_file:
            given = key_file.read_text().split()
            calls = _drive(
                url, _plan(everybody[: len(given)], given, questions, url, seconds, chance), seconds, in_flight
            )
        else:
            on = Deployment.on_local_stack("api-particulier")
            here = str(on.local_api_url)
            with _issued(on, everybody) as issued:
                calls = _drive(here, _plan(everybody, issued, questions, here, seconds, chance), seconds, in_flight)
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


def _plan(  # noqa: PLR0913, PLR0917 - what a plan is made of
    everybody: list[Town],
    given: list[str],
    questions: list[dict[str, Any]],
    url: str,
    seconds: int,
    chance: random.Random,
) -> dict[str, Any]:
    planned = []
    for town, key in zip(everybody, given, strict=True):
        when = arrivals(town, seconds, chance)
        asked = [chance.randrange(len(questions)) for _ in when]
        planned.append({"name": town.name, "key": key, "arrivals": when, "questions": asked})
    paths = [
        {
            "route": one["route"],
            "path": f"{url}{one['route']}" + (f"?{urlencode(one['query'])}" if one["query"] else ""),
        }
        for one in questions
    ]
    return {"url": url, "towns": planned, "questions": paths}


if __name__ == "__main__":
    main(prog_name="make load ARGS=")
