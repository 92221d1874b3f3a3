"""Run the embedded cloud, MiniStack.

It listens on loopback only, with a Python 3.13 of its own, which also runs the Lambda functions.
"""

import os
from pathlib import Path
from typing import Any

import boto3
import requests

REGION = "eu-west-3"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""Credentials of the embedded cloud's root user, the only one until another is created."""
STAGE = "live"
MAIL_SENDER = "ne-pas-repondre@api-particulier.exemple.fr"
BRIDGED = Path(__file__).parent / "emulator/bridged.py"
"""MiniStack, with the ``usageIdentifierKey`` of authorisers, which it lacks."""
LOCK_MODE = "GOVERNANCE"
"""Object Lock mode of the local stack's seals: a test that tampers with a seal can put it back."""


def command(python: Path, port: int) -> list[str]:
    # MiniStack's own command binds every interface; hypercorn binds loopback.
    return [str(python.parent / "hypercorn"), f"{BRIDGED}:app", "--bind", f"127.0.0.1:{port}"]


def environment(folder: Path, port: int, *, enforce_iam: bool) -> dict[str, str]:
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "POWERTOOLS_"))}
    return kept | {
        **CREDENTIALS,
        "AUTH": "true" if enforce_iam else "false",
        "GATEWAY_PORT": str(port),
        "LAMBDA_WARM_TTL_SECONDS": "3600",  # what `make up` warmed is warm after a coffee
        "IOT_MTLS_PORT": "0",  # else its MQTT listener binds every interface
        "MINISTACK_REGION": REGION,
        "S3_DATA_DIR": str(scratch / "s3"),
        "TMPDIR": str(scratch),
    }


def client(service: Any, url: str) -> Any:
    return boto3.Session("test", "test", region_name=REGION).client(service, endpoint_url=url)


def reconfigure(functions: Any, name: str, **configuration: Any) -> None:
    """Change a function's configuration and publish it.

    The next call starts a new environment with it.
    """
    functions.update_function_configuration(FunctionName=name, **configuration)
    published = functions.publish_version(FunctionName=name)["Version"]
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=published)  # the alias that callers reach


def mailbox(url: str) -> list[dict[str, Any]]:
    """Return the mails that were sent, with ``To``, ``Subject`` and ``BodyText``.

    No mail leaves this machine.
    """
    response = requests.get(f"{url}/_ministack/ses/messages", timeout=10)
    return [message for messages in response.json()["messages"].values() for message in messages]
