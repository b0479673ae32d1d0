"""Pictures of sources that nobody trained on: find them, check them, bring them to CIFAKE's form, describe them.

They lie in `data/unseen/REAL/<source>/` and `data/unseen/FAKE/<generator>/`, in any size; a person can add folders.
All pass through `pictures.to_cifake`, which ends with CIFAKE's JPEG settings, so that neither size nor codec is a cue
(how much they are otherwise: Grommelt et al. 2024, arXiv 2403.17608); how a picture was reduced before stays visible.
The 4,460 pictures described in `data/README.md` take about two seconds on two cores, so nothing is cached.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from PIL import Image

from detector.audit import brightness, mean_pixels, radial_spectra
from detector.cifake import CLASSES, DATA_DIR
from detector.copies import exact_groups
from detector.data import Images
from detector.pictures import FORMATS, open_file, to_cifake
from detector.progress import InputError, progress

UNSEEN_DIR = DATA_DIR / "unseen"
LITTER = ("thumbs.db", "desktop.ini", "__macosx")  # what systems leave behind, beside names that start with a dot
CHUNK = 20  # files a worker reads between two reports of progress
UNKNOWN_SUBJECT = -1
COLUMNS = ("class", "pictures", "sides", "red", "green", "blue", "deviation", "high frequencies (dB)", "copies")


def load_unseen(folder: Path = UNSEEN_DIR) -> dict[str, Images]:
    """The sources under `folder`, 'REAL/<source>' first, then 'FAKE/<generator>', each by name; {} if it is not there.

    Files come in the order of their names, as paths relative to the folder's parent ('unseen/REAL/<source>/x.png').
    What they show is not known: subjects are all -1, which equals no subject's index.

    Raises InputError naming the first folder or file that does not belong, that is empty, or that is no picture.
    """
    if not folder.is_dir():
        return {}
    listing = list_sources(folder)
    pixels = _read_all([path for paths in listing.values() for path in paths])
    parts = pixels.split([len(paths) for paths in listing.values()])
    return {
        source: Images(
            part,
            torch.full((len(paths),), CLASSES.index(source.split("/")[0])),
            torch.full((len(paths),), UNKNOWN_SUBJECT),
            np.array([path.relative_to(folder.parent).as_posix() for path in paths]),
        )
        for (source, paths), part in zip(listing.items(), parts, strict=True)
    }


def list_sources(folder: Path) -> dict[str, list[Path]]:
    """The files of each source, in order; opens none."""
    for entry in _entries(folder):
        if entry.name not in CLASSES or not entry.is_dir():
            raise InputError(
                f"{entry} is neither {' nor '.join(CLASSES)}, the two folders of {folder}: move it elsewhere."
            )
    return {
        f"{name}/{source.name}": _list_pictures(source)
        for name in CLASSES
        if (folder / name).exists()
        for source in _entries(folder / name)
    }


def _list_pictures(source: Path) -> list[Path]:
    if not source.is_dir():
        raise InputError(f"{source} is no folder: put it into one that is named after the source it comes from.")
    pictures = _entries(source)
    if not pictures:
        raise InputError(f"{source} holds no pictures: put some into it, or remove it.")
    for path in pictures:
        if not path.is_file():
            raise InputError(f"{path} is no file: a source's pictures lie in its folder, without folders in between.")
    return pictures


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, by name, without hidden files."""
    entries = {path.name: path for path in folder.iterdir()}
    return [entries[name] for name in sorted(entries) if not name.startswith(".") and name.lower() not in LITTER]


def _read_all(paths: list[Path]) -> torch.Tensor:
    """The pictures in CIFAKE's form, read on all cores: uint8 (len(paths), 3, 32, 32)."""
    pixels = torch.empty(len(paths), 3, 32, 32, dtype=torch.uint8)
    chunks = [paths[first : first + CHUNK] for first in range(0, len(paths), CHUNK)]
    # Threads: Pillow works without the interpreter's lock, and a process would first import PyTorch
    parts = Parallel(n_jobs=-1, prefer="threads", return_as="generator")(delayed(_read)(chunk) for chunk in chunks)
    done = 0
    with progress(total=len(paths), desc="reading pictures of unseen sources", unit=" files") as bar:
        for part in parts:
            pixels[done : done + len(part)] = part
            done += len(part)
            bar.update(len(part))
    return pixels


def _read(paths: list[Path]) -> torch.Tensor:
    return torch.stack([to_cifake(open_named(path)) for path in paths])


def open_named(path: Path) -> Image.Image:
    """The upright picture in a file. Raises InputError, which names the file, if it is none."""
    try:
        return open_file(path)
    except InputError as error:
        raise InputError(f"remove or replace {path}: {error}") from error


def describe_sources(sources: Mapping[str, Images], reference: Images, folder: Path = UNSEEN_DIR) -> pd.DataFrame:
    """What is in the sources that `load_unseen(folder)` gave: a row a source, after one of each class of `reference`.

    The latter, pictures such as CIFAKE's, are named 'for comparison, REAL' and 'for comparison, FAKE'. Columns:

    - class, pictures;
    - sides: of the smallest and the largest picture as stored, before reduction, read again from the files' headers;
    - red, green, blue: mean of the channel, in levels of 0 to 255;
    - deviation: standard deviation of the brightness of all pixels, in the same levels;
    - high frequencies (dB): power of the brightness above a quarter cycle per pixel (the upper half of
      `radial_spectra`) of the median picture, relative to that of the REAL ones in `reference`;
    - copies: pictures that have a pixel-identical copy in the same source.
    """
    classes = {name: reference[(reference.labels == label).numpy()] for label, name in enumerate(CLASSES)}
    level, side = _high_frequencies(classes["REAL"]), reference.pixels.shape[-1]
    rows = {f"for comparison, {name}": _describe(images, f"{side}×{side}", level) for name, images in classes.items()}
    for source, images in sources.items():
        rows[source] = _describe(images, _sides([folder.parent / file for file in images.files]), level)
    return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).rename_axis("source")


def _describe(images: Images, sides: str, level: float) -> tuple:
    """The COLUMNS of pictures of one class."""
    name = CLASSES[images.labels[0]]
    return (
        name,
        len(images),
        sides,
        *mean_pixels(images)[name].mean((1, 2)).tolist(),
        float(brightness(images.pixels).std(correction=0)),
        _high_frequencies(images) - level,
        int(pd.Series(exact_groups(images.pixels)).duplicated(keep=False).sum()),
    )


def _sides(paths: list[Path]) -> str:
    """'32×32', or '64×48 to 512×512': width and height of the picture with the fewest pixels and with the most."""
    sizes = []
    for path in paths:
        with Image.open(path, formats=FORMATS) as image:
            sizes.append(image.size)
    sizes.sort(key=lambda size: (size[0] * size[1], size))
    smallest, largest = (f"{width}×{height}" for width, height in (sizes[0], sizes[-1]))
    return smallest if smallest == largest else f"{smallest} to {largest}"


def _high_frequencies(images: Images) -> float:
    """Power above a quarter cycle per pixel, in dB, of the median picture."""
    return float(np.median(radial_spectra(images.pixels)[:, 8:].mean(1)))
