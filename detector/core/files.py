"""Every path of the project, and files that are always written completely."""

import glob
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from safetensors import SafetensorError, safe_open

from detector.core.console import UserError

if TYPE_CHECKING:
    import torch


def _project_root(package: Path) -> Path:
    """Return the folder of the report: the checkout around the package, else the copy inside an installed package."""
    return package.parent if (package.parent / "report.ipynb").is_file() else package / "_project"


ROOT = _project_root(Path(__file__).resolve().parents[1])
NOTEBOOK = ROOT / "report.ipynb"
README = ROOT / "README.md"
BUILD_DIR = ROOT / "build"

DATA_DIR = ROOT / "data"
CIFAKE_CHECKSUMS = DATA_DIR / "cifake.checksums.npy"  # one for each published file
CIFAKE_CACHE = DATA_DIR / "cifake.safetensors"  # the decoded pixels
LEAKS = DATA_DIR / "leaks.csv"  # test images with a duplicate in train or test
TRAIN_DUPLICATES = DATA_DIR / "train_duplicates.csv"  # pairs of duplicates within CIFAKE's train folder
NATIVE_FEATURES = DATA_DIR / "native_features.safetensors"  # CLIP's features of data/sources and data/packages
NATIVE = DATA_DIR / "native.csv"  # the manifest of data/sources: one row for each file
PACKAGES = DATA_DIR / "packages.csv"  # the manifest of data/packages
UNSEEN_DIR = DATA_DIR / "unseen"  # sources for testing only
SOURCES_DIR = DATA_DIR / "sources"  # further sources, for studies
PACKAGES_DIR = DATA_DIR / "packages"  # images of npm and Debian packages: photos, and no photos
AUTOENCODERS_DIR = DATA_DIR / "autoencoders"  # of madebyollin/taesd, for matched fakes

MODELS_DIR = ROOT / "models"
CHECKPOINTS_DIR = MODELS_DIR / "checkpoints"
ENCODER = MODELS_DIR / "encoder" / "clip_vit_b16.int8.onnx"  # downloaded, not committed
MODEL_CARD = MODELS_DIR / "README.md"
SCREENSHOT = MODELS_DIR / "demo.png"  # README's
RESULTS = MODELS_DIR / "results.csv"
PREDICTIONS = MODELS_DIR / "predictions.csv"

STUDIES_DIR = ROOT / "benchmarks" / "results"
ACCESS_LOG = ROOT / "benchmarks" / "TEST_LEDGER.md"  # every first scoring of a test set


LITTER = ("thumbs.db", "desktop.ini", "__macosx")  # files of operating systems that do not start with a dot
CHECKSUM = "crc32"  # of a safetensors file, in its metadata
UNREADABLE = (OSError, SafetensorError, KeyError, TypeError, ValueError)  # what reading a damaged file raises


def model_file(name: str) -> Path:
    """Return the file of a released model."""
    return MODELS_DIR / f"{name}.safetensors"


def is_litter(name: str) -> bool:
    """Return whether a file or folder of that name is hidden, or left behind by an operating system."""
    return name.startswith(".") or name.lower() in LITTER


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block succeeds.

    Other processes see the old file or the new one, never an incomplete file. After an error the temporary file is
    removed and `path` is unchanged; that of a killed process is removed at the next write.

    Raises UserError if the file cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
            process = other.suffixes[-2][1:]
            if process.isdecimal() and not psutil.pid_exists(int(process)):
                other.unlink(missing_ok=True)
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        if path.exists():
            part.chmod(path.stat().st_mode)  # some writers make their files private
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} could not be written ({error}). Free some disk space, or check that you may write to the folder."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_tensors(tensors: dict[str, "torch.Tensor"], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors and metadata, with their checksum, to a safetensors file through `atomic_write`."""
    from safetensors.torch import save_file  # here, so that paths are known without PyTorch

    tensors, metadata = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, dict(metadata or {})
    with atomic_write(path) as part:
        save_file(tensors, part, metadata | {CHECKSUM: _checksum(tensors, metadata)})


def read_tensors(path: Path | str) -> tuple[dict[str, "torch.Tensor"], dict[str, str]]:
    """Return the tensors, memory-mapped, and the metadata of a file of `write_tensors`.

    Raises UNREADABLE if the file is missing or damaged, or if its checksum does not match.
    """
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    if metadata.pop(CHECKSUM, None) != _checksum(tensors, metadata):
        raise ValueError("its checksum does not match")
    return tensors, metadata


def _checksum(tensors: dict[str, "torch.Tensor"], metadata: dict[str, str]) -> str:
    """Return the CRC-32 of names, types, shapes, values and metadata."""
    import torch

    crc = zlib.crc32(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy(), crc)
    return f"{crc:08x}"


def sha256_prefix(path: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a file, which identify released weights."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
