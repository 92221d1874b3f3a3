"""The ``api-particulier`` command. Exit codes: 0 done, 1 could not be done, 2 the command line is wrong."""

import click

from ops.cli.audit import audit
from ops.cli.citizens import citizen
from ops.cli.cost import cost
from ops.cli.habilitations import habilitations
from ops.cli.keys import keys
from ops.cli.restore import restore
from ops.cli.statistics import stats
from ops.cli.status import status


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="api-particulier")
def main() -> None:
    """Run API Particulier: habilitations and keys, on AWS or (with --local) on the local stack."""


for command in (keys, habilitations, audit, citizen, stats, status, restore, cost):
    main.add_command(command)
