"""Trainings that `test_distributed` runs in several processes: torchrun ... worker.py JOB FOLDER."""

import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch

from detector.core import files
from detector.core.console import run_command
from detector.core.labels import UNKNOWN
from detector.data.dataset import Images, make_toy_dataset
from detector.data.shards import open_shards
from detector.models.base import WithAuxiliaryHead
from detector.models.cnn import CNN
from detector.training import batches, distributed, loop
from detector.training.distributed import process_group, processes, rank, require_same
from detector.training.recipes import Recipe

NOISE = 75  # standard deviation
RECIPE = Recipe(epochs=5, evaluations_per_epoch=2, batch_size=64)


def network() -> CNN:
    torch.manual_seed(0)
    return CNN(widths=(16, 16), stem=16)


def toy() -> tuple[Images, Images]:
    data = make_toy_dataset("")
    return data.train[:1280], data.validation


def noisy(images: Images) -> Images:
    """Return images in which a trained network errs, so that accuracies are worth comparing."""
    noise = NOISE * torch.randn(images.pixels.shape, generator=torch.Generator().manual_seed(len(images)))
    return replace(images, pixels=(images.pixels + noise).clamp(0, 255).to(torch.uint8))


def gradients() -> dict[str, torch.Tensor]:
    """Return the gradients of a first step with batch norm in evaluation mode; few images of the batch have a class."""
    detector = network()
    detector.train_batch_norm = False
    torch.manual_seed(1)
    for norm in (module for module in detector.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(std=0.1)
    recipe = Recipe(epochs=1, batch_size=32, cutmix=0.5)
    state = loop._start(WithAuxiliaryHead(detector, object_classes=2), recipe, steps=4)
    torch.nn.init.normal_(state.model.auxiliary.weight, std=0.1)  # starts at zero, which passes no gradient on
    state.model.train()
    images = toy()[0][:32]
    auxiliary = torch.where(torch.arange(32) < 11, images.labels, UNKNOWN)
    loop._step(state, [images.pixels, images.labels, auxiliary], recipe, torch.Generator().manual_seed(0))
    return {name: p.grad.contiguous() for name, p in state.model.named_parameters()}


def train(folder: Path, recipe: Recipe, data: Iterable[Images]) -> tuple[CNN, float]:
    """Return the trained network, which every process must have alike, and its validation accuracy."""
    files.CHECKPOINTS_DIR = folder
    model, history = loop.train(network(), *data, recipe)
    require_same([tensor.tolist() for tensor in model.state_dict().values()], "The processes have different weights.")
    require_same(history.drop(columns="images_per_second").to_dict(), "The processes have different histories.")
    return model, history["validation_accuracy"].max()


def ended(folder: Path, number: signal.Signals) -> None:
    """Train until the second process sends itself a signal, in the middle of the third interval."""
    step, steps = loop._step, iter(range(1000))

    def step_until_ended(*arguments) -> torch.Tensor:
        if next(steps) == 50 and rank() == 1:  # of 20 steps an interval
            os.kill(os.getpid(), number)
        return step(*arguments)

    loop._step = step_until_ended
    train(folder, replace(RECIPE, epochs=2, batch_size=32), toy())


def compared(folder: Path) -> None:
    """Write gradients, a batch of a stream, and the accuracy of a training."""
    tensors = gradients()
    shards = open_shards(folder / "shards")
    tensors["stream"] = next(batches.read(shards, RECIPE, range(1, 2)))[0].contiguous()
    tensors["accuracy"] = torch.tensor(train(folder, RECIPE, map(noisy, toy()))[1])
    if rank() == 0:
        files.write_tensors(tensors, folder / f"{processes()}.safetensors")


def main() -> None:
    """Run the job of the command line."""
    loop.fast_bfloat16 = lambda *_: False  # bfloat16 rounds more coarsely than these tests compare
    job, folder = sys.argv[1:]
    jobs = {
        "compared": compared,
        "killed": partial(ended, number=signal.SIGKILL),
        "hanging": partial(ended, number=signal.SIGSTOP),
    }
    distributed.TIMEOUT = timedelta(seconds=20)
    with process_group():
        jobs[job](Path(folder))


if __name__ == "__main__":
    sys.exit(run_command(main))
