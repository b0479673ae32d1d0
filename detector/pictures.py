"""Any picture that a person has: opened safely, made RGB, brought to CIFAKE's form."""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torchvision.transforms.v2 import functional as TF

from detector.decoding import jpeg_round_trip
from detector.progress import InputError

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
SIDE = 32  # of what the models see
PARTS_OF, STEP = 64, 16  # the parts of a larger picture: squares of it at this side, this far from one another
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def open_file(path: Path) -> Image.Image:
    """The upright picture in a file. Raises InputError, in one sentence, as `open_picture` does or if it is none."""
    try:
        if not path.is_file():  # nor a folder, nor a pipe that would never end
            raise InputError("There is no such file.")
        if path.stat().st_size > MAX_BYTES:  # before it is read
            raise InputError(_too_large(path.stat().st_size))
        return open_picture(path.read_bytes())
    except OSError as error:
        raise InputError(f"The file cannot be read ({error.strerror}).") from error


def _too_large(size: int) -> str:
    return f"The file has {size / 2**20:.0f} MB; up to {MAX_BYTES // 2**20} MB are taken."


def open_picture(data: bytes) -> Image.Image:
    """The upright picture in a file's bytes, its format told by content.

    Raises InputError, in one sentence for the person, if it is too large, not a picture, or broken.
    """
    if len(data) > MAX_BYTES:
        raise InputError(_too_large(len(data)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.load()
        upright = ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:
        raise InputError(f"The picture has too many pixels; up to {MAX_PIXELS // 10**6} million are taken.") from error
    except MemoryError as error:
        raise InputError("The picture is too large for this machine's memory.") from error
    except UnidentifiedImageError as error:
        raise InputError(f"This is not a picture in a format that is read ({', '.join(FORMATS)}).") from error
    except Exception as error:  # Pillow's readers raise nearly anything on a broken file
        raise InputError("The picture is damaged: it could not be read to its end.") from error
    if upright.mode == "F":
        raise InputError("The picture's values are fractions without a scale; save it with 8 or 16 bits.")
    if upright.mode == "LAB":
        raise InputError("The picture's colours are in CIELAB, which is not read; save it as RGB.")
    return upright


def to_rgb(image: Image.Image) -> Image.Image:
    """Any picture upright (EXIF) and RGB: 16 bits brought to 8, on white where it is transparent."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # Pillow would clip 16 bits at 255 instead of scaling them
        image = Image.fromarray((np.asarray(image, np.float32) / 257).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """The RGB centre square of any picture, averaged down to `side` (box filter); enlarged bicubically if smaller."""
    method = Image.Resampling.BOX if min(image.size) >= side else Image.Resampling.BICUBIC
    return ImageOps.fit(to_rgb(image), (side, side), method)


def to_cifake(image: Image.Image, side: int = SIDE) -> torch.Tensor:
    """Any picture brought to CIFAKE's form: its `centre_square`, through CIFAKE's JPEG settings: uint8 (3, S, S).

    S is 32, CIFAKE's, or another `side`.
    """
    return TF.pil_to_tensor(jpeg_round_trip(centre_square(image, side))).contiguous()


def to_views(image: Image.Image) -> torch.Tensor:
    """Any picture as it is judged: whole, by `to_cifake`, then its parts, uint8 (V, 3, 32, 32).

    A picture whose shorter side has 64 pixels or more has nine parts, row by row: squares of half its centre square's
    side, a quarter apart, at twice the detail. A smaller one has none.
    """
    image = to_rgb(image)
    views = [to_cifake(image)]
    if min(image.size) >= PARTS_OF:
        square, corners = centre_square(image, PARTS_OF), range(0, PARTS_OF - SIDE + 1, STEP)
        parts = [square.crop((left, top, left + SIDE, top + SIDE)) for top in corners for left in corners]
        views += [TF.pil_to_tensor(jpeg_round_trip(part)) for part in parts]
    return torch.stack(views)
