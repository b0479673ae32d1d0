"""One JPEG after another: checked, decoded, encoded. Imports little, since each worker process imports it anew."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from detector.progress import InputError

JPEG_SETTINGS = {"quality": 75, "subsampling": "4:2:0"}
REMEDY = (
    "restore it from a fresh copy of CIFAKE version 3 (delete kagglehub's folder "
    "~/.cache/kagglehub/datasets/birdy654 to download it again, or set CIFAKE_DIR to an unaltered copy)."
)


def jpeg_round_trip(image: Image.Image) -> Image.Image:
    """The RGB image after CIFAKE's JPEG settings (quality 75, 4:2:0), so that the codec is no cue."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", **JPEG_SETTINGS)
    return Image.open(stream).convert("RGB")


def checksum(data: bytes) -> int:
    """The first 64 bits of BLAKE2b of a file's bytes, as an integer."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def decode_files(root: Path, names: list[str], expected: np.ndarray) -> np.ndarray:
    """Some 32x32 JPEG files under `root`, checked and decoded: uint8 (len(names), 3, 32, 32).

    Raises InputError naming the first file whose checksum is not the `expected` one, uint64 (len(names),).
    """
    pixels = np.empty((len(names), 3, 32, 32), np.uint8)
    for row, (name, checksum_) in enumerate(zip(names, expected, strict=True)):
        data = (root / name).read_bytes()
        if checksum(data) != checksum_:
            raise InputError(
                f"{root / name} is not the file that was published ({len(data):,} bytes, other checksum): {REMEDY}"
            )
        with Image.open(io.BytesIO(data)) as image:
            pixels[row] = np.asarray(image).transpose(2, 0, 1)  # (32, 32, 3) -> (3, 32, 32)
    return pixels
