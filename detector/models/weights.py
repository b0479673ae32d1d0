"""Model files: the weights, with the architecture, recipe, data and versions in the same file."""

import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import safe_open

from detector.core import files
from detector.core.console import UserError
from detector.models.base import Detector
from detector.models.cnn import CNN
from detector.models.native import Native
from detector.models.transfer import Transfer

ARCHITECTURES = {"CNN": CNN, "Transfer": Transfer, "Native": Native}
RELEASED = {  # for CIFAKE, by the stem of the file in models/, in the order of all tables and figures
    "cnn": "a residual network, trained from scratch on CIFAKE",
    "transfer": "EfficientNet-Lite2 with ImageNet weights, fine-tuned on CIFAKE",
}
NATIVE_RELEASED = {  # for images at native resolution
    "native": "CLIP's frozen image encoder with a linear head, trained on photos and generated images of many sources",
    "native-small": "EfficientNet-Lite0 with frozen ImageNet weights and a linear head, trained on the same images",
}


def save_model(model: Detector, path: Path, *, recipe: dict, data: str, reproducible: str = "no") -> None:
    """Write a model to a `.safetensors` file: weights in fp16, and metadata to rebuild and describe it.

    Args:
        model: the model.
        path: the file.
        recipe: the training recipe's values.
        data: the training data, in one line.
        reproducible: the command that trains the same model, or 'no' with the reason.

    Raises UserError if the file cannot be written.
    """
    metadata = {
        "architecture": type(model).__name__,
        "config": json.dumps(model.config),
        "recipe": json.dumps(recipe),
        "data": data,
        "reproducible": reproducible,
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, timm {version('timm')}",
    }
    files.write_tensors(_stored_tensors(model), path, metadata)


def round_weights(model: Detector) -> Detector:
    """Return a copy of the model with its weights rounded as in a file: what `load_model` gives after `save_model`."""
    return _build(type(model), model.config, _stored_tensors(model))


def load_model(path: Path | str) -> Detector:
    """Return a model from its file alone, ready to use: in evaluation mode, float32, on the CPU.

    Raises UserError if the file is absent, damaged, or not written by `save_model`.
    """
    metadata = read_metadata(path)
    try:
        tensors, _ = files.read_tensors(path)
        architecture, config = ARCHITECTURES[metadata["architecture"]], metadata["config"]
        with torch.device("meta"):  # shapes without memory, which a foreign file could ask for without end
            expected = {name: tensor.shape for name, tensor in architecture(**config).state_dict().items()}
        if expected != {name: tensor.shape for name, tensor in tensors.items()}:
            raise ValueError("its tensors do not fit its architecture")
        return _build(architecture, config, tensors)
    except Exception as error:  # of any type, because the file says what is built
        raise _unreadable(path, error) from error


def read_metadata(path: Path | str) -> dict:
    """Return a model file's metadata.

    The keys are architecture, config (dict), recipe (dict), data, reproducible and versions.
    Raises UserError if the file is absent, damaged, or not written by `save_model`.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        return metadata | {key: json.loads(metadata[key]) for key in ("config", "recipe")}
    except FileNotFoundError as error:
        raise UserError(
            f"There is no model at {path}. Restore it with git, or train it by `python -m detector train NAME`."
        ) from error
    except (*files.UNREADABLE, RecursionError) as error:
        raise _unreadable(path, error) from error


def released_models(names: Iterable[str] = RELEASED) -> dict[str, Detector]:
    """Return those of the named released models whose files are in models/, by name, in the order given."""
    paths = {name: files.model_file(name) for name in names}
    return {name: load_model(path) for name, path in paths.items() if path.exists()}


def _build(architecture: type[Detector], config: dict, tensors: dict[str, torch.Tensor]) -> Detector:
    model = architecture(**config)
    model.load_state_dict(tensors)
    return model.eval()


def _stored_tensors(model: Detector) -> dict[str, torch.Tensor]:
    """Return the tensors as a file stores them: on the CPU, floats in fp16; scalars keep their precision."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    return {name: t.half() if t.is_floating_point() and t.ndim else t for name, t in tensors.items()}


def _unreadable(path: Path | str, error: Exception) -> UserError:
    lines = str(error).splitlines() or [type(error).__name__]
    reason = f"is damaged or is not a model of this project ({lines[0][:200]})"
    return UserError(f"{path} {reason}. Restore or delete the file.")
