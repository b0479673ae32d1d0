"""The networks that ship, each with fresh weights and its recipe, and how their files are made."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch

from detector.budgets import BUDGETS
from detector.calibration import calibrate
from detector.corruptions import corrupt_some
from detector.data import Dataset, Images, concatenate
from detector.models import CNN, MODELS_DIR, Detector, Transfer, load_model, save_model
from detector.training import Recipe, train

FULL = BUDGETS["full"]
ROBUST = replace(FULL.cnn, epochs=4, learning_rate=8e-3, corrupted=0.6)
TRAININGS: dict[str, tuple[Callable[[], Detector], Recipe]] = {
    "cnn": (lambda: CNN(**FULL.network), FULL.cnn),
    "small": (lambda: CNN(widths=(48, 64, 64), mirror=True), Recipe(epochs=8)),
    "robust": (lambda: load_model(MODELS_DIR / "cnn.safetensors"), ROBUST),
    "transfer": (lambda: Transfer(pretrained=True), FULL.transfer),
}


def train_shipped(name: str, data: Dataset, path: Path, *, seed: int = 0) -> pd.DataFrame:
    """Train the network of that name by its recipe, calibrate it, write it to `path`; the history (see `train`)."""
    network, recipe = TRAININGS[name]
    recipe = replace(recipe, seed=seed)
    torch.manual_seed(seed)
    model, history = train(network(), data.train, _chooses(data.validation, recipe), recipe, name=name)
    made = {"recipe": asdict(recipe), "data": f"{data.name}, {len(data.train):,} images"}
    raw = path.with_suffix(".part")  # what is not calibrated never lies where it ships
    save_model(model, raw, **made)
    model = load_model(raw)  # as it ships: rounded
    raw.unlink()
    calibrate(model, data.train, data.calibration)
    save_model(model, path, **made)
    return history


def _chooses(validation: Images, recipe: Recipe) -> Images:
    """What the best weights are chosen by: the pictures, and as many corrupted ones where the recipe trains on such."""
    if not recipe.corrupted:
        return validation
    corrupted = corrupt_some(validation.pixels, 1.0, torch.Generator().manual_seed(0))
    return concatenate(validation, replace(validation, pixels=corrupted))
