"""The optional packages of requirements-scale.txt, which are imported only where they are used."""

import importlib
from types import ModuleType

from detector.core.console import UserError


def import_extra(name: str) -> ModuleType:
    """Import an optional package and return it. Raises UserError with the command that installs it if it is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"The package {name} is missing. Install it: python -m pip install -r requirements-scale.txt."
        ) from error
