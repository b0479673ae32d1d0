"""Check, decode and encode JPEG files. Worker processes import this module, so it imports little."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from detector.core.console import UserError

JPEG_SETTINGS = {"quality": 75, "subsampling": "4:2:0"}  # of every CIFAKE file
REMEDY = (
    "Restore it from a fresh copy of CIFAKE version 3: delete ~/.cache/kagglehub/datasets/birdy654 to download it "
    "again, or set CIFAKE_DIR to an unaltered copy."
)


def encode_decode(image: Image.Image, codec: str = "JPEG", **settings) -> Image.Image:
    """Encode and decode an RGB image by one of Pillow's codecs.

    Without settings it has CIFAKE's JPEG settings, so that the codec is no shortcut feature.
    """
    stream = io.BytesIO()
    image.save(stream, codec, **(settings or JPEG_SETTINGS))
    return Image.open(stream).convert("RGB")


def checksum(data: bytes) -> int:
    """Return the first 64 bits of the BLAKE2b hash of a file's bytes."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def decode_files(root: Path, names: list[str], expected: np.ndarray) -> np.ndarray:
    """Check and decode 32x32 JPEG files under `root`: uint8 (len(names), 3, 32, 32).

    Raises UserError naming the first file whose checksum differs from `expected`, uint64 (len(names),).
    """
    pixels = np.empty((len(names), 3, 32, 32), np.uint8)
    for row, (name, published) in enumerate(zip(names, expected, strict=True)):
        data = (root / name).read_bytes()
        if checksum(data) != published:
            raise UserError(
                f"{root / name} is not the published file (its {len(data):,} bytes have another checksum). {REMEDY}"
            )
        with Image.open(io.BytesIO(data)) as image:
            pixels[row] = np.asarray(image).transpose(2, 0, 1)  # (32, 32, 3) -> (3, 32, 32)
    return pixels
