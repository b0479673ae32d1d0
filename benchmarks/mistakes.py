"""Put classic mistakes of course projects back, one at a time, and measure what each costs.

Command: `python -m benchmarks.mistakes`. Cost: fifteen minutes on two CPU cores.
Each network is the CNN, trained as such projects do it: 10,000 images, six epochs of AdamW at a constant rate, and the
epoch with the best validation accuracy. `reported` is the accuracy that the project would state, `accuracy` that on
calibration images, which neither train nor choose. The test folder is not used. The network for 224 pixels is trained
on 2,000 images for one epoch.
"""

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.baselines import usual_cnn
from benchmarks.study import Study, open_study, single, study_parser, timed
from detector.core.console import progress, run_command
from detector.core.device import fast_bfloat16
from detector.data.dataset import Dataset, Images, concatenate
from detector.data.transforms import augment, to_unit
from detector.evaluation.results import result_rows, slice_of
from detector.inference.predict import predict_logits, probabilities
from detector.metrics.intervals import metric_table, proportion

SEEDS = range(3)
IMAGES, EPOCHS, BATCH, RATE = 10_000, 6, 64, 1e-3
TRAININGS = 4  # of the CNN for each seed
USUAL = "224 pixels and a fully connected head"
USUAL_SIDE, USUAL_IMAGES, USUAL_SCORED = 224, 2000, 1000
Batch = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Epochs = list[tuple[float, nn.Module]]  # validation accuracy, and the network at that time


def plain(pixels: torch.Tensor, _: torch.Generator) -> torch.Tensor:
    """Return a training batch without augmentation."""
    return to_unit(pixels)


def second_sigmoid(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the loss of a network that ends in a sigmoid, by a function that applies another."""
    return F.binary_cross_entropy_with_logits(probabilities(logits), labels)


def fit(
    network: nn.Module,
    images: Images,
    validation: Images,
    epochs: int,
    seed: int,
    batch: Batch = augment,
    loss: Loss = F.binary_cross_entropy_with_logits,
) -> Epochs:
    """Train a network in place; return a copy after each epoch."""
    rng, done, network = torch.Generator().manual_seed(seed), [], network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    for _ in progress(range(epochs), desc=f"training, seed {seed}", unit=" epochs"):
        network.train()
        for rows in torch.randperm(len(images), generator=rng).split(BATCH):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16(network, torch.device("cpu"))):
                logits = network(batch(images.pixels[rows], rng))
            loss(logits.float(), images.labels[rows].float()).backward()
            optimizer.step()
        done.append((accuracy(network, validation), copy.deepcopy(network)))
    return done


def best(epochs: Epochs) -> tuple[float, nn.Module]:
    """Return the validation accuracy and the network of the best epoch."""
    return max(epochs, key=lambda epoch: epoch[0])


def correct(network: nn.Module, images: Images) -> torch.Tensor:
    """Return which images the network classifies correctly, bool (N,)."""
    return (predict_logits(network, images.pixels) >= 0) == images.labels.bool()


def accuracy(network: nn.Module, images: Images) -> float:
    """Return the accuracy of the network."""
    return float(correct(network, images).float().mean())


def without_normalisation(network: nn.Module) -> nn.Module:
    """Return a copy of a CNN that does not normalise its input."""
    bare = copy.deepcopy(network)
    features = bare.features
    bare.features = lambda pixels: features(pixels / 4 + 0.5)  # undoes the (pixels - 0.5) * 4 inside
    return bare


def versions(images: Images, seed: int) -> Images:
    """Return flipped and translated versions of images, as an augmentation before the split makes them."""
    pixels = 255 * augment(images.pixels, torch.Generator().manual_seed(seed))
    return replace(images, pixels=pixels.round().to(torch.uint8))


def mistakes(study: Study, images: Images, data: Dataset, seed: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Train with one seed; return which images are correct in the report and in truth, by mistake."""
    validation, test = data.validation, data.calibration
    leaked, clean = test[::2], test[1::2]

    def train(images: Images, **options) -> Epochs:
        torch.manual_seed(seed)
        return fit(study.new_cnn(), images, validation, study.repeats(EPOCHS), seed, **options)

    usual = train(images)
    double, bare = best(train(images, loss=second_sigmoid))[1], best(train(images, batch=plain))[1]
    leaky = best(train(concatenate(images[: -len(leaked)], versions(leaked, seed))))[1]
    chosen, last = best(usual)[1], usual[-1][1]
    twice = probabilities(probabilities(predict_logits(double, test.pixels))) >= 0.5
    truth, on_validation = correct(chosen, test), correct(chosen, validation)
    return {
        "none": (truth, truth),
        "second sigmoid": (twice == test.labels.bool(),) * 2,
        "classes swapped in the demo": (truth, ~truth),
        "one dataset object for both transforms": (correct(bare, test),) * 2,
        "best weights not copied": (on_validation, correct(last, test)),
        "test images choose the epoch": (on_validation, truth),
        "versions of test images in training": (correct(leaky, leaked), correct(leaky, clean)),
        "normalisation in training only": (truth, correct(without_normalisation(chosen), test)),
    }


def usual_network(images: Images, test: Images, seed: int) -> tuple[torch.Tensor, float]:
    """Train the network for 224 pixels for one epoch; return which images are correct, and the seconds an image."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Upsample(USUAL_SIDE, mode="bilinear"), usual_cnn())
    epochs, seconds = timed(fit, network, images, test[:2], 1, seed)
    return correct(best(epochs)[1], test), seconds / len(images)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study: accuracy in the report and in truth of each mistake and seed."""
    study = open_study("mistakes", study_parser("mistakes", __doc__).parse_args(arguments))
    data = study.load_data()
    rows = np.random.default_rng(0).permutation(len(data.train))[:IMAGES]
    images, n = data.train[rows], len(data.calibration)
    for seed in SEEDS[: study.repeats(len(SEEDS))]:
        if study.has(seed=seed):
            continue
        results, seconds = timed(mistakes, study, images, data, seed)
        counts = (USUAL_IMAGES, USUAL_SCORED) if not study.smoke else (16, 16)
        right, slow = usual_network(images[: counts[0]], data.calibration[:: n // counts[1]], seed)
        results[USUAL] = (right, right)
        fast = seconds / (TRAININGS * study.repeats(EPOCHS) * len(images))
        for mistake, (reported, accuracy) in results.items():
            pairs = {"reported": reported, "accuracy": accuracy}
            metrics = {name: proportion(int(found.sum()), len(found)) for name, found in pairs.items()}
            if mistake == USUAL:
                metrics["time relative to none"] = single(slow / fast)
            key = {"experiment": "mistakes", "model": "cnn", "set": "calibration", "seed": seed}
            study.add(result_rows(metric_table(metrics), slice=slice_of(mistake=mistake), **key))


if __name__ == "__main__":
    sys.exit(run_command(main))
