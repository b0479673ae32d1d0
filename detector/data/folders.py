"""Read images from folders: any tree of REAL/<source>/ and FAKE/<source>/, with files of any size.

All images are converted to CIFAKE's format. Artefacts of an earlier downsampling remain.
"""

from pathlib import Path

import numpy as np
import torch

from detector.core import files
from detector.core.console import UserError
from detector.core.labels import CLASSES, UNKNOWN
from detector.data.cifake import read_parallel
from detector.data.dataset import Images
from detector.data.decode import open_image
from detector.data.images import to_cifake_format

CHUNK = 20  # files that a worker reads between two updates of the progress bar


def load_unseen() -> Images:
    """Return the images in `data/unseen`, on which no model is trained and nothing is chosen."""
    return load_folders(files.UNSEEN_DIR)


def load_folders(folder: Path) -> Images:
    """Return the images of all sources in a folder, in the order of `list_sources`; none if the folder is absent.

    `source` is the name of the source's folder, and `files` are paths relative to the folder's parent. The object class
    is UNKNOWN.

    Raises UserError as `list_sources` does, or naming the first file that cannot be read.
    """
    sources = list_sources(folder) if folder.is_dir() else {}
    paths = [path for listed in sources.values() for path in listed]
    labels = [label for (label, _), listed in sources.items() for _ in listed]
    names = [name for (_, name), listed in sources.items() for _ in listed]
    return Images(
        read_images(paths),
        torch.tensor(labels, dtype=torch.int64),
        torch.full((len(paths),), UNKNOWN),
        np.array([path.relative_to(folder.parent).as_posix() for path in paths], str),
        np.array(names, str),
    )


def list_sources(folder: Path) -> dict[tuple[int, str], list[Path]]:
    """Return the image files of each (label, source), without opening them: REAL sources by name, then FAKE sources.

    Raises UserError naming the first file or folder that is empty or misplaced.
    """
    for entry in _entries(folder):
        if entry.name not in CLASSES or not entry.is_dir():
            raise UserError(f"{entry} is not one of the folders {' and '.join(CLASSES)}. Move it out of {folder}.")
    return {
        (label, source.name): _list_images(source)
        for label, class_name in enumerate(CLASSES)
        if (folder / class_name).exists()
        for source in _entries(folder / class_name)
    }


def _list_images(source: Path) -> list[Path]:
    if not source.is_dir():
        raise UserError(f"{source} is not in a source's folder. Move it into a folder named after its source.")
    images = _entries(source)
    if not images:
        raise UserError(f"{source} has no images. Add some, or remove the folder.")
    for path in images:
        if not path.is_file():
            raise UserError(f"{path} is not a file. Move its images directly into {source}.")
    return images


def _entries(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if not files.is_litter(path.name)), key=lambda path: path.name)


def read_images(paths: list[Path], *, desc: str = "reading images") -> torch.Tensor:
    """Return images in CIFAKE's format, uint8 (N, 3, 32, 32). Raises UserError naming a file that cannot be read."""
    chunks = [(paths[first : first + CHUNK],) for first in range(0, len(paths), CHUNK)]
    # Threads, because Pillow releases the interpreter's lock, and a process would first import PyTorch
    return read_parallel(_read, chunks, len(paths), desc=desc, prefer="threads")


def _read(paths: list[Path]) -> torch.Tensor:
    return torch.from_numpy(np.stack([_read_image(path) for path in paths]))


def _read_image(path: Path) -> np.ndarray:
    try:
        return to_cifake_format(open_image(path))
    except UserError as error:
        raise UserError(f"{path} cannot be used. {error} Or remove the file.") from error
