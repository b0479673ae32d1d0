"""The networks that ship, each with fresh weights, its recipe and its data, and how their files are made."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from detector.budgets import BUDGETS
from detector.calibration import calibrate, lean
from detector.corruptions import corrupt_some
from detector.data import Dataset, Images, concatenate
from detector.models import CNN, MODELS_DIR, Detector, Transfer, load_model, save_model
from detector.training import Recipe, train
from detector.wild import several_sources


@dataclass(frozen=True)
class Training:
    """How a shipped model is made.

    Attributes:
        network: with its first weights.
        recipe: how it is trained.
        learns_from: CIFAKE's dataset to the one that it is trained and chosen on.
        false_fake: share of calibration's photographs that may be called FAKE, where that was set.
    """

    network: Callable[[], Detector]
    recipe: Recipe
    learns_from: Callable[[Dataset], Dataset] = lambda data: data
    false_fake: float | None = None


FULL = BUDGETS["full"]
ROBUST = replace(FULL.cnn, epochs=4, learning_rate=8e-3, corrupted=0.6)
WILD = replace(FULL.cnn, epochs=2, images=150_000, learning_rate=8e-3, corrupted=0.3)
TRAININGS = {
    "cnn": Training(lambda: CNN(**FULL.network), FULL.cnn),
    "small": Training(lambda: CNN(widths=(48, 64, 64), mirror=True), Recipe(epochs=8)),
    "robust": Training(lambda: load_model(MODELS_DIR / "cnn.safetensors"), ROBUST),
    "transfer": Training(lambda: Transfer(pretrained=True), FULL.transfer),
    "wild": Training(lambda: load_model(MODELS_DIR / "robust.safetensors"), WILD, several_sources, false_fake=0.03),
}


def train_shipped(name: str, data: Dataset, path: Path, *, seed: int = 0) -> pd.DataFrame:
    """Train the network of that name by its recipe, calibrate it, write it to `path`; the history (see `train`)."""
    training = TRAININGS[name]
    mixture, recipe = training.learns_from(data), replace(training.recipe, seed=seed)
    torch.manual_seed(seed)
    model, history = train(training.network(), mixture.train, _chooses(mixture.validation, recipe), recipe, name=name)
    made = {"recipe": asdict(recipe), "data": f"{mixture.name}, {len(mixture.train):,} images"}
    raw = path.with_suffix(".part")  # what is not calibrated never lies where it ships
    save_model(model, raw, **made)
    model = load_model(raw)  # as it ships: rounded
    raw.unlink()
    if training.false_fake is not None:
        lean(model, mixture.calibration, training.false_fake)
    calibrate(model, mixture.train, data.calibration)  # what is promised is promised of CIFAKE's pictures
    save_model(model, path, **made)
    return history


def _chooses(validation: Images, recipe: Recipe) -> Images:
    """What the best weights are chosen by: the pictures, and as many corrupted ones where the recipe trains on such."""
    if not recipe.corrupted:
        return validation
    corrupted = corrupt_some(validation.pixels, 1.0, torch.Generator().manual_seed(0))
    return concatenate(validation, replace(validation, pixels=corrupted))
