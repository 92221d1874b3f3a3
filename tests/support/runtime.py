"""A function as Lambda runs it: a process of its own, whose standard output and error are its log.

``python -m tests.support.runtime <answers>`` reads steps as JSON on its standard input, plays them, and writes to
the file ``<answers>`` what the callers got and what the tables hold. The root logger is as the bootstrap leaves it:
it prints messages as they are. A step may sabotage what stands between a dataset and its provider.
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

from tests.support.function import call, forget, moto_cloud
from tests.support.template import ROOT

if TYPE_CHECKING:
    from api_particulier.api.parameters import AvisNumbers
    from api_particulier.scopes import ProviderData

type Ask = Callable[["AvisNumbers"], "ProviderData"]


class Step(TypedDict):
    """One invocation."""

    event: dict[str, Any]
    function: str
    scopes: list[str]
    """Of a token made for this step, whose key is put into the event."""
    environ: dict[str, str]
    sabotage: str


class Played(NamedTuple):
    """What became of the steps."""

    answers: list[dict[str, Any] | None]
    """None for an invocation that raised."""
    tables: str
    keys: list[str]
    log: str


def play(steps: list[Step], answers: Path, environ: Mapping[str, str]) -> Played:
    """Play the steps in a process with this environment besides ours."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "layers/common")))
    ended = run(
        [sys.executable, "-W", "always", "-m", "tests.support.runtime", str(answers)],
        input=json.dumps(steps),
        env={**os.environ, "PYTHONPATH": paths, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return Played(**json.loads(answers.read_text()), log=ended.stdout + ended.stderr)


def _raising(numbers: "AvisNumbers") -> "ProviderData":
    """Fail as an adapter with a fault of its own does, amid its question."""
    from api_particulier.observability import provider_call

    msg = f"no file of {numbers.numero_fiscal} {numbers.reference_avis}"
    error = ValueError(msg)
    error.add_note(msg)
    with provider_call("dgfip"):
        raise error from KeyError(numbers.numero_fiscal)


def _raising_many(numbers: "AvisNumbers") -> "ProviderData":
    msg = f"nothing about {numbers.numero_fiscal}"
    raise ExceptionGroup(msg, [ValueError(numbers.numero_fiscal), LookupError(numbers.reference_avis)])


def _warning(ask: Ask) -> Ask:
    def sabotaged(numbers: "AvisNumbers") -> "ProviderData":
        warnings.warn(f"unverified request for {numbers.numero_fiscal}", RuntimeWarning, stacklevel=1)
        return ask(numbers)

    return sabotaged


def _logging(ask: Ask) -> Ask:
    def sabotaged(numbers: "AvisNumbers") -> "ProviderData":
        path = f"/secavis/?spi={numbers.numero_fiscal}&num_facture={numbers.reference_avis}"
        for name in ("", "urllib3.connectionpool", "urllib3.util.retry", "botocore.endpoint", "aws_xray_sdk", "lxml"):
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
                logger.log(level, "Connection pool is full, discarding connection: %s", path, extra={"url": path})
            try:
                raise ValueError(path)  # noqa: TRY301 - a library's
            except ValueError:
                logger.exception(path, stack_info=True)
        answered = ask(numbers)
        logging.getLogger("lxml").error("%s", answered)
        return answered

    return sabotaged


def _sabotage(kind: str, ask: Ask) -> Ask:
    match kind:
        case "raise":
            return _raising
        case "raise many":
            return _raising_many
        case "warn":
            return _warning(ask)
        case "log":
            return _logging(ask)
        case _:
            return ask


def _main(answers: Path) -> None:
    root = logging.StreamHandler(sys.stdout)
    root.setFormatter(logging.Formatter("[%(levelname)s]\t%(asctime)s\t%(message)s"))
    logging.getLogger().handlers[:] = [root]
    steps: list[Step] = json.load(sys.stdin)
    got: list[dict[str, Any] | None] = []
    keys: list[str] = []
    with pytest.MonkeyPatch.context() as patch, moto_cloud(patch) as cloud:
        from api_particulier.providers import dgfip

        asked = dgfip.avis
        for step in steps:
            forget()
            keys.append(cloud.token(*step["scopes"]))
            step["event"]["headers"]["X-API-Key"] = keys[-1]
            with pytest.MonkeyPatch.context() as patched:
                for name, value in step["environ"].items():
                    patched.setenv(name, value)
                patched.setattr(dgfip, "avis", _sabotage(step["sabotage"], asked))
                try:
                    answer = call(step["event"], step["function"])
                    got.append({"status": answer.status, "headers": answer.headers, "text": answer.text})
                except Exception:  # noqa: BLE001 - as the runtime does
                    traceback.print_exc()
                    got.append(None)
        tables = repr([table.scan()["Items"] for table in (cloud.tokens, cloud.audit, cloud.stats)])
    answers.write_text(json.dumps({"answers": got, "tables": tables, "keys": keys}))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
