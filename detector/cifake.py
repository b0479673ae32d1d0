"""CIFAKE as published: find it, check every file against a committed checksum, decode it once.

60,000 CIFAR-10 photographs (REAL) and 60,000 Stable Diffusion 1.4 pictures (FAKE), JPEG, 32x32, of Bird and
Lotfi 2023 (arXiv 2303.14126). The decoded pixels are kept in one memory-mapped file, `data/cifake.safetensors`,
which carries what it was made from: the list, sizes and times of the files, their checksums, the JPEG decoder.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import kagglehub
import numpy as np
import requests
import torch
from joblib import Parallel, delayed
from kagglehub.exceptions import BackendError, DataCorruptionError, UnauthenticatedError
from PIL import features
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from detector.decoding import REMEDY, decode_files
from detector.progress import InputError, progress

CLASSES = ("REAL", "FAKE")
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HANDLE = "birdy654/cifake-real-and-ai-generated-synthetic-images/versions/3"
DATA_DIR = Path(__file__).resolve().parent.parent / "data"
CHECKSUMS = DATA_DIR / "cifake.checksums.npy"

# folder -> (number of the first file of each CIFAR-10 class, one past the last, digits it is padded to)
FOLDERS = {
    "train/REAL": (0, 5000, 4),
    "train/FAKE": (1000, 6000, 4),
    "test/REAL": (0, 1000, 4),
    "test/FAKE": (0, 1000, 1),
}
CHUNK = 2000  # files a worker decodes between two reports of progress
CACHE_BYTES = 120_000 * 3 * 32 * 32


def file_names(folder: str) -> list[str]:
    """The published names in one of FOLDERS, class by class: `0000.jpg` is an airplane, `0000 (2).jpg` a car."""
    first, end, digits = FOLDERS[folder]
    marks = [""] + [f" ({k})" for k in range(2, 11)]
    return [f"{folder}/{number:0{digits}d}{mark}.jpg" for mark in marks for number in range(first, end)]


def find_cifake() -> Path:
    """The folder that holds CIFAKE's train/ and test/: `CIFAKE_DIR` if set, else Kaggle's, downloaded once.

    Raises InputError if Kaggle refuses, or if the disk is full; ConnectionError if Kaggle cannot be reached and
    nothing is cached.
    """
    if chosen := os.environ.get("CIFAKE_DIR"):
        return Path(chosen)
    try:
        return Path(kagglehub.dataset_download(HANDLE))
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
        raise ConnectionError(f"Kaggle cannot be reached ({type(error).__name__})") from error
    except (requests.exceptions.RequestException, UnauthenticatedError, BackendError, DataCorruptionError) as error:
        raise InputError(
            f"Kaggle did not give {HANDLE} ({error}): try again later, or download it in a browser, "
            "unpack it, and set CIFAKE_DIR to the folder that holds train/ and test/."
        ) from error
    except OSError as error:
        raise InputError(f"CIFAKE could not be stored ({error}): free some disk space and run again.") from error


def load_cifake(root: Path, cache: Path = DATA_DIR / "cifake.safetensors") -> dict[str, torch.Tensor]:
    """CIFAKE's pixels by folder, uint8 (N, 3, 32, 32) in the order of `file_names`, memory-mapped from `cache`.

    The cache is used only if it is whole and was made from these very files; else every file is checked and
    decoded again (about half a minute on two cores).

    Raises InputError naming the first folder or file that is missing, unexpected or altered, or if the disk is full.
    """
    for folder in FOLDERS:
        if not (root / folder).is_dir():
            raise InputError(
                f"there is no folder {folder!r} in {str(root)!r}: set CIFAKE_DIR to the folder that holds CIFAKE's "
                "train/ and test/, or unset it to download CIFAKE."
            )
    made_from = _made_from(root)
    pixels = _read_cache(cache, made_from)
    if pixels is None:
        _check_listing(root)
        _require_space(cache.parent, CACHE_BYTES)
        _write_cache(cache, _decode_all(root), made_from)
        pixels = _read_cache(cache, made_from)
    return pixels


def _made_from(root: Path) -> dict[str, str]:
    """A digest of each folder's listing (names, sizes, times), of the checksums, and the decoder's version."""
    made_from = {folder: _listing_digest(root / folder) for folder in FOLDERS}
    checksums = hashlib.sha256(CHECKSUMS.read_bytes()).hexdigest()
    decoder = f"libjpeg-turbo {features.version('libjpeg_turbo')}, Pillow {features.version('pil')}"
    return made_from | {"checksums": checksums, "decoder": decoder}


def _listing_digest(folder: Path) -> str:
    with os.scandir(folder) as entries:
        files = [(entry.name, (stat := entry.stat()).st_size, stat.st_mtime_ns) for entry in entries]
    names, sizes, times = zip(*files, strict=True) if files else ((), (), ())
    digest = hashlib.sha256("\0".join([str(folder.resolve()), *names]).encode())
    digest.update(np.array([sizes, times], np.int64).tobytes())
    return digest.hexdigest()


def _check_listing(root: Path) -> None:
    for folder in FOLDERS:
        expected = {Path(name).name for name in file_names(folder)}
        found = {path.name for path in (root / folder).iterdir()}
        if missing := expected - found:
            raise InputError(
                f"{root / folder / min(missing)} is missing ({len(missing):,} of the {len(expected):,} files of "
                f"{folder} are): {REMEDY}"
            )
        if extra := found - expected:
            raise InputError(
                f"{root / folder / min(extra)} is not part of CIFAKE ({len(extra):,} such files are in {folder}): "
                "move it elsewhere, or set CIFAKE_DIR to an unaltered copy."
            )


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size * 1.1:
        raise InputError(
            f"the decoded pictures take {size / 1e6:.0f} MB in {folder}, where {free / 1e6:.0f} MB are free: "
            "free some disk space and run again."
        )


def _chunks(root: Path) -> Iterator[tuple]:
    expected = np.load(CHECKSUMS)
    start = 0
    for folder in FOLDERS:
        names = file_names(folder)
        for first in range(0, len(names), CHUNK):
            chunk = names[first : first + CHUNK]
            yield root, chunk, expected[start : start + len(chunk)]
            start += len(chunk)


def _decode_all(root: Path) -> dict[str, torch.Tensor]:
    """Every file, checked and decoded on all cores, by folder."""
    counts = [len(file_names(folder)) for folder in FOLDERS]
    pixels = np.empty((sum(counts), 3, 32, 32), np.uint8)
    decoded = Parallel(n_jobs=-1, return_as="generator")(delayed(decode_files)(*chunk) for chunk in _chunks(root))
    done = 0
    with progress(total=len(pixels), desc="checking and decoding CIFAKE", unit=" files") as bar:
        for part in decoded:
            pixels[done : done + len(part)] = part
            done += len(part)
            bar.update(len(part))
    return dict(zip(FOLDERS, torch.from_numpy(pixels).split(counts), strict=True))


def _crc(pixels: dict[str, torch.Tensor]) -> str:
    return " ".join(str(zlib.crc32(pixels[folder].numpy())) for folder in FOLDERS)


def _write_cache(cache: Path, pixels: dict[str, torch.Tensor], made_from: dict[str, str]) -> None:
    """Write beside, flush to the disk, rename: another process sees the old file or the new one, never a part."""
    part = cache.with_suffix(f".{os.getpid()}.part")
    metadata = {"made_from": json.dumps(made_from), "crc32": _crc(pixels)}
    try:
        save_file({folder: part_.contiguous() for folder, part_ in pixels.items()}, part, metadata)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        part.replace(cache)
    except (OSError, SafetensorError) as error:
        raise InputError(f"the decoded pictures could not be written to {cache} ({error}): free some space.") from error
    finally:
        part.unlink(missing_ok=True)


def _read_cache(cache: Path, made_from: dict[str, str]) -> dict[str, torch.Tensor] | None:
    """The memory-mapped pixels, or None where the file is absent, torn, altered, or made from something else."""
    try:
        with safe_open(cache, "pt") as file:
            metadata = file.metadata()
            if json.loads(metadata["made_from"]) != made_from:
                return None
            pixels = {folder: file.get_tensor(folder) for folder in FOLDERS}
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        return None
    return pixels if _crc(pixels) == metadata["crc32"] else None
