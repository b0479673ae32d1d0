"""Remove uniform bars, borders and frames around an image, so that only the image itself is scored."""

import colorsys

import numpy as np
from PIL import Image

SIDES = ("at the top", "at the bottom", "on the left", "on the right")
HUES = ("red", "orange", "yellow", "green", "green", "cyan", "blue", "blue", "purple", "pink", "pink", "red")
LEVELS = 2  # a frame in a frame
MIN_SIDE = 16  # pixels; smaller images are left as they are
SAMPLES = 256  # pixels of each row or column from which a bar's width is found
NOISE = 5  # largest deviation from a bar's colour, of 255 levels, that JPEG compression leaves
RINGING, RINGING_LINES = 36, 16  # the same in the last lines of a bar, which share JPEG blocks with the content
CONTRAST = 10  # least deviation of content from the colour of a bar without noise
CONTENT = 0.7  # share of a line that has this deviation where the content begins


def remove_frame(image: Image.Image) -> tuple[Image.Image, str]:
    """Remove bars, borders and frames of one colour, up to two inside each other.

    A bar is removed where all lines from the image's edge on are uniform, and where the content begins on a straight
    line. At most half of the width and half of the height is removed. In doubt, nothing is removed.

    Returns:
        The inner image, and a sentence about the border: 'A black border of 8 pixels was removed.', or ''.
    """
    if not _may_have_border(image):
        return image, ""
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    box, borders = (0, 0, *image.size), []
    for _ in range(LEVELS):
        left, top, right, bottom = box
        widths, colours = _find_border(pixels[top:bottom, left:right])
        inner = (left + widths[2], top + widths[0], right - widths[3], bottom - widths[1])
        if not any(widths) or 2 * (inner[2] - inner[0]) < image.width or 2 * (inner[3] - inner[1]) < image.height:
            break
        box = inner
        borders.append(_describe(widths, colours))
    if not borders:
        return image, ""
    text = " and ".join(borders)
    return image.crop(box), f"{text[0].upper()}{text[1:]} {'were' if borders[1:] else 'was'} removed."


def _may_have_border(image: Image.Image) -> bool:
    """Return whether the outermost line of any side has one colour. Most photos have no such line."""
    width, height = image.size
    boxes = ((0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height))
    lines = [np.asarray(image.crop(box).convert("RGB")).reshape(1, -1, 3) for box in boxes]
    return min(width, height) >= MIN_SIDE and any(_is_uniform(line) for line in lines)


def _find_border(pixels: np.ndarray) -> tuple[list[int], list[np.ndarray]]:
    """Return the width of the bar on each of SIDES, in pixels, and the colours of the bars.

    Args:
        pixels: uint8 (H, W, 3).
    """
    sides = (pixels, pixels[::-1], pixels.swapaxes(0, 1), pixels.swapaxes(0, 1)[::-1])  # lines, from the edge inwards
    widths = [_bar_width(lines) for lines in sides]
    is_lone = np.count_nonzero(widths) == 1
    between = [widths[2:], widths[2:], widths[:2], widths[:2]]  # what the bars of other sides take from each line
    for side, (lines, (first, last)) in enumerate(zip(sides, between, strict=True)):
        content, width = lines[widths[side], first : lines.shape[1] - last], widths[side]
        if width and not (_is_uniform(lines[:width], is_lone) and _is_content(content, _colour(lines))):
            widths[side] = 0
    for side in range(4):  # content may have the colour of the bar beside it; the opposite bar then gives the width
        width, both = widths[side ^ 1], np.int16([_colour(sides[side]), _colour(sides[side ^ 1])])
        if width and not widths[side] and np.ptp(both, axis=0).max() <= 3 * NOISE and _is_uniform(sides[side][:width]):
            widths[side] = width
    return widths, [_colour(lines) for lines, width in zip(sides, widths, strict=True) if width]


def _bar_width(lines: np.ndarray) -> int:
    """Return how many lines, from the first on, form a bar that ends at a straight edge; 0 if there is none.

    Args:
        lines: uint8 (N, length, 3), from the image's edge inwards.
    """
    samples = np.unique(np.linspace(0, lines.shape[1] - 1, SAMPLES).astype(int))
    centre = slice(len(samples) // 4, -(len(samples) // 4))  # bars of other sides end before it
    for depth in (64, len(lines) // 2):  # most photos have content in their first lines
        deviation = _deviation(lines[: depth + 9, samples], _colour(lines))  # (N, samples)
        begins = np.flatnonzero((deviation[:, centre] > CONTRAST).mean(1) >= CONTENT)
        if len(begins):
            break
    first = int(begins[0]) if len(begins) else 0
    if not first:
        return 0
    inside = np.maximum.accumulate(np.percentile(deviation[:first], 99, axis=1))  # of a line and all lines before it
    content = np.percentile(deviation[first : first + 8, centre], 100 * (1 - CONTENT), axis=1)
    if not _is_sharp(inside, content):
        return 0
    return first + int(np.argmax(content[:3] > 0.6 * content[:4].max()))


def _is_sharp(inside: np.ndarray, content: np.ndarray) -> bool:
    """Return whether the bar's lines are uniform, and the contrast rises within three lines of content."""
    far = inside[-1 - RINGING_LINES] if len(inside) > RINGING_LINES else 0
    before = inside[-2] if len(inside) >= 8 else inside[-1]  # resizing mixes the last line with content
    highest = content[:3].max()
    is_flat = far <= NOISE and inside[-1] <= RINGING
    return is_flat and highest > max(inside[-1], 2 * before) and (content <= 2 * highest).all()


def _is_uniform(bar: np.ndarray, is_lone: bool = False) -> bool:
    """Return whether a bar has one colour but for the noise of JPEG compression: no text, no object, no film grain.

    The bar is uint8 (N, length, 3). Stricter for a wide bar, and for a bar on one side only.
    """
    step = 1 + int((bar.size / 10**6) ** 0.5)  # of rows and columns, in large bars
    deviation = _deviation(bar[::step, ::step], _colour(bar))
    far = deviation[: -RINGING_LINES // step] > NOISE
    if (is_lone or len(bar) > RINGING_LINES) and deviation[: -(-len(deviation) // 2)].mean() > 1:
        return False
    return far.sum() <= 0.001 * far.size and (deviation > RINGING).mean() <= 0.01


def _is_content(line: np.ndarray, colour: np.ndarray) -> bool:
    """Return whether most of a line deviates from a bar's colour."""
    return (_deviation(line[None], colour) > CONTRAST).mean() >= CONTENT - 0.1


def _colour(lines: np.ndarray) -> np.ndarray:
    """Return the colour of the first line, uint8 (3,)."""
    return np.median(lines[0], 0).astype(np.uint8)


def _deviation(lines: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return each pixel's difference from a colour: float32 (N, W), in levels, from uint8 (N, W, 3).

    It is the largest difference in luma and in half of each chroma, which JPEG compression stores less precisely.
    """
    red, green, blue = (lines[..., channel].astype(np.float32) - colour[channel] for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.maximum(np.abs(luma), np.maximum(np.abs(0.28 * (blue - luma)), np.abs(0.36 * (red - luma))))


def _describe(widths: list[int], colours: list[np.ndarray]) -> str:
    """Return 'a black border of 8 pixels', or with the width on each side if widths differ."""
    name = " and ".join(dict.fromkeys(_name(colour) for colour in colours))
    article = "an" if name[0] == "o" else "a"
    sizes = [f"{width} pixel{'s' * (width > 1)}" for width in widths]
    if len(set(widths)) == 1:
        return f"{article} {name} border of {sizes[0]}"
    places = [f"{size} {side}" for size, side, width in zip(sizes, SIDES, widths, strict=True) if width]
    return f"{article} {name} border ({', '.join(places)})"


def _name(colour: np.ndarray) -> str:
    hue, saturation, value = colorsys.rgb_to_hsv(*colour / 255)
    if value < 0.2:
        return "black"
    if saturation < 0.15:
        return "white" if value > 0.85 else "grey"
    return HUES[round(hue * 12) % 12]
