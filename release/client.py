"""The clients: ``python -m release.client`` writes the packages in ``clients`` and builds them.

openapi-python-client makes the Python one from the documentation, openapi-typescript the types of the JavaScript one.
Pages and the webhook of DataPass, which are for no client, are left out, and the parts of the documentation have names
that Python can import.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from release.build import ROOT, ToolError, run_tool
from release.openapi.generator import openapi

FOLDER: Final = ROOT / "clients/python"
PACKAGE: Final = "api_particulier_client"
TOOLS: Final = ROOT / ".local/tools/client/bin"
JAVASCRIPT: Final = ROOT / "clients/javascript"
PACKAGES: Final = ROOT / ".local/javascript/node_modules"
NODE: Final = ROOT / ".local/tools/node/bin"
_LEFT_OUT: Final = ("/api/cles/", "/api/datapass/", "/api/open-api.yml", "/documentation-open-api.yaml")
_MODULES: Final = {"Données fiscales": "dgfip", "Données familiales": "caf", "Prestations sociales (v3)": "dss"}
"""The module of each part of the documentation, where its name is no identifier."""
_SETTINGS: Final = {"package_name_override": PACKAGE, "literal_enums": True, "post_hooks": []}


def build() -> Path:
    """Write the package and build its wheel; return the wheel's path, or raise ``ToolError``."""
    shutil.rmtree(FOLDER / "dist", ignore_errors=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "openapi.json").write_text(json.dumps(document()))
        (folder / "settings.json").write_text(json.dumps(_SETTINGS))
        command = [str(TOOLS / "openapi-python-client"), "generate", "--meta", "none", "--overwrite"]
        command += ["--path", str(folder / "openapi.json"), "--config", str(folder / "settings.json")]
        run_tool([*command, "--output-path", str(FOLDER / PACKAGE), "--fail-on-warning"], folder / "log", {})
        run_tool(
            [str(TOOLS / "python"), "-m", "build", "--wheel", "--no-isolation", str(FOLDER)], folder / "build.log", {}
        )
    (wheel,) = (FOLDER / "dist").glob("*.whl")
    return wheel


def build_javascript() -> Path:
    """Write the types and build the package; return its path, or raise ``ToolError``."""
    shutil.rmtree(JAVASCRIPT / "dist", ignore_errors=True)
    (JAVASCRIPT / "dist").mkdir()
    path = {"PATH": f"{NODE}{os.pathsep}{os.environ['PATH']}"}
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "openapi.json").write_text(json.dumps(document()))
        command = [str(PACKAGES / ".bin/openapi-typescript"), str(folder / "openapi.json")]
        run_tool([*command, "--output", str(JAVASCRIPT / "api.d.ts")], folder / "log", path)
        command = [str(NODE / "npm"), "pack", str(JAVASCRIPT), "--pack-destination", str(JAVASCRIPT / "dist")]
        run_tool(command, folder / "pack.log", path)
    (package,) = (JAVASCRIPT / "dist").glob("*.tgz")
    return package


def document() -> dict[str, Any]:
    """Return the documentation as the generator takes it."""
    described = openapi()
    paths = {path: item for path, item in described["paths"].items() if not path.startswith(_LEFT_OUT)}
    for item in paths.values():
        for operation in item.values():
            operation["tags"] = [_MODULES.get(tag, tag.lower()) for tag in operation["tags"]]
    return described | {"paths": paths, "servers": described["servers"][:1]}


if __name__ == "__main__":
    try:
        for package in (build(), build_javascript()):
            print(package.relative_to(ROOT))  # noqa: T201 - a command
    except ToolError as failure:
        sys.exit(str(failure))
