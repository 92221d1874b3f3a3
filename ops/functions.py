"""The functions and the datasets declared under ``functions/``."""

from importlib import import_module
from typing import Any

from api_particulier.api.dataset import Dataset
from api_particulier.api.parameters import Parameters
from ops.template import ROOT


def modules() -> dict[str, Any]:
    """Return the module of each function, by the name of its folder."""
    folders = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))
    return {folder: import_module(f"functions.{folder}.app") for folder in folders}


def datasets() -> list[Dataset[Parameters]]:
    """Return every dataset: of the tax service, of the CAF, then of v3."""
    declared: list[Dataset[Parameters]] = [
        module.DATASET for module in modules().values() if hasattr(module, "DATASET")
    ]
    return sorted(declared, key=lambda dataset: (("dgfip", "caf", "dss").index(dataset.provider), min(dataset.routes)))
