"""What is declared under ``functions/``."""

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from api_particulier.api.dataset import Dataset
from api_particulier.api.parameters import Parameters

ROOT: Final = Path(__file__).parent.parent


def modules() -> dict[str, Any]:
    """Return each function's module, by the name of its folder."""
    folders = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))
    return {folder: import_module(f"functions.{folder}.app") for folder in folders}


def datasets() -> list[Dataset[Parameters]]:
    """Return every dataset, those of the tax service first."""
    declared: list[Dataset[Parameters]] = [one.DATASET for one in modules().values() if hasattr(one, "DATASET")]
    return sorted(declared, key=lambda one: (one.provider != "dgfip", min(one.routes)))
