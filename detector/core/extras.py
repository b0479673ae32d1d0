"""Optional packages, which only some commands need."""

import importlib
from types import ModuleType

from detector.core.console import UserError


def import_extra(name: str) -> ModuleType:
    """Import a package of requirements-scale.txt. Raises UserError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"The package {name} is missing. Install it: python -m pip install -r requirements-scale.txt."
        ) from error
