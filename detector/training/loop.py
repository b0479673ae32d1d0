"""The training loop of every network: the best weights by validation accuracy, and the history.

Muon or AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) under a one-cycle schedule (Smith and Topin 2018, arXiv
1708.07120); an auxiliary object-class target; an exponential moving average (EMA) of the weights; bfloat16 where it is
faster. A checkpoint is written after each evaluation, and an interrupted training resumes from it without difference.
"""

import copy
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice, pairwise
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from detector.core import files
from detector.core.console import progress
from detector.core.device import fast_bfloat16, keep_freed_memory, pick_device
from detector.core.labels import UNKNOWN
from detector.data.dataset import Images
from detector.data.transforms import augment_and_mix
from detector.inference.predict import predict
from detector.models.base import Detector, WithAuxiliaryHead
from detector.training import batches
from detector.training.batches import TrainSet
from detector.training.checkpoints import TrainingState, delete_checkpoint, load_checkpoint, save_checkpoint
from detector.training.distributed import (
    average_batch_norms,
    gather,
    own_rows,
    parallel,
    processes,
    rank,
    require_same,
    total,
)
from detector.training.optimizers import ema_average, make_optimizers
from detector.training.recipes import Recipe


def train(
    model: Detector, train_set: TrainSet, validation: Images, recipe: Recipe, *, name: str = "model"
) -> tuple[Detector, pd.DataFrame]:
    """Return a trained copy of `model` and its history, trained on images in memory or in shards.

    The copy has the averaged weights with the best validation accuracy. The history has a row for each evaluation:
    loss, validation_loss, validation_accuracy, images_per_second; its index is the epoch, to two digits.

    Checkpoints are written to `files.CHECKPOINTS_DIR` under `name` and a hash of model, data and recipe, and deleted at
    the end. After an interruption the same call resumes from the last checkpoint.

    Inside `distributed.process_group`, all processes make the same call and get the same result. The recipe's batches
    are divided among them. They share the folder of checkpoints, which the first one writes.

    Raises UserError if the images do not fill one batch, if the batch cannot be divided, or if the checkpoint is
    damaged.
    """
    trained, history, checkpoint = train_and_keep(model, train_set, validation, recipe, name=name)
    if rank() == 0:
        delete_checkpoint(checkpoint)
    return trained, history


def train_and_keep(
    model: Detector, train_set: TrainSet, validation: Images, recipe: Recipe, *, name: str = "model"
) -> tuple[Detector, pd.DataFrame, Path]:
    """Train as `train` does, but keep the checkpoint and return its path.

    Until the checkpoint is deleted, the same call returns the same result at once.
    """
    keep_freed_memory()
    train_set = batches.sample(train_set, recipe)
    steps = batches.steps_per_epoch(train_set, recipe.batch_size)
    checkpoint = files.CHECKPOINTS_DIR / f"{name}-{_fingerprint(model, train_set, validation, recipe)}.safetensors"
    head = WithAuxiliaryHead(copy.deepcopy(model), batches.count_object_classes(train_set))
    state = _start(head, recipe, steps)
    load_checkpoint(state, checkpoint)
    evaluations = recipe.epochs * recipe.evaluations_per_epoch
    ends = [round(steps * end / recipe.evaluations_per_epoch) for end in range(evaluations + 1)]
    done = len(state.history)
    require_same(checkpoint.name, "The processes differ in data or initial weights. Seed torch before the model.")
    require_same(done, f"{checkpoint.parent} differs between processes. Use a folder that they share.")
    source = batches.read(train_set, recipe, range(ends[done], ends[-1]))
    with progress(total=ends[-1], initial=ends[done], desc=f"training {name}", unit=" steps") as bar:
        for first, last in pairwise(ends[done:]):
            started = time.perf_counter()
            loss = _train_steps(state, source, recipe, range(first, last), bar)
            speed = (last - first) * recipe.batch_size / (time.perf_counter() - started)
            metrics = _evaluate(state.averaged.module, validation)
            _record(state, {"loss": loss, **metrics, "images_per_second": speed})
            if rank() == 0:
                save_checkpoint(state, checkpoint)
    trained = state.model.detector
    trained.load_state_dict(state.best)
    epochs = pd.Index([round(end / steps, 2) for end in ends[1:]], name="epoch")
    return trained.cpu().eval(), pd.DataFrame(state.history, index=epochs), checkpoint


def _start(model: WithAuxiliaryHead, recipe: Recipe, steps: int) -> TrainingState:
    """Return the state before the first step; `steps` is the number of steps in an epoch."""
    model = model.to(pick_device(), memory_format=torch.channels_last)
    for index, block in enumerate(model.detector.blocks()):
        for module in block:
            module.requires_grad_(index >= recipe.frozen_blocks)
    optimizers = make_optimizers(
        model, recipe.optimizer, recipe.learning_rate, recipe.weight_decay, layer_decay=recipe.layer_decay
    )
    total = steps * recipe.epochs
    warmup = min(0.9, max(recipe.warmup, 2 / total))  # at least two steps: OneCycleLR divides by one less
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
    network = parallel(model, all_used=recipe.auxiliary_weight > 0)
    averaged = AveragedModel(model.detector, multi_avg_fn=ema_average(recipe.ema_decay), use_buffers=True)
    return TrainingState(model, averaged, optimizers, schedules, network)


def _train_steps(
    state: TrainingState, source: Iterator[list[torch.Tensor]], recipe: Recipe, steps: range, bar: tqdm
) -> float:
    """Train on the batches of some steps and return the mean loss of the FAKE logit.

    The generator is seeded with the recipe's seed and the first step, so that a resumed training ends identically.
    """
    device = pick_device()
    rng = torch.Generator(device).manual_seed(recipe.seed * 1_000_000 + steps.start)
    losses = torch.zeros(len(steps), device=device)
    state.model.train()
    for row, batch in enumerate(islice(source, len(steps))):
        losses[row] = _step(state, batch, recipe, rng)
        bar.update()
    done = steps.stop * recipe.epochs / bar.total
    loss = float(total(losses.mean()) / processes())
    bar.set_postfix_str(f"{done:.3g} of {recipe.epochs} epochs, loss {loss:.3f}")
    return loss


def _step(state: TrainingState, data: list[torch.Tensor], recipe: Recipe, rng: torch.Generator) -> torch.Tensor:
    """Train on one batch (pixels, labels, auxiliary targets) and return the loss of the FAKE logit on the own rows."""
    pixels, labels, auxiliary = data
    own = own_rows(len(labels))
    batch, others, own_share = augment_and_mix(
        pixels, rng, own, max_translation=recipe.max_translation, cutmix=recipe.cutmix
    )
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=fast_bfloat16(state.model, batch.device)):
        logits, auxiliary_logits = state.network(batch)
    targets = torch.lerp(labels[others].float(), labels[own].float(), own_share)
    loss = F.binary_cross_entropy_with_logits(logits.float(), targets)
    total = loss
    if recipe.auxiliary_weight:
        both, shares = torch.stack([auxiliary[own], auxiliary[others]]), torch.stack([own_share, 1 - own_share])
        total = loss + recipe.auxiliary_weight * _auxiliary_loss(auxiliary_logits.float(), both, shares)
    state.model.zero_grad()
    total.backward()
    for optimizer, schedule in zip(state.optimizers, state.schedules, strict=True):
        optimizer.step()
        schedule.step()
    average_batch_norms(state.model)
    state.averaged.update_parameters(state.model.detector)
    return loss.detach()


def _auxiliary_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean cross-entropy over the known targets, or 0 if none is known.

    In several processes, the mean of the results is that of the whole batch.

    Args:
        logits: (B, classes).
        targets: int64 (2, B), those of each image and of the image pasted into it; UNKNOWN where not known.
        weights: (2, B), each target's share of the image.
    """
    weights = weights * (targets != UNKNOWN)
    losses = torch.stack([F.cross_entropy(logits, each, ignore_index=UNKNOWN, reduction="none") for each in targets])
    return (weights * losses).sum() / (total(weights.sum()).clamp(min=1) / processes())


def _evaluate(model: nn.Module, validation: Images) -> dict[str, float]:
    """Return the model's loss and accuracy on the validation set, of which each process predicts its share."""
    share = predict(model, validation.pixels[own_rows(len(validation))])
    probabilities, labels = gather(share.to(pick_device()), len(validation)).cpu(), validation.labels
    probabilities = probabilities.clamp(1e-7, 1 - 1e-7)  # a finite loss for errors with P = 0 or 1
    loss = F.binary_cross_entropy(probabilities.double(), labels.double())
    accuracy = ((probabilities >= 0.5) == labels).double().mean()
    return {"validation_loss": float(loss), "validation_accuracy": float(accuracy)}


def _record(state: TrainingState, row: dict[str, float]) -> None:
    """Append an evaluation to the history, and keep the averaged weights if no earlier accuracy is higher."""
    state.history.append(row)
    if row["validation_accuracy"] == max(past["validation_accuracy"] for past in state.history):
        state.best = {key: tensor.detach().clone() for key, tensor in state.averaged.module.state_dict().items()}


def _fingerprint(model: Detector, train_set: TrainSet, validation: Images, recipe: Recipe) -> str:
    """Return a hash of the network, its initial weights, the images, and the recipe: 12 hexadecimal digits."""
    train_files = list(train_set.files) if isinstance(train_set, Images) else train_set.counts
    description = [type(model).__name__, model.config, asdict(recipe), train_files, list(validation.files)]
    digest = hashlib.sha256(json.dumps(description).encode())
    for images in (train_set, validation):
        if isinstance(images, Images):
            for tensor in (images.pixels, images.labels, images.object_class):
                digest.update(tensor.cpu().numpy().tobytes())
    for tensor in model.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
