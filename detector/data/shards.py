"""Training images that are larger than memory: written to shards once, then read as a stream.

Shards are tar files in the format of the webdataset library. Each image is a PNG file whose name ends with the label.
The images are written in random order. A stream reads LANES shards at a time, and every batch has the same number of
images of each lane. Processes and workers divide the lanes, so that a batch does not depend on their number.
"""

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset
from torchvision.transforms.v2 import functional as TF

from detector.core import files
from detector.core.console import UserError
from detector.core.extras import import_extra
from detector.core.labels import CLASSES
from detector.data.folders import list_sources, read_images

LANES = 64  # shards that are read at a time, and the largest number of processes
LARGEST = 4096  # images in a shard
BUFFER = 100  # images of a lane among which the next one is drawn
MANIFEST = "manifest.json"
REMEDY = "Write the shards again: python -m detector shards."


def write_shards(folder: Path, out: Path) -> Path:
    """Write the images of `REAL/<source>/` and `FAKE/<source>/` to shards in CIFAKE's format, and return the manifest.

    Shards that an interrupted call has written are kept.

    Raises UserError as `folders.load_folders` does, or if there are fewer than LANES images.
    """
    webdataset = import_extra("webdataset")
    listed = [(path, label) for (label, _), paths in list_sources(folder).items() for path in paths]
    if len(listed) < LANES:
        raise UserError(f"{folder} has {len(listed)} images. Shards need at least {LANES}.")
    order = np.random.default_rng(0).permutation(len(listed))
    shards = np.array_split(order, LANES * -(-len(listed) // (LANES * LARGEST)))
    listing = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path, _ in listed]
    digest = hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:8]
    names = [f"{digest}-{number:05}.tar" for number in range(len(shards))]
    for number, (name, rows) in enumerate(zip(names, shards, strict=True), start=1):
        if (out / name).exists():
            continue
        pixels = read_images([listed[row][0] for row in rows], desc=f"shard {number} of {len(shards)}")
        with files.atomic_write(out / name) as part, webdataset.TarWriter(str(part), mtime=0) as tar:
            for row, image in zip(rows, pixels, strict=True):
                tar.write({"__key__": f"{row:08}-{listed[row][1]}", "png": TF.to_pil_image(image)})
    counts = np.bincount([label for _, label in listed], minlength=len(CLASSES))
    manifest = {
        "images": dict(zip(CLASSES, counts.tolist(), strict=True)),
        "shards": dict(zip(names, map(len, shards), strict=True)),
    }
    with files.atomic_write(out / MANIFEST) as part:
        part.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return out / MANIFEST


@dataclass(frozen=True)
class Shards:
    """A set of N images in shards.

    Attributes:
        folder: where the shards are.
        counts: the number of images of each shard.
    """

    folder: Path
    counts: dict[str, int]

    def __len__(self) -> int:
        return sum(self.counts.values())

    def steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch, for which every lane has enough images.

        Raises UserError if the lanes cannot divide a batch.
        """
        if batch_size % LANES:
            raise UserError(f"{LANES} lanes cannot divide a batch of {batch_size}. Use a multiple of {LANES}.")
        return len(self.counts) // LANES * min(self.counts.values()) // (batch_size // LANES)


def open_shards(folder: Path) -> Shards:
    """Return the set that `write_shards` wrote. Raises UserError if the manifest or a shard is missing or damaged."""
    try:
        counts = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["shards"]
        missing = [name for name in counts if not (folder / name).is_file()]
    except files.UNREADABLE as error:
        raise UserError(f"{folder / MANIFEST} cannot be read ({error}). {REMEDY}") from error
    if missing:
        raise UserError(f"{folder / missing[0]} is missing. {REMEDY}")
    return Shards(folder.resolve(), counts)


def read_batches(
    shards: Shards,
    batch_size: int,
    seed: int,
    steps: range,
    *,
    rank: int = 0,
    processes: int = 1,
    workers: int = 0,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield a process's share of the batch of each step: pixels, uint8 (R, 3, 32, 32), and labels, int64 (R,).

    The shares of all processes, one after the other, are the batch. It depends only on the shards, the batch size, the
    seed and the step. Each epoch has its own order of the shards and of their images. Reading from the middle of an
    epoch skips the images before it without decoding them.

    Args:
        workers: further processes that read; 0 to read in this one.

    Raises UserError if the lanes cannot be divided, or naming the shard that is damaged.
    """
    if LANES % processes:
        raise UserError(f"{processes} processes cannot divide {LANES} lanes. Use another number of processes.")
    lanes = range(LANES)[rank * LANES // processes : (rank + 1) * LANES // processes]
    workers = min(workers, len(lanes))
    loader = DataLoader(_Steps(shards, lanes, batch_size, seed, steps), batch_size=None, num_workers=workers)
    for parts in zip(*[iter(loader)] * max(1, workers), strict=False):  # one of each worker, which take turns
        for part in parts:
            if isinstance(part, UserError):
                raise part
        pixels, labels = zip(*parts, strict=True)
        yield torch.cat(pixels), torch.cat(labels)


@dataclass
class _Steps(IterableDataset):
    """The rows that some lanes give to each step, divided among the workers of a DataLoader."""

    shards: Shards
    lanes: range
    batch_size: int
    seed: int
    steps: range

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor] | UserError]:
        worker = torch.utils.data.get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        own = self.lanes[number * len(self.lanes) // workers : (number + 1) * len(self.lanes) // workers]
        rows, per_epoch = self.batch_size // LANES, self.shards.steps(self.batch_size)
        try:
            lanes = []
            for step in self.steps:
                epoch, done = divmod(step, per_epoch)
                if not lanes or done == 0:
                    lanes = [_read_lane(self.shards, lane, self.seed, epoch, done * rows) for lane in own]
                images = [image for lane in lanes for image in islice(lane, rows)]
                if len(images) < len(own) * rows:
                    raise UserError(f"A shard in {self.shards.folder} has fewer images than {MANIFEST} says. {REMEDY}")
                pixels, labels = zip(*images, strict=True)
                yield torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), torch.tensor(labels)
        except UserError as error:
            yield error  # a DataLoader would put the worker's traceback into its message


def _read_lane(shards: Shards, lane: int, seed: int, epoch: int, skipped: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the pixels, uint8 (32, 32, 3), and labels of a lane's images in an epoch, after so many images."""
    webdataset = import_extra("webdataset")
    order = np.random.default_rng([seed, epoch]).permutation(len(shards.counts))
    paths = [str(shards.folder / list(shards.counts)[number]) for number in order[lane::LANES]]
    stream = webdataset.WebDataset(paths, shardshuffle=False, nodesplitter=None, workersplitter=None, empty_check=False)
    stream = stream.shuffle(BUFFER, initial=BUFFER, rng=random.Random(f"{seed} {epoch} {lane}"))
    try:
        for sample in islice(stream, skipped, None):
            image = np.asarray(Image.open(io.BytesIO(sample["png"]), formats=["PNG"]))
            yield image, int(sample["__key__"][-1])
    except (tarfile.TarError, OSError, SyntaxError, ValueError, KeyError) as error:  # Pillow's or webdataset's
        raise UserError(f"One of {', '.join(paths)} is damaged ({error}). {REMEDY}") from error
