"""The data: CIFAKE and other image sources, their splits, augmentation and corruptions.

`corrupt` and CORRUPTIONS load on first use, so that the processes that decode JPEGs do not import PyTorch.
"""

from importlib import import_module


def __getattr__(name: str) -> object:
    if name in ("CORRUPTIONS", "corrupt"):
        return getattr(import_module("detector.data.corruptions"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
