"""Rewrite the released weights under the new names: `python -m benchmarks.migrate_weights`. Needed once.

Buffers, configuration and recipe get the names of the restructured packages; every tensor stays bit for bit. A file
that already has the new names stays as it is: safetensors orders metadata at random, so its hash would change.
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open

from detector.core import files

BUFFERS = {"least_confidence": "confidence_threshold", "bank": "feature_bank", "largest_distance": "ood_threshold"}
CONFIG = {"mirror": "flip_tta", "learn_statistics": "train_batch_norm", "parts": "crops"}
RECIPE = {
    "rounds": "evaluations_per_epoch",
    "subjects": "auxiliary_weight",
    "shift": "max_translation",
    "ema": "ema_decay",
    "cut_mix": "cutmix",
    "block_rate": "layer_decay",
    "corrupted": "corruption_share",
}
MODELS = {"cnn": "cnn", "transfer": "transfer", "wild": "multi-source"}
CNN_CONFIG = ("widths", "stem", "residuals", "flip_tta")
ROUNDED = ("ImageNet's weights rounded to fp16 before", "ImageNet weights rounded to fp16 before training")
MULTI_SOURCE_DATA = (
    "CIFAKE (REAL and FAKE), Tiny ImageNet (REAL), Stable Diffusion 1.4 images of ImageNet's classes (FAKE), and FAKE "
    "images by nine generators trained for this project (four autoencoders, four GANs, one diffusion model); "
    "207,844 images, on an NVIDIA H100 with torch 2.11.0; ImageNet weights rounded to fp16 before training; "
    "threshold shifted so that at most 3% of the calibration photos of all sources are classified FAKE"
)
NOT_REPRODUCIBLE = "no: the generators it was trained on are no longer part of the project"


def rename(values: dict, names: dict[str, str]) -> dict:
    """Return `values` under their new names, in the same order."""
    return {names.get(key, key): value for key, value in values.items()}


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return a file's tensors and metadata."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118 - not a dict


def new_metadata(metadata: dict[str, str], name: str) -> dict[str, str]:
    """Return the metadata of the model `name` in the new terms."""
    config, recipe = (
        rename(json.loads(metadata[key]), names) for key, names in (("config", CONFIG), ("recipe", RECIPE))
    )
    if metadata["architecture"] == "CNN":
        config = {key: config[key] for key in CNN_CONFIG}
    if recipe["corruption_share"] == 0:
        del recipe["corruption_share"]
    multi_source = name == "multi-source"
    return metadata | {
        "config": json.dumps(config),
        "recipe": json.dumps(recipe),
        "data": MULTI_SOURCE_DATA if multi_source else metadata["data"].replace(*ROUNDED),
        "reproducible": NOT_REPRODUCIBLE if multi_source else f"python -m detector train {name}",
    }


def migrate(old: Path, new: Path) -> None:
    """Write the model file `old` to `new` under the new names, and check that no bit of a tensor changed."""
    tensors, metadata = read(old)
    if "mirror" not in json.loads(metadata["config"]) or (new != old and new.exists()):
        return
    files.write_tensors(rename(tensors, BUFFERS), new, new_metadata(metadata, new.stem))
    written, _ = read(new)
    assert list(written) == sorted(rename(tensors, BUFFERS))
    for name, tensor in tensors.items():
        copy = written[BUFFERS.get(name, name)]
        assert (copy.dtype, copy.shape) == (tensor.dtype, tensor.shape), name
        assert copy.numpy().tobytes() == tensor.numpy().tobytes(), name


def main() -> None:
    """Migrate each released model and print the SHA-256 prefixes before and after."""
    print(f"{'old file':24}{'SHA-256':20}{'new file':28}SHA-256")
    for old_name, new_name in MODELS.items():
        old, new = (files.MODELS_DIR / f"{name}.safetensors" for name in (old_name, new_name))
        before = files.sha256_prefix(old)
        migrate(old, new)
        print(f"{old.name:24}{before:20}{new.name:28}{files.sha256_prefix(new)}")


if __name__ == "__main__":
    main()
