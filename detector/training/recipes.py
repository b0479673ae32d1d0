"""Recipes: how networks are trained, for each budget of the report and for the released models."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from detector.core.console import UserError
from detector.models.base import Detector
from detector.models.cnn import CNN
from detector.models.transfer import Transfer


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. With the data and the initial weights, the recipe determines the result.

    Attributes:
        epochs: passes over the training images.
        evaluations_per_epoch: how often in an epoch the network is validated and a checkpoint is written.
        batch_size: images a step.
        optimizer: for convolution kernels: 'muon', or 'adamw', which depthwise convolutions need.
        learning_rate: the peak of the one-cycle schedule.
        weight_decay: decoupled weight decay of matrices and kernels; biases and normalisation are not decayed.
        auxiliary_weight: weight of the auxiliary loss (cross-entropy of object class and label together); 0 for none.
        warmup: share of the steps in which the learning rate rises.
        ema_decay: decay of the weights' exponential moving average, a step.
        max_translation: largest random translation, in pixels.
        cutmix: share of the images that get a patch of another image (`data.transforms.augment_and_mix`).
        images: number of training images, sampled at random; None for all.
        frozen_blocks: how many of `Detector.blocks`, from the input on, keep their weights.
        layer_decay: each block's learning rate as a share of the next block's, up to the head (Howard and Ruder 2018,
            arXiv 1801.06146); 1 for the same rate everywhere.
        seed: of the sampling, order and augmentation; callers seed the initial weights with it too.
    """

    epochs: int
    evaluations_per_epoch: int = 1
    batch_size: int = 256
    optimizer: str = "muon"
    learning_rate: float = 12e-3
    weight_decay: float = 0.05
    auxiliary_weight: float = 0.3
    warmup: float = 0.25
    ema_decay: float = 0.99
    max_translation: int = 2
    cutmix: float = 0.0
    images: int | None = None
    frozen_blocks: int = 0
    layer_decay: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Budget:
    """What the report trains.

    Attributes:
        images: number of training images; None for all.
        cnn: the CNN's recipe.
        transfer: the recipe of the pretrained network.
        cost: the expected time, for people.
        network: the CNN's arguments.
    """

    images: int | None
    cnn: Recipe
    transfer: Recipe
    cost: str
    network: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Release:
    """A released model's network, with its initial weights, and recipe."""

    network: Callable[[], Detector]
    recipe: Recipe


FAST = Recipe(epochs=1)  # the fewest epochs whose mean validation accuracy over five seeds exceeds 96%
FINE_TUNING = Recipe(epochs=1, batch_size=64, optimizer="adamw", learning_rate=1e-3, auxiliary_weight=0.0)
DEFAULT_BUDGET = "standard"  # the committed report's, which its prose describes
BUDGETS = {
    "quick": Budget(
        images=5000,
        cnn=Recipe(epochs=2, batch_size=64),
        transfer=replace(FINE_TUNING, batch_size=32, images=1000),
        cost="under 3 minutes on two CPU cores, with a sample of the data",
    ),
    "standard": Budget(
        images=None,
        cnn=replace(FAST, evaluations_per_epoch=4),
        transfer=replace(FINE_TUNING, images=30_000, evaluations_per_epoch=4),
        cost="under 20 minutes on two CPU cores",
    ),
    "full": Budget(
        images=None,
        cnn=Recipe(epochs=8),
        network={"widths": (64, 128, 256), "flip_tta": True},
        transfer=replace(FINE_TUNING, evaluations_per_epoch=4),
        cost="about an hour on two CPU cores; interrupted training resumes from its last checkpoint",
    ),
}

RELEASES = {
    "cnn": Release(
        partial(CNN, **BUDGETS["full"].network), replace(BUDGETS["full"].cnn, epochs=34, cutmix=0.5, seed=1)
    ),
    "transfer": Release(
        partial(
            Transfer, backbone="efficientnet_lite2", size=128, flip_tta=True, train_batch_norm=True, pretrained=True
        ),
        replace(
            FINE_TUNING,
            epochs=14,
            batch_size=256,
            learning_rate=2e-3,
            warmup=0.1,
            layer_decay=0.8,
            auxiliary_weight=0.3,
            ema_decay=0.999,
            cutmix=0.5,
            seed=4,
        ),
    ),
}


def pick_budget(name: str) -> Budget:
    """Return the budget of that name. Raises UserError if there is none."""
    if name not in BUDGETS:
        raise UserError(f"There is no budget {name!r}. Choose one of {', '.join(BUDGETS)}.")
    return BUDGETS[name]
