"""Open any image file safely, and convert it to CIFAKE's format: 32x32 RGB through CIFAKE's JPEG settings."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision.transforms.v2 import functional as TF

from detector.core.console import UserError
from detector.core.labels import SIDE
from detector.data.jpeg import jpeg_round_trip

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
CROP_GRID_SIDE, CROP_STRIDE = 64, 16  # an image is resized to this side before crops are taken at this stride


@dataclass(frozen=True)
class CroppedImages:
    """N full images, and crops of some of them at twice the resolution.

    Attributes:
        full: uint8 (N, 3, 32, 32).
        crops: uint8 (M, 3, 32, 32).
        owner: int64 (M,), the row in `full` of the image that each crop is from; ascending.
    """

    full: torch.Tensor
    crops: torch.Tensor
    owner: torch.Tensor

    def __len__(self) -> int:
        return len(self.full)

    @classmethod
    def without_crops(cls, pixels: torch.Tensor) -> "CroppedImages":
        """Return images of which only the full image is used."""
        return cls(pixels, pixels[:0], torch.zeros(0, dtype=torch.int64))

    @classmethod
    def join(cls, items: Sequence["CroppedImages"]) -> "CroppedImages":
        """Return the images of all items, one item after the other."""
        starts = np.cumsum([0, *map(len, items)])[:-1].tolist()
        owner = torch.cat([item.owner + start for item, start in zip(items, starts, strict=True)])
        return cls(torch.cat([item.full for item in items]), torch.cat([item.crops for item in items]), owner)

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "CroppedImages":
        """Apply a function of pixels to the full images and to the crops, each only where there are any."""
        full, crops = (function(pixels) if len(pixels) else pixels for pixels in (self.full, self.crops))
        return CroppedImages(full, crops, self.owner)


def open_image(path: Path) -> Image.Image:
    """Open an image file, upright. Raises UserError if it is not a file, or as `decode_image` does."""
    try:
        if not path.is_file():  # a named pipe would never end
            raise UserError("There is no such file. Check the path.")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(_too_large(path.stat().st_size))
        return decode_image(path.read_bytes())
    except OSError as error:
        raise UserError(f"The file cannot be read ({error.strerror}). Check that you may read it.") from error


def _too_large(size: int) -> str:
    return f"The file has {size / 2**20:.0f} MB. Use a file of at most {MAX_BYTES // 2**20} MB."


def decode_image(data: bytes) -> Image.Image:
    """Decode the bytes of an image file, upright. The format is detected from the content.

    Raises UserError if the file is too large, is damaged, or is not an image in one of FORMATS.
    """
    if len(data) > MAX_BYTES:
        raise UserError(_too_large(len(data)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is stricter
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.load()
        upright = ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:
        raise UserError(f"The image is too large. Use one of at most {MAX_PIXELS // 10**6} million pixels.") from error
    except MemoryError as error:
        raise UserError("The image is too large for this machine's memory. Use a smaller one.") from error
    except UnidentifiedImageError as error:
        raise UserError(f"The file is not an image in a supported format. Use {', '.join(FORMATS)}.") from error
    except Exception as error:  # Pillow's decoders raise almost any exception on a damaged file
        raise UserError("The image is damaged and cannot be decoded completely. Use another copy.") from error
    if upright.mode == "F":
        raise UserError("The image has floating-point values without a known range. Save it with 8 or 16 bits.")
    if upright.mode == "LAB":
        raise UserError("The image is in the CIELAB colour space, which is not supported. Save it as RGB.")
    return upright


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to upright 8-bit RGB, on white where it is transparent."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # Pillow would clip 16-bit values at 255 instead of scaling them
        image = Image.fromarray((np.asarray(image, np.float32) / 257).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def centre_crop(image: Image.Image, side: int) -> Image.Image:
    """Return the RGB centre square, resized to `side` by a box filter, or bicubically where the image is smaller."""
    method = Image.Resampling.BOX if min(image.size) >= side else Image.Resampling.BICUBIC
    return ImageOps.fit(to_rgb(image), (side, side), method)


def to_cifake_format(image: Image.Image) -> torch.Tensor:
    """Convert an image to CIFAKE's format: its centre square at 32x32 through CIFAKE's JPEG settings.

    Size and codec are then no shortcut features (Grommelt et al. 2024, arXiv 2403.17608).

    Returns uint8 (3, 32, 32).
    """
    return _compress(centre_crop(image, SIDE))


def _compress(image: Image.Image) -> torch.Tensor:
    return TF.pil_to_tensor(jpeg_round_trip(image)).contiguous()


def crop_image(image: Image.Image) -> CroppedImages:
    """Convert one image to CIFAKE's format, and its crops too.

    An image whose short side has at least 64 pixels gives nine crops, row by row: its centre square is resized to
    64x64, and the crops are the 32x32 squares at a stride of 16. A smaller image gives none.
    """
    image = to_rgb(image)
    full = CroppedImages.without_crops(to_cifake_format(image)[None])
    if min(image.size) < CROP_GRID_SIDE:
        return full
    square, corners = centre_crop(image, CROP_GRID_SIDE), range(0, CROP_GRID_SIDE - SIDE + 1, CROP_STRIDE)
    boxes = [(left, top, left + SIDE, top + SIDE) for top in corners for left in corners]
    crops = torch.stack([_compress(square.crop(box)) for box in boxes])
    return CroppedImages(full.full, crops, torch.zeros(len(crops), dtype=torch.int64))
