"""Lambda's image, with the relay to the local stack: from its registry or, where none answers, from Debian's packages.

Both have the name that `sam local invoke` looks for, so `make invoke` passes ``--skip-pull-image``.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from release.build import ROOT, ToolError, run_tool

HERE: Final = Path(__file__).parent
SUITE: Final = "trixie"
"""The Debian that has Python 3.13."""
PACKAGES: Final = (
    *("python3.13-minimal", "libpython3.13-stdlib", "libstdc++6", "ca-certificates"),
    *("dash", "coreutils"),  # `sam` runs mv, cp and chmod in the image
)
_MIRROR: Final = "http://deb.debian.org/debian"
_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_PULL_SECONDS: Final = 600
_MERGED: Final = ("bin", "lib", "lib64", "sbin")
"""Folders that are links to those of the same name in ``/usr``."""
ENGINE: Final = """make invoke runs a function in a container of Lambda's image, and no container engine answers.
Install one and start it: on Debian or Ubuntu `sudo apt install docker.io && sudo usermod -aG docker $USER`, then log in
again; on macOS or Windows, Docker Desktop. HERE=1 runs the function in this Python, without a container."""


class EngineMissing(Exception):
    """No container engine answers; the message says what to install."""

    def __init__(self) -> None:
        super().__init__(ENGINE)


def name_of(architecture: str) -> str:
    """Return the name of the image that `sam local invoke` looks for."""
    return f"public.ecr.aws/lambda/python:3.13-{architecture}"


def check_engine() -> None:
    """Raise ``EngineMissing`` unless a container engine answers."""
    if shutil.which("docker") is None or not _succeeds(["docker", "info"]):
        raise EngineMissing


def exists(architecture: str) -> bool:
    """Return whether the image, with its relay, is on this machine."""
    format_ = '{{index .Config.Labels "api-particulier"}}'
    shown = subprocess.run(
        ["docker", "image", "inspect", "--format", format_, name_of(architecture)],  # noqa: S607 - where the machine has it
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.returncode == 0 and shown.stdout.strip() == "relay"


def build(folder: Path, architecture: str) -> str:
    """Build the image in ``folder`` and return its origin; raise ``EngineMissing``, or ``ToolError`` when it fails."""
    check_engine()
    name, folder = name_of(architecture), folder / "image"
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("bootstrap", "relay.py"):
        shutil.copy(HERE / part, folder)
    if _succeeds(["docker", "pull", name], _PULL_SECONDS):
        origin, arguments = "lambda", ["--build-arg", f"BASE={name}"]
    else:
        origin, arguments = "debian", []
        root_filesystem(folder, architecture)
    dockerfile = HERE / f"Dockerfile.{origin}"
    command = ["docker", "build", "--tag", name, "--label", "api-particulier=relay", "--file", str(dockerfile)]
    run_tool([*command, *arguments, str(folder)], folder / "build.log", {})
    return origin


def root_filesystem(folder: Path, architecture: str) -> Path:
    """Write ``rootfs.tar``: Debian's packages, and Lambda's runtime client; raise ``ToolError`` when a tool fails."""
    if shutil.which("apt-get") is None:
        raise ToolError("no registry answers, and the image is made from Debian's packages on Debian or Ubuntu alone")
    root, log = folder / "rootfs", folder / "rootfs.log"
    shutil.rmtree(root, ignore_errors=True)
    for merged in _MERGED:
        (root / "usr" / merged).mkdir(parents=True)
        (root / merged).symlink_to(f"usr/{merged}")
    for empty in ("tmp", "var/task", "var/runtime", "var/rapid", "opt", "etc/ssl/certs"):
        (root / empty).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for package in _download(folder, architecture, log):
        run_tool(["dpkg-deb", "--extract", str(package), str(root)], log, {})
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    (root / "etc/ssl/certs/ca-certificates.crt").write_text("".join(path.read_text() for path in certificates))
    if not (root / "bin/sh").exists():
        (root / "bin/sh").symlink_to("dash")
    (root / "var/lang/bin").mkdir(parents=True)
    (root / "var/lang/bin/python3.13").symlink_to("/usr/bin/python3.13")
    _install_runtime(root / "var/runtime", log)
    # Each container starts from the image: without this, each would compile Python's library and boto3 again.
    compiled = [sys.executable, "-m", "compileall", "-q", "-s", str(root), "-p", "/"]
    compiled += ["--invalidation-mode", "unchecked-hash", str(root / "usr/lib/python3.13"), str(root / "var/runtime")]
    run_tool(compiled, log, {})
    archive = folder / "rootfs.tar"
    owner = ["--numeric-owner", "--owner=0", "--group=0"]
    run_tool(["tar", *owner, "--create", "--file", str(archive), "--directory", str(root), "."], log, {})
    return archive


def _download(folder: Path, architecture: str, log: Path) -> Sequence[Path]:
    """Download the packages and what they need, by an apt that knows nothing of this machine's."""
    apt = folder / "apt"
    for part in (
        "etc/apt/preferences.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/lib/dpkg",
    ):
        (apt / part).mkdir(parents=True, exist_ok=True)
    (apt / "var/lib/dpkg/status").write_text("")
    mirror = os.environ.get("DEBIAN_MIRROR", _MIRROR)
    (apt / "etc/apt/sources.list").write_text(f"deb [signed-by={_KEYRING}] {mirror} {SUITE} main\n")
    debian = {"x86_64": "amd64"}.get(architecture, architecture)
    options: Mapping[str, str] = {
        "Dir": f"{apt}/",
        "Dir::State::status": f"{apt}/var/lib/dpkg/status",
        "Dir::Etc::sourceparts": "-",
        "APT::Architecture": debian,
        "APT::Architectures::": debian,
        "APT::Sandbox::User": "root",  # nothing to leave: it needs no right of root
    }
    command = ["apt-get", "--quiet"]
    for option, value in options.items():
        command += ["-o", f"{option}={value}"]
    run_tool([*command, "update"], log, {})
    install = [*command, "--yes", "--no-install-recommends", "--download-only", "install"]
    run_tool([*install, *PACKAGES], log, {})
    return sorted((apt / "var/cache/apt/archives").glob("*.deb"))


def _install_runtime(folder: Path, log: Path) -> None:
    """Install what Lambda's image holds beside Python: its client, and boto3."""
    uv = shutil.which("uv") or str(ROOT / ".local/tools/uv/bin/uv")
    pins = ["--require-hashes", "--requirement", str(ROOT / "requirements/runtime.txt")]
    python = str(ROOT / ".venv/bin/python")
    run_tool([uv, "pip", "install", "--quiet", "--python", python, "--target", str(folder), *pins], log, {})


def _succeeds(command: Sequence[str], seconds: float = 60) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=seconds, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False
