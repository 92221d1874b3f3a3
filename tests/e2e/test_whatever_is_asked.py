"""The deployed API is what its documentation says, whatever it is asked: schemathesis asks for a minute.

The file's name is the last one: what is asked counts as tries of a citizen's access log, of which an hour allows few.
"""

import os
import subprocess

import requests
import yaml

from release import fuzz
from tests.support.openapi import document
from tests.support.stack import Stack
from tests.support.template import ROOT


def test_no_response_to_generated_requests_contradicts_the_documentation(stack: Stack) -> None:
    asked = subprocess.run(
        fuzz.command("--seed", "1"),  # `make fuzz` asks something else each time
        cwd=ROOT,
        env=os.environ | fuzz.environment(stack.description),
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stdout[-5000:] + asked.stderr[-1000:]
    assert f"{sum(map(len, document()['paths'].values()))} selected" in asked.stdout


def test_the_document_is_public_at_its_current_and_its_2020_address(stack: Stack) -> None:
    base = stack.api_url.removesuffix("/api")
    for url, server in ((f"{base}/api/open-api.yml", ".."), (f"{base}/documentation-open-api.yaml", ".")):
        response = requests.get(url, timeout=60)
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert yaml.load(response.text, yaml.CSafeLoader) == document() | {"servers": [{"url": server}]}
