"""One loop for every network: a recipe in, the best weights by validation and the history out.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the kernels and AdamW (Loshchilov and Hutter 2019,
arXiv 1711.05101) for the rest, under a one-cycle rate (Smith and Topin 2018, arXiv 1708.07120); what is seen in the
picture as a second target; weights averaged over the steps (EMA); bfloat16 where that is measured to be faster.
After each round a checkpoint is written; a run that was interrupted goes on from it and ends where it would have ended.
"""

import copy
import hashlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from detector.checkpoints import CHECKPOINTS, Run, load_checkpoint, save_checkpoint
from detector.corruptions import corrupt_some
from detector.data import Images
from detector.devices import fast_bfloat16, pick_device
from detector.memory import keep_freed_memory
from detector.models import Detector, TwoTargets
from detector.optimization import ema, make_optimizers
from detector.prediction import predict
from detector.preprocessing import augment, cut_mix
from detector.progress import InputError, progress

UNKNOWN = -1  # the kind of a picture whose subject is not known


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; with the data and the initial weights it determines the result.

    Attributes:
        epochs: passes over the training images.
        rounds: how often in an epoch the network is scored and saved.
        batch_size: images a step.
        optimizer: of the kernels: 'muon', or 'adamw', which networks with depthwise convolutions need.
        learning_rate: the peak of the one-cycle schedule.
        weight_decay: decoupled decay of matrices and kernels; biases and normalisation are not decayed.
        subjects: weight of the second target, the subject together with the class (cross-entropy); 0 for none.
        warmup: share of the steps in which the rate rises.
        ema: decay of the weights' running average, a step.
        shift: the augmentation's largest move, in pixels.
        corrupted: share of the pictures of each step that go through `corrupt_some` first.
        cut_mix: share of the pictures into which a piece of another is pasted (`preprocessing.cut_mix`).
        images: training images used, drawn at random; None for all.
        frozen_blocks: how many of the network's blocks, from the input on, keep their weights (`Detector.blocks`).
        block_rate: the rate of each block as a share of the next one's, up to the head (Howard and Ruder 2018, arXiv
            1801.06146); 1 for the same rate everywhere.
        seed: of the order and the augmentation; what builds the network seeds its weights with it too.
    """

    epochs: int
    rounds: int = 1
    batch_size: int = 256
    optimizer: str = "muon"
    learning_rate: float = 12e-3
    weight_decay: float = 0.05
    subjects: float = 0.3
    warmup: float = 0.25
    ema: float = 0.99
    shift: int = 2
    corrupted: float = 0.0
    cut_mix: float = 0.0
    images: int | None = None
    frozen_blocks: int = 0
    block_rate: float = 1.0
    seed: int = 0


def train(
    model: Detector, train_set: Images, validation: Images, recipe: Recipe, *, name: str = "model"
) -> tuple[Detector, pd.DataFrame]:
    """A trained copy of `model`, with its best averaged weights by validation accuracy, and the history.

    The history has a row a round: loss, validation_loss, validation_accuracy, images_per_second; its index is the
    number of epochs until then, to two digits.
    A checkpoint lies in `models/checkpoints/` under `name` and a digest of model, data and recipe, and is removed
    at the end. An interrupted call leaves it there, and the same call goes on from it.

    Raises InputError if the images do not fill one batch, or a checkpoint is not whole.
    """
    trained, history, checkpoint = train_and_keep(model, train_set, validation, recipe, name=name)
    checkpoint.unlink()
    return trained, history


def train_and_keep(
    model: Detector, train_set: Images, validation: Images, recipe: Recipe, *, name: str = "model"
) -> tuple[Detector, pd.DataFrame, Path]:
    """The same, and the checkpoint, which stays: the same call gives the same again, at once, until it is removed."""
    keep_freed_memory()
    train_set = _draw(train_set, recipe)
    steps = len(train_set) // recipe.batch_size
    if steps == 0:
        raise InputError(f"{len(train_set)} training images do not fill one batch of {recipe.batch_size}.")
    checkpoint = CHECKPOINTS / f"{name}-{_digest(model, train_set, validation, recipe)}.safetensors"
    device = pick_device()
    subjects = max(1, int(train_set.subjects.max()) + 1)  # where none is known, one that no picture has
    run = _start(TwoTargets(copy.deepcopy(model), subjects).to(device), recipe, steps)
    if checkpoint.exists():
        load_checkpoint(run, checkpoint)
    kinds = torch.where(train_set.subjects < 0, UNKNOWN, train_set.subjects + subjects * train_set.labels)
    pixels = train_set.pixels if recipe.corrupted else train_set.pixels.to(device)  # corrupted on the CPU
    data = pixels, train_set.labels.to(device), kinds.to(device)
    ends = [round(steps * end / recipe.rounds) for end in range(recipe.rounds * recipe.epochs + 1)]
    done = len(run.history)
    with progress(total=ends[-1], initial=ends[done], desc=f"training {name}", unit=" steps") as bar:
        for first, last in pairwise(ends[done:]):
            started = time.perf_counter()
            loss = _round(run, data, recipe, range(first, last), bar)
            speed = (last - first) * recipe.batch_size / (time.perf_counter() - started)
            row = {"loss": loss, **_score(run.averaged.module, validation), "images_per_second": speed}
            run.history.append(row)
            if row["validation_accuracy"] == max(past["validation_accuracy"] for past in run.history):
                run.best = {key: tensor.detach().clone() for key, tensor in run.averaged.module.state_dict().items()}
            save_checkpoint(run, checkpoint)
    trained = run.model.detector
    trained.load_state_dict(run.best)
    epochs = pd.Index([round(end / steps, 2) for end in ends[1:]], name="epoch")
    return trained.cpu().eval(), pd.DataFrame(run.history, index=epochs), checkpoint


def _draw(images: Images, recipe: Recipe) -> Images:
    """The recipe's number of images, at random."""
    if recipe.images is None or recipe.images >= len(images):
        return images
    return images[np.random.default_rng(recipe.seed).choice(len(images), recipe.images, replace=False)]


def _start(model: TwoTargets, recipe: Recipe, steps: int) -> Run:
    model = model.to(memory_format=torch.channels_last)
    _freeze(model.detector, recipe.frozen_blocks)
    optimizers = make_optimizers(
        model, recipe.optimizer, recipe.learning_rate, recipe.weight_decay, block_rate=recipe.block_rate
    )
    total = steps * recipe.epochs
    warmup = min(0.9, max(recipe.warmup, 2 / total))  # two steps at least: OneCycleLR divides by one less
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=total,
            pct_start=warmup,
            div_factor=10,
            final_div_factor=1000,
            cycle_momentum=False,
        )
        for optimizer in optimizers
    ]
    averaged = AveragedModel(model.detector, multi_avg_fn=ema(recipe.ema), use_buffers=True)
    return Run(model, averaged, optimizers, schedules)


def _freeze(model: Detector, blocks: int) -> None:
    """The first blocks do not learn; the others do, whatever was frozen before."""
    for place, block in enumerate(model.blocks()):
        for part in block:
            part.requires_grad_(place >= blocks)


def _round(run: Run, data: tuple[torch.Tensor, ...], recipe: Recipe, steps: range, bar: tqdm) -> float:
    """Some steps on pixels, labels and kinds, each epoch in an order of its own; the FAKE logit's mean loss.

    What is left to chance depends on the recipe's seed and the steps alone: a resumed run ends as it would have.
    """
    pixels, labels, kinds = data
    rng = torch.Generator(labels.device).manual_seed(recipe.seed * 1_000_000 + steps.start)
    losses = torch.zeros(len(steps), device=labels.device)
    run.model.train()
    order = _order(len(labels), recipe, steps)
    for row, (rows, batch) in enumerate(zip(order, _batches(pixels, order, recipe, steps), strict=True)):
        here = rows.to(labels.device)
        losses[row] = _step(run, batch.to(labels.device), labels[here], kinds[here], recipe, rng)
        bar.update()
    done = steps.stop / (len(labels) // recipe.batch_size)
    bar.set_postfix_str(f"{done:.3g} of {recipe.epochs} epochs, loss {losses.mean():.3f}")
    return float(losses.mean())


def _order(images: int, recipe: Recipe, steps: range) -> list[torch.Tensor]:
    """The rows of each step's pictures, int64 (batch_size,)."""
    per_epoch = images // recipe.batch_size
    epochs = range(steps.start // per_epoch, (steps.stop - 1) // per_epoch + 1)
    orders = {
        epoch: torch.randperm(images, generator=torch.Generator().manual_seed(recipe.seed * 1000 + epoch))
        for epoch in epochs
    }
    places = [(orders[step // per_epoch], step % per_epoch * recipe.batch_size) for step in steps]
    return [order[first : first + recipe.batch_size] for order, first in places]


def _batches(pixels: torch.Tensor, order: list[torch.Tensor], recipe: Recipe, steps: range) -> Iterable[torch.Tensor]:
    """Each step's pictures; corrupted by other processes where an accelerator would wait for this one."""
    if not recipe.corrupted:
        return (pixels[rows] for rows in order)
    keys = list(zip(order, ((recipe.seed, step) for step in steps), strict=True))
    workers = 0 if pick_device().type == "cpu" else os.cpu_count()
    return DataLoader(_Corrupted(pixels, recipe.corrupted), sampler=keys, batch_size=None, num_workers=workers)


class _Corrupted(TensorDataset):
    """Batches of pictures of which a share is corrupted, by their rows and the seed of the chance."""

    def __init__(self, pixels: torch.Tensor, share: float):
        super().__init__(pixels)
        self.share = share

    def __getitem__(self, key: tuple[torch.Tensor, tuple[int, int]]) -> torch.Tensor:
        rows, seed = key
        return corrupt_some(self.tensors[0][rows], self.share, np.random.default_rng(seed))


def _step(
    run: Run, pixels: torch.Tensor, labels: torch.Tensor, kinds: torch.Tensor, recipe: Recipe, rng: torch.Generator
) -> torch.Tensor:
    """One step on one batch; the FAKE logit's loss."""
    batch = augment(pixels, rng, shift=recipe.shift)
    batch, others, own = cut_mix(batch, rng, recipe.cut_mix)
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=fast_bfloat16(run.model, batch.device)):
        logits, kind_logits = run.model(batch)
    targets = torch.lerp(labels[others].float(), labels.float(), own)
    loss = F.binary_cross_entropy_with_logits(logits.float(), targets)
    total = loss
    if recipe.subjects:
        both = torch.stack([kinds, kinds[others]]), torch.stack([own, 1 - own])
        total = loss + recipe.subjects * _kind_loss(kind_logits.float(), *both)
    run.model.zero_grad()
    total.backward()
    for optimizer, schedule in zip(run.optimizers, run.schedules, strict=True):
        optimizer.step()
        schedule.step()
    run.averaged.update_parameters(run.model.detector)
    return loss.detach()


def _kind_loss(logits: torch.Tensor, kinds: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits (B, K) for kinds (2, B) by their weights, over what is known; 0 where nothing is."""
    weights = weights * (kinds != UNKNOWN)
    losses = torch.stack([F.cross_entropy(logits, some, ignore_index=UNKNOWN, reduction="none") for some in kinds])
    return (weights * losses).sum() / weights.sum().clamp(min=1)


def _score(model: nn.Module, validation: Images) -> dict[str, float]:
    probs, labels = predict(model, validation.pixels).clamp(1e-7, 1 - 1e-7), validation.labels  # no infinite loss
    loss = F.binary_cross_entropy(probs.double(), labels.double())
    return {"validation_loss": float(loss), "validation_accuracy": float(((probs >= 0.5) == labels).double().mean())}


def _digest(model: nn.Module, train_set: Images, validation: Images, recipe: Recipe) -> str:
    """What a run is: its network with the first weights, the pictures it learns from and is chosen by, its recipe."""
    facts = [type(model).__name__, model.config, asdict(recipe), list(train_set.files), list(validation.files)]
    digest = hashlib.sha256(json.dumps(facts).encode())
    data = [getattr(images, part) for images in (train_set, validation) for part in ("pixels", "labels", "subjects")]
    for tensor in [*model.state_dict().values(), *data]:
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
