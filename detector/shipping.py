"""The networks that ship, each with its first weights, recipe and data, and how their files are made."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from detector.budgets import BUDGETS, FINE_TUNING
from detector.calibration import calibrate, lean
from detector.corruptions import corrupt_some
from detector.data import Dataset, Images, concatenate
from detector.models import CNN, Detector, Transfer
from detector.training import Recipe, train_and_keep
from detector.weights import MODELS_DIR, load_model, save_model
from detector.wild import several_sources


@dataclass(frozen=True)
class Training:
    """How a shipped model is made.

    Attributes:
        network: makes it with its first weights; or the file in models/ of another run's, which this one goes on from.
        recipe: how it is trained.
        learns_from: CIFAKE's dataset to the one that it is trained and chosen on.
        false_fake: at most this share of the photographs among `learns_from`'s calibration pictures is called FAKE.
    """

    network: Callable[[], Detector] | str
    recipe: Recipe
    learns_from: Callable[[Dataset], Dataset] = lambda data: data
    false_fake: float | None = None


FULL = BUDGETS["full"]
LONG = replace(FULL.cnn, epochs=34, cut_mix=0.5, seed=1)
ROBUST = replace(LONG, epochs=10, learning_rate=4e-3, warmup=0.1, corrupted=0.6, seed=0)
TRANSFER = replace(
    FINE_TUNING,
    epochs=14,
    batch_size=256,
    learning_rate=2e-3,
    warmup=0.1,
    block_rate=0.8,
    subjects=0.3,
    ema=0.999,
    cut_mix=0.5,
    seed=4,
)
WILD = replace(TRANSFER, epochs=4, corrupted=0.3, cut_mix=0.25, seed=5)
LITE2 = partial(Transfer, backbone="efficientnet_lite2", size=128, mirror=True, learn_statistics=True, pretrained=True)

TRAININGS = {
    "cnn": Training(lambda: CNN(**FULL.network), LONG),
    "small": Training(lambda: CNN(widths=(48, 64, 64), mirror=True), Recipe(epochs=8, seed=1)),
    "robust": Training("seeds/robust-41", ROBUST),
    "transfer": Training(LITE2, TRANSFER),
    "wild": Training(partial(LITE2, parts=True), WILD, several_sources, false_fake=0.03),
}


def train_shipped(name: str, data: Dataset, path: Path, *, seed: int | None = None) -> pd.DataFrame:
    """Train the network of that name by its recipe, calibrate it, write it to `path`; the history (see `train`).

    By another seed than its own where told.
    """
    training = TRAININGS[name]
    mixture = training.learns_from(data)
    recipe = training.recipe if seed is None else replace(training.recipe, seed=seed)
    torch.manual_seed(recipe.seed)
    if isinstance(training.network, str):
        network, after = load_model(MODELS_DIR / f"{training.network}.safetensors"), f", after {training.network}"
    else:
        network, after = training.network(), ""
    chooses = _chooses(mixture.validation, recipe)
    model, history, checkpoint = train_and_keep(network, mixture.train, chooses, recipe, name=name)
    made = {"recipe": asdict(recipe), "data": f"{mixture.name}, {len(mixture.train):,} images{after}"}
    finish(model, mixture, data, path, made, training.false_fake)
    checkpoint.unlink()  # only now is nothing lost with it
    return history


def finish(
    model: Detector, mixture: Dataset, data: Dataset, path: Path, made: dict, false_fake: float | None = None
) -> None:
    """Calibrate a model, which learnt from `mixture`, and write it to `path` with how it was `made`.

    It is leaned towards REAL first where a share of `Training.false_fake` is given.
    """
    raw = path.with_suffix(".part")  # what is not calibrated never lies where it ships
    save_model(model, raw, **made)
    model = load_model(raw)  # as it ships: rounded
    raw.unlink()
    if false_fake is not None:
        lean(model, mixture.calibration, false_fake)
        leaned = f"leaned until at most {false_fake:.0%} of their calibration photographs are called FAKE"
        made = made | {"data": f"{made['data']}; {leaned}"}
    calibrate(model, mixture.train, data.calibration)  # what is promised is promised of CIFAKE's pictures
    save_model(model, path, **made)


def _chooses(validation: Images, recipe: Recipe) -> Images:
    """What the best weights are chosen by: the pictures, and as many corrupted ones where the recipe trains on such."""
    if not recipe.corrupted:
        return validation
    corrupted = corrupt_some(validation.pixels, 1.0, np.random.default_rng(0))
    return concatenate(validation, replace(validation, pixels=corrupted))
