"""Jobs on toy data that `test_kill` kills and starts again.

The program reads lines 'job<tab>folder'. For each it forks, so that a job need not import PyTorch again, and prints the
process's number, then its exit status. A job writes all its files into the folder.
"""

import os
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from detector.core import files
from detector.data import cifake
from detector.data.dataset import make_toy_dataset
from detector.data.jpeg import JPEG_SETTINGS, checksum
from detector.eda import leakage
from detector.evaluation.run import evaluate_released
from detector.inference.files import predict_paths
from detector.models.cnn import CNN
from detector.models.weights import save_model
from detector.training.embeddings import embed_views
from detector.training.loop import train_and_keep
from detector.training.recipes import Recipe


def small_cnn() -> CNN:
    torch.manual_seed(0)
    return CNN(widths=(16, 16), stem=16)


def training(folder: Path) -> None:
    """Train with checkpoints; the result is written like a released model."""
    files.CHECKPOINTS_DIR = folder / "checkpoints"
    data = make_toy_dataset("").sample(400)
    recipe = Recipe(epochs=4, evaluations_per_epoch=4, batch_size=32)
    model, _, _ = train_and_keep(small_cnn(), data.train, data.validation, recipe)
    save_model(model, folder / "model.safetensors", recipe={}, data="toy")


def decoding(folder: Path) -> None:
    """Check and decode a folder like CIFAKE's, and write the cache."""
    cifake.FOLDERS = {"train/REAL": (0, 40, 4), "train/FAKE": (0, 40, 4)}
    root, files.CIFAKE_CHECKSUMS = folder / "cifake", folder / "checksums.npy"
    names = [name for folder in cifake.FOLDERS for name in cifake.file_names(folder)]
    if not files.CIFAKE_CHECKSUMS.exists():
        rng = np.random.default_rng(0)
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(root / name, "JPEG", **JPEG_SETTINGS)
        sums = [checksum((root / name).read_bytes()) for name in names]
        with files.atomic_write(files.CIFAKE_CHECKSUMS) as part, open(part, "wb") as file:
            np.save(file, np.array(sums, np.uint64))
    pixels = cifake.load_cifake(root, folder / "cache.safetensors")
    files.write_tensors(pixels, folder / "pixels.safetensors")


def features(folder: Path) -> None:
    """Embed views by a function in place of CLIP's encoder, and write all features."""
    files.BUILD_DIR = folder
    rows = pd.DataFrame({"image": range(1000)})

    def views(row: int) -> list[Image.Image]:
        return [Image.effect_noise((224, 224), 1 + row % 50).convert("RGB")]

    def encode(crops: torch.Tensor) -> torch.Tensor:
        return crops[:, 0].float().std((1, 2))[:, None].round()

    values, owner = embed_views(views, rows, "toy", encode)
    files.write_tensors({"owner": torch.tensor(owner), "count": torch.tensor(values.shape)}, folder / "all.safetensors")


def duplicates(folder: Path) -> None:
    """Search the toy images for duplicates and write the list."""
    files.LEAKS = folder / "leaks.csv"
    data = make_toy_dataset("").sample(700)
    leakage.load_published = lambda: (data.train, data.test)
    leakage.write_duplicate_lists()


def evaluation(folder: Path) -> None:
    """Score a network on toy images."""
    data = make_toy_dataset("").sample(300)
    evaluate_released({"cnn": small_cnn().eval()}, data, data.validation, folder)


def predictions(folder: Path) -> None:
    """Decide on image files and write the CSV."""
    images, weights = folder / "images", folder / "weights.safetensors"
    images.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for row in range(300):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(images / f"{row:03}.png")
    save_model(small_cnn(), weights, recipe={}, data="none")
    predict_paths([images], weights, folder / "predictions.csv")


def fork(job: str, folder: Path) -> int:
    """Start a job in a process of its own, and return the process's number."""
    child = os.fork()
    if child:
        return child
    os.dup2(2, 1)  # the program's output has the numbers alone
    status = 1
    try:
        globals()[job](folder)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    for line in sys.stdin:
        name, target = line.rstrip("\n").split("\t")
        number = fork(name, Path(target))
        print(number, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)
