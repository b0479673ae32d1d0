"""Train with little memory, for `test_batches`: limited.py FOLDER stream | memory."""

import resource
import sys
from pathlib import Path

import psutil
import torch

from detector.core import files
from detector.data.dataset import make_toy_dataset
from detector.data.shards import open_shards, read_batches
from detector.models.cnn import CNN
from detector.training.loop import train
from detector.training.recipes import Recipe

HEADROOM = 32_000_000  # bytes

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    files.CHECKPOINTS_DIR = folder / "checkpoints"
    shards, toy, recipe = open_shards(folder), make_toy_dataset("").sample(128), Recipe(epochs=1, batch_size=64)
    assert len(shards) * 3 * 32 * 32 > 2 * HEADROOM
    train(CNN(widths=(4,), stem=4), toy.train, toy.validation, recipe)  # takes the memory that any training needs
    limit = psutil.Process().memory_info().data + HEADROOM
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    if sys.argv[2] == "stream":
        _, history = train(CNN(widths=(4,), stem=4), shards, toy.validation, recipe)
        print(history["loss"].item())
    else:
        torch.cat([pixels for pixels, _ in read_batches(shards, 64, 0, range(shards.steps(64)))])
