"""Batches of each training step, from images in memory or from a stream of shards."""

from collections.abc import Iterator

import numpy as np
import torch

from detector.core.console import UserError
from detector.core.device import pick_device
from detector.core.labels import UNKNOWN
from detector.data.dataset import Images
from detector.data.shards import Shards, read_batches
from detector.training.distributed import gather, processes, rank
from detector.training.recipes import Recipe

TrainSet = Images | Shards
WORKERS = 4  # processes that read shards for one process on a GPU


def sample(train_set: TrainSet, recipe: Recipe) -> TrainSet:
    """Return the recipe's number of images, at random. Raises UserError for shards, which are read whole."""
    if recipe.images is None or recipe.images >= len(train_set):
        return train_set
    if isinstance(train_set, Shards):
        raise UserError(f"Shards are not sampled, and the recipe takes {recipe.images} images. Set images to None.")
    return train_set[np.random.default_rng(recipe.seed).choice(len(train_set), recipe.images, replace=False)]


def steps_per_epoch(train_set: TrainSet, batch_size: int) -> int:
    """Return the number of batches in an epoch. Raises UserError if it is 0 or if the processes cannot divide one."""
    steps = train_set.steps(batch_size) if isinstance(train_set, Shards) else len(train_set) // batch_size
    if steps == 0:
        raise UserError(f"{len(train_set)} images do not fill a batch of {batch_size}. Use more images.")
    if batch_size % processes():
        raise UserError(f"{processes()} processes cannot divide a batch of {batch_size}. Use another number.")
    return steps


def count_object_classes(train_set: TrainSet) -> int:
    """Return the number of object classes, at least one, even where none is known."""
    return 1 if isinstance(train_set, Shards) else max(1, int(train_set.object_class.max()) + 1)


def read(train_set: TrainSet, recipe: Recipe, steps: range) -> Iterator[list[torch.Tensor]]:
    """Yield the whole batch of each step on the model's device: pixels, labels and auxiliary targets.

    The auxiliary target is the number of the object class and the label together, int64 (B,); UNKNOWN where not known.
    """
    device = pick_device()
    if isinstance(train_set, Shards):
        place = {"rank": rank(), "processes": processes()}
        workers = 0 if device.type == "cpu" else WORKERS  # training on the CPU uses all its cores
        shares = read_batches(train_set, recipe.batch_size, recipe.seed, steps, **place, workers=workers)
        for share in shares:
            pixels, labels = (gather(tensor.to(device), recipe.batch_size) for tensor in share)
            yield [pixels, labels, torch.full_like(labels, UNKNOWN)]
        return
    targets = train_set.object_class + count_object_classes(train_set) * train_set.labels
    auxiliary = torch.where(train_set.object_class < 0, UNKNOWN, targets)
    data = [tensor.to(device) for tensor in (train_set.pixels, train_set.labels, auxiliary)]
    for rows in batch_rows(len(train_set), recipe, steps):
        yield [tensor[rows.to(device)] for tensor in data]


def batch_rows(images: int, recipe: Recipe, steps: range) -> Iterator[torch.Tensor]:
    """Yield the rows of the images of each step, int64 (batch_size,); each epoch has its own random order."""
    per_epoch, order = images // recipe.batch_size, None
    for step in steps:
        epoch, done = divmod(step, per_epoch)
        if order is None or done == 0:
            order = torch.randperm(images, generator=torch.Generator().manual_seed(recipe.seed * 1000 + epoch))
        yield order[done * recipe.batch_size : (done + 1) * recipe.batch_size]
