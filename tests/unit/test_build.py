"""What is deployed of a library; ``tests/e2e/test_package.py`` shows that the functions can do with it."""

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


def test_what_is_not_named_is_not_deployed(package: Path) -> None:
    prune(package, ("__init__.py", "*.so", "kept"))
    assert sorted(str(path.relative_to(package)) for path in package.rglob("*")) == [
        *("__init__.py", "kept", "kept/__init__.py", "kept/deep", "kept/deep/data", "used.so")
    ]


def test_what_is_named_and_not_there_stops_the_build(package: Path) -> None:
    with pytest.raises(ToolError, match=r"keeps what is not there: package/gone.py, \*.dat$"):
        prune(package, ("__init__.py", "gone.py", "*.dat"))
    assert (package / "other/deep/data").exists()


def test_a_package_is_weighed_as_it_is_downloaded(package: Path) -> None:
    assert 6 * 100 < zipped_bytes(package) < 6 * 1_000
