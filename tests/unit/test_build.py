"""The deployed files of a library; ``tests/e2e/test_package.py`` runs the functions with them."""

import shutil
from pathlib import Path

import pytest

from release import build
from release.build import ToolError, prune, zipped_bytes
from tests.support.template import ROOT


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    for name in ("__init__.py", "used.so", "used.pyx", "kept/__init__.py", "kept/deep/data", "other/deep/data"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes(b"0" * 100_000)
    return package


def test_prune_removes_the_files_that_match_no_pattern(package: Path) -> None:
    prune(package, ("__init__.py", "*.so", "kept"))
    assert sorted(str(path.relative_to(package)) for path in package.rglob("*")) == [
        *("__init__.py", "kept", "kept/__init__.py", "kept/deep", "kept/deep/data", "used.so")
    ]


def test_a_pattern_without_a_file_stops_the_build(package: Path) -> None:
    with pytest.raises(ToolError, match=r"keeps what is not there: package/gone.py, \*.dat$"):
        prune(package, ("__init__.py", "gone.py", "*.dat"))
    assert (package / "other/deep/data").exists()


def test_zipped_bytes_is_the_compressed_size(package: Path) -> None:
    assert 6 * 100 < zipped_bytes(package) < 6 * 1_000


# ── The folder that is deployed ──────────────────────────────────────────────────────────────────────────────────────

SAM_BUILDS = f'mkdir -p "$4" && cp {ROOT}/template.yaml "$4" && echo "$PWD" >"$4/made"'
SAM_FAILS = 'mkdir -p "$4" && echo half >"$4/template.yaml" && echo "no space left" && exit 1'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "KEPT", {})
    shutil.copy(ROOT / "dashboard.json", tmp_path)
    (tmp_path / ".local/tools/sam/bin").mkdir(parents=True)
    return tmp_path


def sam(project: Path, script: str) -> None:
    """Replace the tool by a script: ``sam build --cached --build-dir FOLDER …``."""
    tool = project / ".local/tools/sam/bin/sam"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_build_that_fails_leaves_the_last_one(project: Path) -> None:
    folder = project / ".aws-sam/build"
    sam(project, SAM_BUILDS)
    assert build.build(folder, "arm64") == folder / "template.yaml"
    last = files(folder)
    sam(project, SAM_FAILS)
    with pytest.raises(ToolError, match="no space left"):
        build.build(folder, "arm64")
    assert files(folder) == last
    assert sorted(path.name for path in folder.parent.iterdir()) == ["build", "build.log"]


def test_a_build_replaces_the_last_one_whole(project: Path) -> None:
    folder = project / ".aws-sam/build"
    folder.mkdir(parents=True)
    (folder / "removed_function").mkdir()
    sam(project, SAM_BUILDS)
    build.build(folder, "arm64")
    assert files(folder).keys() == {"template.yaml", "made"}


def test_paths_of_the_built_template_lead_to_the_same_files_once_it_is_in_place(project: Path) -> None:
    """`sam build` writes the path of a layer that it does not build from the folder that it was given."""
    folder = project / ".aws-sam/build"
    sam(project, f'{SAM_BUILDS} && cd "$4" && realpath --no-symlinks ../website >made')
    build.build(folder, "arm64")
    assert (folder / "made").read_text().strip() == str((folder / "../website").resolve())
