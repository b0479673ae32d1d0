"""The data: CIFAKE and other image sources, their splits, augmentation and corruptions.

Public names load their module on first use, so that the processes that decode JPEGs do not import PyTorch.
"""

from importlib import import_module

_MODULES = {
    "load_data": "dataset",
    "leak_free_rows": "dataset",
    "Images": "dataset",
    "Dataset": "dataset",
    "CIFAR10_CLASSES": "cifake",
    "load_unseen": "folders",
    "CORRUPTIONS": "corruptions",
    "corrupt": "corruptions",
    "augment": "transforms",
    "to_unit": "transforms",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
