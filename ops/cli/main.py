"""The ``api-particulier`` command. Exit codes: 0 done, 1 could not be done, 2 the command line is wrong."""

import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

import click

from api_particulier.observability import SERVICE
from ops.cli.audit import audit
from ops.cli.citizens import citizen
from ops.cli.cost import cost
from ops.cli.doctor import doctor
from ops.cli.habilitations import habilitations
from ops.cli.keys import keys
from ops.cli.restore import restore
from ops.cli.statistics import stats
from ops.cli.status import status


class _Command(click.Group):
    """The command, whose errors are JSON too, on standard error, when JSON is asked for."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]  # click's overloads, of which the entry point uses this
        """Run the command, and exit with its code."""
        given = list(sys.argv[1:] if args is None else args)
        if "--json" not in given:
            return super().main(given, prog_name, **extra)
        try:
            code = super().main(given, prog_name, **extra | {"standalone_mode": False})
        except click.ClickException as error:
            click.echo(json.dumps({"error": error.format_message()}, ensure_ascii=False), err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="api-particulier")
def main() -> None:
    """Run API Particulier: habilitations and keys, on AWS or (with --local) on the local stack."""


for command in (keys, habilitations, audit, citizen, stats, status, doctor, restore, cost):
    main.add_command(command)


def run() -> None:
    """Run the command as its own process: its standard output has its answer alone, and logs go to standard error."""
    for logger in (logging.getLogger(), logging.getLogger(SERVICE)):
        formatters = [handler.formatter for handler in logger.handlers]
        logger.handlers[:] = [logging.StreamHandler()]
        logger.handlers[0].setFormatter(formatters[0] if formatters else None)
        logger.handlers[0].setLevel(logging.WARNING)
    main()
