"""Pictures of further sources to learn from, in `data/sources/{REAL,FAKE}/<source>/`, of any size.

All come to CIFAKE's form by the same random crops and filters and its JPEG settings, whatever their class, so that
neither scaling nor codec tells a source. A person adds a source by adding a folder.
"""

from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from PIL import Image
from sklearn.model_selection import train_test_split
from torchvision.transforms.v2 import functional as TF

from detector.cifake import CLASSES, DATA_DIR
from detector.data import Images
from detector.decoding import jpeg_round_trip
from detector.pictures import SIDE, to_cifake, to_rgb
from detector.progress import InputError, progress
from detector.unseen import UNKNOWN_SUBJECT, list_sources, open_named

SOURCES_DIR = DATA_DIR / "sources"
FEWEST = 6  # pictures of a source, so that each set has one
HELD_OUT = 0.1  # of each source's pictures for validation, and as many for calibration
VIEWS_A_SOURCE, MOST_VIEWS = 36_000, 12  # about as many as CIFAKE has of a class; of one picture no more than these
FILTERS = [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]


def load_sources(folder: Path = SOURCES_DIR, *, side: int = SIDE) -> dict[str, dict[str, Images]]:
    """The sources under `folder` by name ('REAL/<source>'), each as its train, validation and calibration sets.

    A picture is in one set alone. Of the training ones there are several views, so many that every source has about
    VIEWS_A_SOURCE, and none of a picture's is repeated MOST_VIEWS times; of the others only the first, whole one.
    Pictures are of `side` pixels. {} where there is no such folder.

    Raises InputError as `unseen.load_unseen` does, and for a source of too few.
    """
    if not folder.is_dir():
        return {}
    return {name: _load(name, paths, folder, side) for name, paths in list_sources(folder).items()}


def split_files(paths: list[Path]) -> dict[str, list[Path]]:
    """A source's pictures by the set that each is in, at random. Raises InputError where they are too few."""
    if len(paths) < FEWEST:
        raise InputError(f"{paths[0].parent} has {len(paths)} pictures: {FEWEST} at least are needed, or take it away.")
    train, held_out = train_test_split(paths, test_size=2 * HELD_OUT, random_state=0)
    validation, calibration = train_test_split(held_out, test_size=0.5, random_state=0)
    return {"train": sorted(train), "validation": sorted(validation), "calibration": sorted(calibration)}


def _load(name: str, paths: list[Path], folder: Path, side: int) -> dict[str, Images]:
    parts = split_files(paths)
    views = int(np.clip(round(VIEWS_A_SOURCE / len(parts["train"])), 1, MOST_VIEWS))
    return {part: _read(name, some, views if part == "train" else 1, folder, side) for part, some in parts.items()}


def _read(name: str, paths: list[Path], count: int, folder: Path, side: int) -> Images:
    """`count` views of each picture, those of one after the other."""
    # Threads: Pillow works without the interpreter's lock, and a process would first import PyTorch
    workers = Parallel(n_jobs=-1, prefer="threads", return_as="generator", batch_size=64)
    parts = workers(delayed(_views)(path, count, seed, side) for seed, path in enumerate(paths))
    with progress(parts, desc=f"reading {name}", unit=" pictures", total=len(paths), delay=1) as bar:
        pixels = torch.cat(list(bar))
    label, n = CLASSES.index(name.split("/")[0]), len(pixels)
    files = np.repeat([path.relative_to(folder.parent).as_posix() for path in paths], count)
    return Images(pixels, torch.full((n,), label), torch.full((n,), UNKNOWN_SUBJECT), files)


def _views(path: Path, count: int, seed: int, side: int) -> torch.Tensor:
    """Uint8 (count, 3, S, S), S being `side`: the whole centre square, then squares drawn at random."""
    image, rng = to_rgb(open_named(path)), np.random.default_rng(seed)
    return torch.stack([to_cifake(image, side), *(draw_view(image, rng, side) for _ in range(count - 1))])


def draw_view(image: Image.Image, rng: np.random.Generator, side: int = SIDE) -> torch.Tensor:
    """A square of an RGB picture in CIFAKE's form, uint8 (3, S, S), S being `side`.

    Of an area between a quarter and all of the largest square's, at any place, no smaller than S pixels if there are
    as many; brought to S x S by a filter drawn from FILTERS; then through CIFAKE's JPEG settings.
    """
    largest = min(image.size)
    cut = min(largest, max(side, round(largest * rng.uniform(1 / 4, 1) ** 0.5)))
    left, top = (int(rng.integers(length - cut + 1)) for length in image.size)
    square = image.crop((left, top, left + cut, top + cut))
    if cut != side:
        square = square.resize((side, side), FILTERS[rng.integers(len(FILTERS))])
    return TF.pil_to_tensor(jpeg_round_trip(square))
