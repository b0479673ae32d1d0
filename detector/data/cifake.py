"""CIFAKE as published: find or download it, check every file, and decode it once.

CIFAKE (Bird and Lotfi 2023, arXiv 2303.14126) holds 60,000 CIFAR-10 photos (REAL) and 60,000 Stable Diffusion 1.4
images (FAKE), all 32x32 JPEG files. The decoded pixels are cached in a memory-mapped file. It records the files, the
checksums and the JPEG decoder that it was made from, and is rebuilt when one of them changes.
"""

import hashlib
import json
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import features

from detector.core import files
from detector.core.console import UserError, progress
from detector.core.labels import SIDE
from detector.data.jpeg import REMEDY, decode_files

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HANDLE = "birdy654/cifake-real-and-ai-generated-synthetic-images/versions/3"

TIME_LIMITS = (10, 60)  # seconds to connect, and between two bytes

# folder -> (first number, one past the last, digits that a number is padded to); the same for each CIFAR-10 class
FOLDERS = {
    "train/REAL": (0, 5000, 4),
    "train/FAKE": (1000, 6000, 4),
    "test/REAL": (0, 1000, 4),
    "test/FAKE": (0, 1000, 1),
}
CHUNK = 2000  # files that a worker decodes between two updates of the progress bar
CACHE_BYTES = 120_000 * 3 * 32 * 32


def file_names(folder: str) -> list[str]:
    """Return the published file names of one of FOLDERS, by CIFAR-10 class.

    `0000.jpg` is an airplane, and `0000 (2).jpg` is an automobile.
    """
    first, end, digits = FOLDERS[folder]
    marks = [""] + [f" ({k})" for k in range(2, 11)]
    return [f"{folder}/{number:0{digits}d}{mark}.jpg" for mark in marks for number in range(first, end)]


def find_cifake() -> Path:
    """Return the folder with CIFAKE's train/ and test/: `CIFAKE_DIR` if set, else Kaggle's download, kept by kagglehub.

    Raises UserError if Kaggle refuses the download, the archive is damaged or the disk is full, and ConnectionError,
    with a remedy too, if Kaggle cannot be reached or does not answer and nothing was downloaded before.
    """
    if chosen := os.environ.get("CIFAKE_DIR"):
        return Path(chosen)
    import kagglehub
    from kagglehub.config import get_cache_folder
    from kagglehub.exceptions import BackendError, DataCorruptionError, NotFoundError, UnauthenticatedError
    from requests import exceptions

    try:
        with _time_limits():
            return Path(kagglehub.dataset_download(HANDLE))
    except (exceptions.ConnectionError, exceptions.Timeout) as error:
        raise ConnectionError(
            f"Kaggle cannot be reached ({type(error).__name__}), and CIFAKE was not downloaded before. Connect to the "
            "internet, or set CIFAKE_DIR to the folder that holds train/ and test/."
        ) from error
    except (exceptions.RequestException, UnauthenticatedError, BackendError, NotFoundError) as error:
        raise UserError(
            f"Kaggle did not provide {HANDLE} ({error}). Try again later, or download it in a browser, unpack it, "
            "and set CIFAKE_DIR to the folder that holds train/ and test/."
        ) from error
    except OSError as error:
        raise UserError(f"CIFAKE could not be stored ({error}). Free some disk space and run again.") from error
    except (DataCorruptionError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        folder = Path(get_cache_folder(), "datasets", *HANDLE.split("/")[:2])
        raise UserError(f"CIFAKE's download is damaged ({error}). Delete {folder} and run again.") from error


@contextmanager
def _time_limits() -> Iterator[None]:
    """Give every request a time limit: kagglehub's first one has none, and would wait for ever."""
    from requests import Session

    send = Session.send
    Session.send = lambda self, request, **options: send(
        self, request, **options | {"timeout": options.get("timeout") or TIME_LIMITS}
    )
    try:
        yield
    finally:
        Session.send = send


def load_cifake(root: Path, cache: Path | None = None) -> dict[str, torch.Tensor]:
    """Return CIFAKE's pixels by folder, uint8 (N, 3, 32, 32) in the order of `file_names`, memory-mapped from a cache.

    Without a valid cache every file is checked and decoded, which takes about half a minute on two cores.

    Args:
        root: The folder with train/ and test/.
        cache: The file of decoded pixels; None for `files.CIFAKE_CACHE`.

    Raises UserError naming the first folder or file that is missing, unexpected or altered, or if the disk is full.
    """
    cache = cache or files.CIFAKE_CACHE
    for folder in FOLDERS:
        if not (root / folder).is_dir():
            raise UserError(
                f"CIFAKE has no folder {folder} in {root}. Set CIFAKE_DIR to the folder that holds train/ and test/, "
                "or unset it to download CIFAKE."
            )
    made_from = _provenance(root)
    pixels = _read_cache(cache, made_from)
    if pixels is None:
        _check_listing(root)
        cache.parent.mkdir(parents=True, exist_ok=True)
        _require_space(cache.parent, CACHE_BYTES)
        decoded = _decode_all(root)
        files.write_tensors(decoded, cache, {"made_from": json.dumps(made_from)})
        pixels = _read_cache(cache, made_from)
    return pixels


def _provenance(root: Path) -> dict[str, str]:
    """Return a hash of each folder's listing and of the checksums, and the decoder's version."""
    hashes = {folder: _listing_hash(root / folder) for folder in FOLDERS}
    checksums = hashlib.sha256(files.CIFAKE_CHECKSUMS.read_bytes()).hexdigest()
    decoder = f"libjpeg-turbo {features.version('libjpeg_turbo')}, Pillow {features.version('pil')}"
    return hashes | {"checksums": checksums, "decoder": decoder}


def _listing_hash(folder: Path) -> str:
    with os.scandir(folder) as entries:
        kept = [(entry.name, entry.stat()) for entry in entries if not files.is_litter(entry.name)]
    found = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in kept]
    names, sizes, times = zip(*found, strict=True) if found else ((), (), ())
    digest = hashlib.sha256("\0".join([str(folder.resolve()), *names]).encode())
    digest.update(np.array([sizes, times], np.int64).tobytes())
    return digest.hexdigest()


def _check_listing(root: Path) -> None:
    for folder in FOLDERS:
        expected = {Path(name).name for name in file_names(folder)}
        found = {path.name for path in (root / folder).iterdir() if not files.is_litter(path.name)}
        other = folder.replace("REAL", "FAKE") if "REAL" in folder else folder.replace("FAKE", "REAL")
        if missing := expected - found:
            if found == {Path(name).name for name in file_names(other)}:
                raise UserError(f"{root / folder} has the files of {other}. Exchange the names of the two folders.")
            raise UserError(
                f"{root / folder / min(missing)} is missing, as are {len(missing):,} of the {len(expected):,} files "
                f"of {folder} in all. {REMEDY}"
            )
        if extra := found - expected:
            raise UserError(
                f"{root / folder / min(extra)} is not part of CIFAKE ({folder} has {len(extra):,} such files). "
                "Move it elsewhere, or set CIFAKE_DIR to an unaltered copy."
            )


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size * 1.1:
        raise UserError(
            f"CIFAKE's decoded pixels need {size / 1e6:.0f} MB in {folder}, which has {free / 1e6:.0f} MB left. "
            "Free some disk space and run again."
        )


def _decode_all(root: Path) -> dict[str, torch.Tensor]:
    names, expected = [name for folder in FOLDERS for name in file_names(folder)], np.load(files.CIFAKE_CHECKSUMS)
    rows = [slice(first, first + CHUNK) for first in range(0, len(names), CHUNK)]
    chunks = ((root, names[part], expected[part]) for part in rows)
    pixels = read_parallel(decode_files, chunks, len(names), desc="checking and decoding CIFAKE")
    return dict(zip(FOLDERS, pixels.split([len(file_names(folder)) for folder in FOLDERS]), strict=True))


def read_parallel(read: Callable, chunks: Iterable[tuple], count: int, *, desc: str, **options) -> torch.Tensor:
    """Return the images of `read(*chunk)` for each chunk, read on all cores: uint8 (count, 3, 32, 32).

    Args:
        read: Returns the uint8 pixels of some images, (n, 3, 32, 32).
        options: joblib's own.
    """
    from joblib import Parallel, delayed

    pixels, done = np.empty((count, 3, SIDE, SIDE), np.uint8), 0
    with progress(total=count, desc=desc, unit=" files", delay=1) as bar:
        for chunk in Parallel(n_jobs=-1, return_as="generator", **options)(delayed(read)(*chunk) for chunk in chunks):
            pixels[done : done + len(chunk)] = chunk
            done += len(chunk)
            bar.update(len(chunk))
    return torch.from_numpy(pixels)


def _read_cache(cache: Path, made_from: dict[str, str]) -> dict[str, torch.Tensor] | None:
    """Return the memory-mapped pixels, or None where the file is absent, damaged or made from other files."""
    try:
        pixels, metadata = files.read_tensors(cache)
        return pixels if json.loads(metadata["made_from"]) == made_from else None
    except files.UNREADABLE:
        return None
