"""Functions run in a process of their own, as Lambda runs them: standard output and error are their log.

``python -m tests.support.runtime <file>`` reads steps as JSON on its standard input, runs them, and writes the
responses and the content of the tables to the file. The root logger prints messages unformatted, as Lambda's
bootstrap sets it. A step may put a fault between a dataset and its provider.
"""

import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import run
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import pytest

from tests.support.template import ROOT

if TYPE_CHECKING:
    from api_particulier.api.parameters import AvisNumbers
    from api_particulier.scopes import ProviderData

type Fetch = Callable[["AvisNumbers"], "ProviderData"]


class Step(TypedDict):
    """One invocation of a function."""

    event: dict[str, Any]
    function: str
    scopes: list[str]
    """The scopes of a new token; its key is put into the event."""
    environ: dict[str, str]
    fault: str
    """``raise``, ``raise many``, ``warn``, ``log``, or empty for none."""


class Outcome(NamedTuple):
    """The outcome of the steps."""

    responses: list[dict[str, Any] | None]
    """None for an invocation that raised an exception."""
    tables: str
    keys: list[str]
    log: str


def run_steps(steps: list[Step], file: Path, environ: Mapping[str, str]) -> Outcome:
    """Run the steps in a new process, with these variables added to its environment."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "layers/common")))
    process = run(
        [sys.executable, "-W", "always", "-m", "tests.support.runtime", str(file)],
        input=json.dumps(steps),
        env={**os.environ, "PYTHONPATH": paths, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return Outcome(**json.loads(file.read_text()), log=process.stdout + process.stderr)


def _raising(numbers: "AvisNumbers") -> "ProviderData":
    """Raise an error of a citizen's data from the middle of a provider call, as a bug in an adapter would."""
    from api_particulier.observability import provider_call

    msg = f"no file of {numbers.numero_fiscal} {numbers.reference_avis}"
    error = ValueError(msg)
    error.add_note(msg)
    with provider_call("dgfip"):
        raise error from KeyError(numbers.numero_fiscal)


def _raising_many(numbers: "AvisNumbers") -> "ProviderData":
    msg = f"nothing about {numbers.numero_fiscal}"
    raise ExceptionGroup(msg, [ValueError(numbers.numero_fiscal), LookupError(numbers.reference_avis)])


def _warning(fetch: Fetch) -> Fetch:
    def faulty(numbers: "AvisNumbers") -> "ProviderData":
        warnings.warn(f"unverified request for {numbers.numero_fiscal}", RuntimeWarning, stacklevel=1)
        return fetch(numbers)

    return faulty


def _logging(fetch: Fetch) -> Fetch:
    def faulty(numbers: "AvisNumbers") -> "ProviderData":
        path = f"/secavis/?spi={numbers.numero_fiscal}&num_facture={numbers.reference_avis}"
        for name in ("", "urllib3.connectionpool", "urllib3.util.retry", "botocore.endpoint", "aws_xray_sdk", "lxml"):
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
                logger.log(level, "Connection pool is full, discarding connection: %s", path, extra={"url": path})
            try:
                raise ValueError(path)  # noqa: TRY301 - stands for a library
            except ValueError:
                logger.exception(path, stack_info=True)
        data = fetch(numbers)
        logging.getLogger("lxml").error("%s", data)
        return data

    return faulty


def _with_fault(fault: str, fetch: Fetch) -> Fetch:
    match fault:
        case "raise":
            return _raising
        case "raise many":
            return _raising_many
        case "warn":
            return _warning(fetch)
        case "log":
            return _logging(fetch)
        case _:
            return fetch


def _main(file: Path) -> None:
    root = logging.StreamHandler(sys.stdout)
    root.setFormatter(logging.Formatter("[%(levelname)s]\t%(asctime)s\t%(message)s"))
    logging.getLogger().handlers[:] = [root]
    # Lambda's bootstrap sets the root logger before it imports a function, and so the project's modules.
    from tests.support.cloud import moto_cloud
    from tests.support.function import invoke, new_environment

    steps: list[Step] = json.load(sys.stdin)
    responses: list[dict[str, Any] | None] = []
    keys: list[str] = []
    with pytest.MonkeyPatch.context() as patch, moto_cloud(patch) as cloud:
        from api_particulier.providers import dgfip

        avis = dgfip.avis
        for step in steps:
            new_environment()
            keys.append(cloud.issue_key(*step["scopes"]))
            step["event"]["headers"]["X-API-Key"] = keys[-1]
            with pytest.MonkeyPatch.context() as patched:
                for name, value in step["environ"].items():
                    patched.setenv(name, value)
                patched.setattr(dgfip, "avis", _with_fault(step["fault"], avis))
                try:
                    response = invoke(step["event"], step["function"])
                    responses.append({"status": response.status, "headers": response.headers, "text": response.text})
                except Exception:  # noqa: BLE001 - the runtime catches everything
                    traceback.print_exc()
                    responses.append(None)
        tables = repr([table.scan()["Items"] for table in (cloud.tokens, cloud.audit, cloud.stats)])
    file.write_text(json.dumps({"responses": responses, "tables": tables, "keys": keys}))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
