"""File properties: numbers that describe an image's size, scaling and compression, but not its content.

If they separate REAL from FAKE, a detector may use them as shortcut features (Grommelt et al. 2024, arXiv 2403.17608).
"""

import io
from functools import cache

import numpy as np
from PIL import Image, JpegImagePlugin
from scipy.fft import dctn

YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])  # ITU-T T.871
QUALITIES = range(50, 101)  # that `_pixel_quality` compares
MIN_FIT = 0.15  # from -1 to 1; 99% of images without compression on the grid are below
LOW_FREQUENCIES = [8 * v + u for v in range(5) for u in range(5) if 0 < u + v < 5]  # that JPEG rarely sets to 0
SLOW = 0.1  # cycles per pixel: content dominates lower frequencies
LOBE = 2.5  # bins: half the width of a peak under a Hann window


def properties(image: Image.Image, data: bytes | None) -> dict[str, float]:
    """Return the file properties of an RGB image of at least 16x16 pixels.

    `width`, `height`, `aspect`: in pixels, and their ratio.
    `file_quality`, `file_subsampling`: JPEG quality of the standard tables nearest to the file's, and chroma
        subsampling (0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0); nan without `data` or if these are not JPEG.
    `pixel_quality`: the JPEG quality that explains the pixels best on the 8x8 grid; nan if none explains them.
    `blockiness`, `blockiness_elsewhere`, `grid_aligned`: strength of 8x8 block edges at the image's origin, the largest
        at the 63 other offsets, in units of the mean difference of neighbours; 1 if the first is the larger, else 0.
    `chroma_horizontal`, `chroma_vertical`: power above a quarter cycle per pixel of both chroma channels, relative to
        luma, in dB.
    `periodicity`, `periodicity_frequency`: height of the highest peak that interpolation leaves, relative to the
        median, and its frequency in cycles per pixel.

    Args:
        image: the pixels that are measured.
        data: the bytes of the file that these pixels come from, or None if they were changed since.
    """
    width, height = image.size
    luma, blue, red = np.tensordot(YCBCR, np.asarray(image, np.float64), axes=(1, 2))  # each (H, W)
    measured = {"width": width, "height": height, "aspect": width / height}
    measured |= _codec(data) | {"pixel_quality": _pixel_quality(luma)} | _blockiness(luma)
    for name, axis in {"chroma_horizontal": 1, "chroma_vertical": 0}.items():
        chroma = _high_power(blue, axis) + _high_power(red, axis)
        measured[name] = 10 * np.log10((chroma + 1e-3) / (_high_power(luma, axis) + 1e-3))
    measured |= max(_periodicity(luma), _periodicity(luma.T), key=lambda found: found["periodicity"])
    return {name: float(value) for name, value in measured.items()}


@cache
def standard_table(quality: int) -> np.ndarray:
    """Return libjpeg's quantisation table of the luma at a quality from 1 to 100: (64,), row by row."""
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream).quantization[0])


def _codec(data: bytes | None) -> dict[str, float]:
    names = ["file_quality", "file_subsampling"]
    image = Image.open(io.BytesIO(data)) if data else None
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return dict.fromkeys(names, np.nan)
    table, sampling = np.array(image.quantization[0]), JpegImagePlugin.get_sampling(image)
    quality = min(range(1, 101), key=lambda quality: np.abs(standard_table(quality) - table).sum())
    return dict(zip(names, (quality, sampling if sampling >= 0 else np.nan), strict=True))


def _pixel_quality(luma: np.ndarray) -> float:
    """Return the quality whose quantisation steps divide the DCT coefficients best; nan below MIN_FIT.

    The fit is the mean cosine of coefficient / step, in turns, over coefficients that do not round to zero. The fit
    itself is no property: at equal quality, it depends on how many coefficients the content has.
    """
    height, width = (length // 8 * 8 for length in luma.shape)
    blocks = luma[:height, :width].reshape(height // 8, 8, width // 8, 8)
    low = dctn(blocks, axes=(1, 3), norm="ortho").transpose(0, 2, 1, 3).reshape(-1, 64)[:, LOW_FREQUENCIES]
    fits = {}
    for quality in QUALITIES:
        turns = low / standard_table(quality)[LOW_FREQUENCIES]
        turns = turns[np.abs(turns) > 0.5]
        fits[quality] = np.cos(2 * np.pi * turns).sum() / (len(turns) + 10)  # 10: a few coefficients are no evidence
    best = max(fits, key=fits.get)
    return best if fits[best] > MIN_FIT else np.nan


def _blockiness(luma: np.ndarray) -> dict[str, float]:
    strengths = _edges(luma.T)[:, None] + _edges(luma)  # (8, 8), by vertical and horizontal offset
    others = np.delete(strengths.ravel(), 0).max()
    return {
        "blockiness": strengths[0, 0],
        "blockiness_elsewhere": others,
        "grid_aligned": strengths[0, 0] > others,
    }


def _edges(plane: np.ndarray) -> np.ndarray:
    """Return how much larger than its neighbours the horizontal difference is, for each offset of the grid: (8,)."""
    steps = np.abs(np.diff(plane, axis=1)).mean(0)  # entry x is the step from x to x + 1
    excess = (steps[1:-1] - (steps[:-2] + steps[2:]) / 2) / (steps.mean() + 1e-3)  # entry x is at the edge x + 2
    return np.array([excess[(offset - 2) % 8 :: 8].mean() for offset in range(8)])


def _high_power(plane: np.ndarray, axis: int) -> float:
    """Return the mean power above a quarter cycle per pixel along an axis."""
    spectrum = np.fft.rfft(plane - plane.mean(), axis=axis, norm="ortho")
    high = np.fft.rfftfreq(plane.shape[axis]) > 0.25
    return np.square(np.abs(spectrum)).compress(high, axis=axis).mean()


def _periodicity(plane: np.ndarray) -> dict[str, float]:
    """Return the peaks in the spectrum of the second derivative's mean magnitude.

    Interpolation makes the magnitude periodic (Gallagher 2005, 'Detection of linear and cubic interpolation in JPEG
    compressed images'). As in that paper, JPEG's own peaks at multiples of 1/8 are left out.
    """
    signal = np.abs(np.diff(plane, 2, axis=1)).mean(0)
    spectrum = np.abs(np.fft.rfft((signal - signal.mean()) * np.hanning(len(signal))))
    frequency = np.fft.rfftfreq(len(signal))
    eighths = np.abs(8 * frequency - np.round(8 * frequency)) < 8 * LOBE / len(signal)
    fast = frequency > SLOW
    relative = spectrum / (np.median(spectrum[fast]) + 1e-6)
    free = np.where(fast & ~eighths, relative, 0)
    return {"periodicity": free.max(), "periodicity_frequency": frequency[free.argmax()]}
