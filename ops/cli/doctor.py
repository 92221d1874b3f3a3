"""``api-particulier doctor``: what a deployment lacks, line by line."""

from dataclasses import asdict

import click

from ops.cli.options import print_json, with_deployment
from ops.deployment import Deployment
from ops.doctor import Finding, examine, is_healthy

_MARKS = {"ok": "ok", "wrong": "WRONG", "unchecked": "-"}


@click.command()
@with_deployment
def doctor(deployment: Deployment, *, as_json: bool) -> None:
    """Report what is missing or wrong in a deployment, and call it; exit with 1 when something is.

    It changes nothing and prints no secret. On AWS, what could not be checked is wrong too.
    """
    findings: list[Finding] = []
    for finding in examine(deployment):
        findings.append(finding)
        if not as_json:
            click.echo(f"{_MARKS[finding.state]:6} {finding.check + ':':15} {finding.text}")
    healthy = is_healthy(findings, local=deployment.is_local)
    if as_json:
        print_json({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        wrong = sum(finding.state == "wrong" for finding in findings)
        unchecked = sum(finding.state == "unchecked" for finding in findings)
        click.echo(f"{len(findings)} checks: {wrong} wrong, {unchecked} not checked.")
    if not healthy:
        raise click.exceptions.Exit(1)
