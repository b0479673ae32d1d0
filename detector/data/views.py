"""Crops at native resolution: random views for training, and the crops that a prediction scores.

Both classes pass through the same random scale and compression in training, so that size and codec are no shortcut
features (Grommelt et al. 2024, arXiv 2403.17608). Nothing here needs PyTorch, which exported models run without.
"""

from itertools import product

import numpy as np
from PIL import Image

from detector.data.decode import to_rgb
from detector.data.images import to_array
from detector.data.jpeg import encode_decode

VIEW_SIDE = 224  # pixels, of every view and crop
SCALED, COMPRESSED = 0.6, 0.85  # shares of the training views that are resized, and JPEG-compressed
SMALLEST = 140  # pixels: the smallest square that becomes a training view
QUALITIES = (60, 96)  # of the training views' JPEG compression
FILTERS = [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
CROP_SIDE = 256  # pixels, of a stored crop
LARGE = 1000  # pixels: originals with a long side from here on are also stored as a crop of a reduced copy
REDUCED_SIDE = 1024  # long side of the reduced copy, from which half of a large image's crops come
SCORED = ((1.0, 90), (0.8, 80), (0.95, 75), (0.7, 85))  # of scored views: share of the crop, JPEG quality
MIN_VIEWS = 4  # of an image with fewer crops
PAIR = (0.25, 0.75)  # positions of two crops along a side, as shares of the free length

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the image


def training_view(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a random square of an RGB image, VIEW_SIDE wide: the same distribution for both classes.

    A share of the squares is resized from another size, by a random filter, and most are JPEG-compressed.
    """
    image, side = _large_enough(image), VIEW_SIDE
    if rng.random() < SCALED:
        side = int(rng.integers(SMALLEST, min(image.size) + 1))
    left, top = (int(rng.integers(length - side + 1)) for length in image.size)
    square = image.crop((left, top, left + side, top + side))
    if side != VIEW_SIDE:
        square = square.resize((VIEW_SIDE, VIEW_SIDE), FILTERS[rng.integers(len(FILTERS))])
    if rng.random() < COMPRESSED:
        subsampling = ("4:2:0", "4:4:4")[rng.integers(2)]
        square = encode_decode(square, quality=int(rng.integers(*QUALITIES)), subsampling=subsampling)
    return square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else square


def scored_crops(image: Image.Image) -> tuple[np.ndarray, list[Box]]:
    """Return the views that a prediction scores, uint8 (K, 3, 224, 224), and the crop that each shows.

    Each view is resized and compressed, as most are in training, so that the file's own scale and codec are no cues. An
    image of up to REDUCED_SIDE pixels gives one crop, or two along each side that is
    long enough; MIN_VIEWS views in all. A larger image gives five unscaled crops, and two of a copy reduced to
    REDUCED_SIDE, which is how sites and messengers pass images on.
    """
    image = to_rgb(image)
    long_side = max(image.size)
    if long_side <= REDUCED_SIDE:
        boxes = _grid(image.size)
        boxes *= max(1, MIN_VIEWS // len(boxes))
        return _views([image.crop(box) for box in boxes]), boxes
    scale = REDUCED_SIDE / long_side
    size = tuple(max(1, round(length * scale)) for length in image.size)
    reduced = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=1)  # a box filter first, 0.1 s faster
    full = [_at(image.size, x, y) for x, y in [*product(PAIR, PAIR), (0.5, 0.5)]]
    along = [(place, 0.5) if image.width >= image.height else (0.5, place) for place in PAIR]
    small = [_at(size, x, y) for x, y in along]
    crops = [image.crop(box) for box in full] + [reduced.crop(box) for box in small]
    return _views(crops), full + [tuple(round(edge / scale) for edge in box) for box in small]


def _views(crops: list[Image.Image]) -> np.ndarray:
    return np.stack([to_array(scored_view(crop, place)) for place, crop in enumerate(crops)])


def scored_view(image: Image.Image, place: int) -> Image.Image:
    """Return the centre square of an RGB crop, resized to VIEW_SIDE and JPEG-compressed by one of SCORED in turn."""
    share, quality = SCORED[place % len(SCORED)]
    side = round(share * min(image.size))
    square = _centre(image, side, side).resize((VIEW_SIDE, VIEW_SIDE), Image.Resampling.BICUBIC)
    return encode_decode(square, quality=quality, subsampling="4:2:0")


def overview(image: Image.Image) -> Image.Image:
    """Return the centre square of an image, resized to VIEW_SIDE."""
    longest = 4 * min(image.size)  # a strip of a million pixels is cut before it is enlarged
    image = _centre(image, min(image.width, longest), min(image.height, longest))
    scale = VIEW_SIDE / min(image.size)
    size = [max(VIEW_SIDE, round(length * scale)) for length in image.size]
    small = to_rgb(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
    return _centre(small, VIEW_SIDE, VIEW_SIDE)


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return the centre of an image that is at least as large."""
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def random_crops(image: Image.Image, rng: np.random.Generator) -> list[Image.Image]:
    """Return random squares of up to CROP_SIDE pixels of an RGB image, as `data/sources` has them of its originals.

    Two are unscaled. A long side of LARGE pixels or more adds one of a copy, reduced as sites reduce images.
    """
    crops, long_side = [_random_square(image, rng) for _ in range(2)], max(image.size)
    if long_side >= LARGE:
        scale = rng.integers(700, min(1400, long_side)) / long_side
        size = [max(CROP_SIDE, round(length * scale)) for length in image.size]
        reduced = image.resize(size, FILTERS[rng.integers(len(FILTERS))], reducing_gap=2)
        crops.append(_random_square(reduced, rng))
    return crops


def _random_square(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    side = min(CROP_SIDE, *image.size)
    left, top = (int(rng.integers(length - side + 1)) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _large_enough(image: Image.Image) -> Image.Image:
    """Enlarge an image whose short side is below VIEW_SIDE."""
    scale = VIEW_SIDE / min(image.size)
    size = [max(VIEW_SIDE, round(length * scale)) for length in image.size]
    return image.resize(size, Image.Resampling.BICUBIC) if scale > 1 else image


def _grid(size: tuple[int, int]) -> list[Box]:
    """Return boxes of crops along both sides of an image: one or two along each."""
    across, down = (PAIR if length >= 1.5 * CROP_SIDE else (0.5,) for length in size)
    return [_at(size, x, y) for y, x in product(down, across)]


def _at(size: tuple[int, int], x: float, y: float) -> Box:
    """Return the box of CROP_SIDE pixels, or of the short side, at shares `x` and `y` of the free length."""
    side = min(CROP_SIDE, *size)
    left, top = (round(share * (length - side)) for share, length in zip((x, y), size, strict=True))
    return left, top, left + side, top + side
