"""The networks that ship, each with fresh weights and its recipe, and how their files are made."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch

from detector.budgets import BUDGETS
from detector.calibration import calibrate
from detector.data import Dataset
from detector.models import CNN, Detector, Transfer, load_model, save_model
from detector.training import Recipe, train

FULL = BUDGETS["full"]
TRAININGS: dict[str, tuple[Callable[[], Detector], Recipe]] = {
    "cnn": (lambda: CNN(**FULL.network), FULL.cnn),
    "small": (lambda: CNN(widths=(48, 64, 64), mirror=True), Recipe(epochs=8)),
    "transfer": (lambda: Transfer(pretrained=True), FULL.transfer),
}


def train_shipped(name: str, data: Dataset, path: Path, *, seed: int = 0) -> pd.DataFrame:
    """Train the network of that name by its recipe, calibrate it, write it to `path`; the history (see `train`)."""
    network, recipe = TRAININGS[name]
    recipe = replace(recipe, seed=seed)
    torch.manual_seed(seed)
    model, history = train(network(), data.train, data.validation, recipe, name=name)
    made = {"recipe": asdict(recipe), "data": f"{data.name}, {len(data.train):,} images"}
    save_model(model, path, **made)
    model = load_model(path)  # as it ships: rounded
    calibrate(model, data.calibration)
    save_model(model, path, **made)
    return history
