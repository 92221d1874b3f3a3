"""Take part in `make attack WITHOUT=countermeasures`: each Python that has this folder on its path imports this module.

The tests, the stack that they start and its functions have it, and only then.
"""

import importlib

importlib.import_module("countermeasures").install()
