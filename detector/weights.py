"""The file of a model: its weights, and inside with them what rebuilds it and tells how it was made."""

import hashlib
import json
import platform
from contextlib import suppress
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from detector.models import ARCHITECTURES
from detector.progress import InputError

DEFAULT_MODEL = "wild"  # of the demo and the shell: the one that does best by the rule on sources kept for validation
MODELS_DIR = Path(__file__).resolve().parent.parent / "models"
SHIPPED = {  # by the stem of its file, in the order of all tables and figures
    "cnn": "from scratch",
    "small": "its small sibling",
    "robust": "from scratch, with changed pictures",
    "wild": "EfficientNet-Lite2 from ImageNet, with several sources",
    "transfer": "EfficientNet-Lite2 from ImageNet, with CIFAKE alone",
    "ensemble": "three seeds of `cnn`, `transfer`, and the same at 224 pixels, together",
}


def save_model(model: nn.Module, path: Path, *, recipe: dict, data: str) -> None:
    """Write a model's weights (fp16) and how it was made (architecture, recipe, data, versions) to `path`."""
    tensors = {name: compact(tensor) for name, tensor in model.state_dict().items()}
    metadata = {
        "architecture": type(model).__name__,
        "config": json.dumps(model.config),
        "recipe": json.dumps(recipe),
        "data": data,
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, timm {timm.__version__}",
    }
    write_tensors(tensors, path, metadata)


def write_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write beside `path`, then rename: what lies there is whole, always. Raises InputError if it cannot be written."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part, metadata)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            part.unlink()
        raise InputError(
            f"{path} could not be written ({error}): is the disk full, or the folder another's?"
        ) from error


def digest_of(path: Path) -> str:
    """The first 16 digits of a file's SHA-256, by which ledger, card and ensembles know weights."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def compact(tensor: torch.Tensor) -> torch.Tensor:
    """As a file holds it: on the CPU, fp16 where it is of floats, single numbers aside."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.is_floating_point() and tensor.ndim else tensor


def load_model(path: Path | str) -> nn.Module:
    """A ready model (eval mode, float32, CPU) from a `.safetensors` file alone.

    Raises InputError if the file is absent, or is not one that `save_model` wrote.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        model = ARCHITECTURES[metadata["architecture"]](**json.loads(metadata["config"]))
        model.load_state_dict(tensors)
    except FileNotFoundError as error:
        raise InputError(f"there is no model at {path}: train it with `python -m detector train`.") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is not a whole model of this project ({error}): restore the file.") from error
    return model.eval()


def shipped_models() -> dict[str, nn.Module]:
    """The models in `models/`, by the stem of their file, ready to use; in the order of SHIPPED, then all others."""
    paths = {path.stem: path for path in sorted(MODELS_DIR.glob("*.safetensors"))}
    names = [name for name in SHIPPED if name in paths] + [name for name in paths if name not in SHIPPED]
    return {name: load_model(paths[name]) for name in names}
