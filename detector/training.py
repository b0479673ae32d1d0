"""One loop for every network: a recipe in, the best weights by validation and the history out.

AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) under a one-cycle rate (Smith and Topin 2018, arXiv 1708.07120),
weights averaged over the steps (EMA), bfloat16 where the hardware multiplies it natively. After each epoch a
checkpoint is written; a run that was interrupted goes on from it and ends where it would have ended.
"""

import copy
import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from detector.data import Images
from detector.models import MODELS_DIR
from detector.prediction import predict
from detector.preprocessing import augment
from detector.progress import InputError, progress

CHECKPOINTS = MODELS_DIR / "checkpoints"


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; with the data and the initial weights it determines the result.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: the peak of the one-cycle schedule.
        weight_decay: decoupled decay of matrices and kernels; biases and normalisation are not decayed.
        warmup: share of the steps in which the rate rises.
        ema: decay of the weights' running average, a step.
        shift: the augmentation's largest move, in pixels.
        images: training images used, drawn at random; None for all.
        seed: of the order and the augmentation; what builds the network seeds its weights with it too.
    """

    epochs: int
    batch_size: int = 256
    learning_rate: float = 6e-3
    weight_decay: float = 0.05
    warmup: float = 0.25
    ema: float = 0.99
    shift: int = 2
    images: int | None = None
    seed: int = 0


def pick_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def fast_bfloat16(model: nn.Module, device: torch.device) -> bool:
    """Whether training `model` on `device` in bfloat16 is faster than in float32.

    It is where the hardware multiplies bfloat16 natively; on a CPU only without depthwise convolutions, which were
    measured to be half as fast in it.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    depthwise = any(module.groups > 1 for module in model.modules() if isinstance(module, nn.Conv2d))
    return device.type == "cpu" and not depthwise and bool(torch.cpu.get_capabilities().get("avx512_bf16"))


@dataclass
class _Run:
    """All that changes while a network is trained: what a checkpoint holds."""

    model: nn.Module
    averaged: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    history: list[dict] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)


def train(
    model: nn.Module, train_set: Images, validation: Images, recipe: Recipe, *, name: str = "model"
) -> tuple[nn.Module, pd.DataFrame]:
    """A trained copy of `model`, with its best averaged weights by validation accuracy, and the history.

    The history has a row an epoch: loss, validation_loss, validation_accuracy, images_per_second.
    A checkpoint lies in `models/checkpoints/` under `name` and a digest of model, data and recipe, and is removed
    at the end. An interrupted call leaves it there, and the same call goes on from it.

    Raises InputError if the images do not fill one batch, or a checkpoint is not whole.
    """
    train_set = _draw(train_set, recipe)
    steps = len(train_set) // recipe.batch_size
    if steps == 0:
        raise InputError(f"{len(train_set)} training images do not fill one batch of {recipe.batch_size}.")
    checkpoint = CHECKPOINTS / f"{name}-{_digest(model, train_set, validation, recipe)}.safetensors"
    device = pick_device()
    run = _start(copy.deepcopy(model).to(device, memory_format=torch.channels_last), recipe, steps)
    if checkpoint.exists():
        load_checkpoint(run, checkpoint)
    data = train_set.pixels.to(device), train_set.labels.to(device)
    done = len(run.history)
    with progress(total=recipe.epochs * steps, initial=done * steps, desc=f"training {name}", unit=" steps") as bar:
        for epoch in range(done, recipe.epochs):
            started = time.perf_counter()
            loss = _epoch(run, *data, recipe, epoch, bar)
            seconds = time.perf_counter() - started
            speed = {"images_per_second": steps * recipe.batch_size / seconds}
            row = {"loss": loss, **_score(run.averaged.module, validation), **speed}
            run.history.append(row)
            if row["validation_accuracy"] == max(past["validation_accuracy"] for past in run.history):
                run.best = {key: tensor.detach().clone() for key, tensor in run.averaged.module.state_dict().items()}
            save_checkpoint(run, checkpoint)
    run.model.load_state_dict(run.best)
    checkpoint.unlink(missing_ok=True)
    return run.model.cpu().eval(), pd.DataFrame(run.history, index=pd.RangeIndex(1, recipe.epochs + 1, name="epoch"))


def _draw(images: Images, recipe: Recipe) -> Images:
    """The recipe's number of images, at random."""
    if recipe.images is None or recipe.images >= len(images):
        return images
    return images[np.random.default_rng(recipe.seed).choice(len(images), recipe.images, replace=False)]


def _start(model: nn.Module, recipe: Recipe, steps: int) -> _Run:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]  # biases and normalisation
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.learning_rate,
        total_steps=steps * recipe.epochs,
        pct_start=recipe.warmup,
        div_factor=10,
        final_div_factor=1000,
        cycle_momentum=False,
    )
    return _Run(model, AveragedModel(model, avg_fn=_ema(recipe.ema), use_buffers=True), optimizer, schedule)


def _ema(decay: float):
    """An exponential moving average whose decay warms up, so that it is not held back by the first weights."""

    def average(mean: torch.Tensor, value: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        if not mean.is_floating_point():  # batch normalisation's count of batches
            return value
        return mean.lerp(value, 1 - min(decay, (1 + int(count)) / (10 + int(count))))

    return average


def _epoch(run: _Run, pixels: torch.Tensor, labels: torch.Tensor, recipe: Recipe, epoch: int, bar: tqdm) -> float:
    """One pass over the data in an order of its own, whole batches only; the mean loss."""
    rng = torch.Generator(pixels.device).manual_seed(recipe.seed * 1000 + epoch)
    order = torch.randperm(len(pixels), generator=rng, device=pixels.device)
    batches = order[: len(order) // recipe.batch_size * recipe.batch_size].split(recipe.batch_size)
    losses = torch.zeros(len(batches), device=pixels.device)
    device = pixels.device.type
    bfloat16 = fast_bfloat16(run.model, pixels.device)
    run.model.train()
    for step, rows in enumerate(batches):
        batch = augment(pixels[rows], rng, shift=recipe.shift)
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            logits = run.model(batch)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels[rows].float())
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        run.schedule.step()
        run.averaged.update_parameters(run.model)
        losses[step] = loss.detach()
        bar.update()
    bar.set_postfix_str(f"epoch {epoch + 1}/{recipe.epochs}, loss {losses.mean():.3f}")
    return float(losses.mean())


def _score(model: nn.Module, validation: Images) -> dict[str, float]:
    probs, labels = predict(model, validation.pixels).clamp(1e-7, 1 - 1e-7), validation.labels  # no infinite loss
    loss = F.binary_cross_entropy(probs.double(), labels.double())
    return {"validation_loss": float(loss), "validation_accuracy": float(((probs >= 0.5) == labels).double().mean())}


def _digest(model: nn.Module, train_set: Images, validation: Images, recipe: Recipe) -> str:
    """What a run is: its network with the first weights, the pictures it learns from and is chosen by, its recipe."""
    facts = [type(model).__name__, model.config, asdict(recipe), list(train_set.files), list(validation.files)]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for tensor in [*model.state_dict().values(), train_set.labels, validation.labels]:
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def save_checkpoint(run: _Run, path: Path) -> None:
    """Write a run's state beside `path`, then rename: an interruption leaves the last whole checkpoint."""
    parts = {"model": run.model.state_dict(), "averaged": run.averaged.state_dict(), "best": run.best}
    optimizer, schedule = run.optimizer.state_dict(), run.schedule.state_dict()
    parts |= {f"optimizer.{row}": state for row, state in optimizer["state"].items()}
    tensors = {f"{part}/{key}": value.contiguous() for part, state in parts.items() for key, value in state.items()}
    facts = {"groups": optimizer["param_groups"], "schedule": schedule, "history": run.history}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path.with_suffix(".part"), {"facts": json.dumps(facts)})
    path.with_suffix(".part").replace(path)


def load_checkpoint(run: _Run, path: Path) -> None:
    """Bring a fresh run to the state that `save_checkpoint` wrote.

    Raises InputError if the file is not whole: then delete it.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["facts"])
            parts: dict[str, dict] = {}
            for name in file.keys():  # noqa: SIM118 - not a dict
                part, key = name.split("/", 1)
                parts.setdefault(part, {})[key] = file.get_tensor(name)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"the checkpoint {path} is not whole ({error}): delete it to train from the start.") from error
    run.model.load_state_dict(parts["model"])
    run.averaged.load_state_dict(parts["averaged"])
    state = {int(part.split(".")[1]): tensors for part, tensors in parts.items() if part.startswith("optimizer.")}
    run.optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})
    run.schedule.load_state_dict(facts["schedule"])
    run.history, run.best = facts["history"], parts["best"]
