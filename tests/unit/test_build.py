"""The deployed files of a library; ``tests/e2e/test_package.py`` runs the functions with them."""

from pathlib import Path

import pytest

from release.build import ToolError, prune, zipped_bytes


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
