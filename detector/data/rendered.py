"""Render images that are no photos: pages of text, charts, windows of programs, and flat drawings.

They train the check that recognises such images (`training.native.fit_photo_head`).
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPRSTW0123456789.,-"))
Colour = tuple[int, int, int]


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> Colour:
    return tuple(int(value) for value in rng.integers(low, high, 3))


def _text(rng: np.random.Generator, words: int) -> str:
    return " ".join("".join(rng.choice(LETTERS, rng.integers(1, 11))) for _ in range(words))


def _paper(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return the colours of a background and of what is drawn on it: mostly dark on light."""
    light, dark = _colour(rng, 225), _colour(rng, 0, 80)
    return (light, dark) if rng.random() < 0.7 else (dark, light)


def page(rng: np.random.Generator) -> Image.Image:
    """Render a page of text: a heading and paragraphs, in one or two columns."""
    paper, ink = _paper(rng)
    image = Image.new("RGB", (int(rng.integers(500, 1200)), int(rng.integers(500, 1200))), paper)
    draw, size, columns = ImageDraw.Draw(image), int(rng.integers(10, 40)), int(rng.integers(1, 3))
    draw.text((40, 20), _text(rng, 4), ink, ImageFont.load_default(size * 1.6))
    width = (image.width - 40) // columns
    for column in range(columns):
        for top in range(40 + 2 * size, image.height - size, round(size * rng.uniform(1.2, 1.6))):
            if rng.random() < 0.92:
                line = _text(rng, 30)[: max(3, round((width - 30) / (size * 0.56)))]
                draw.text((40 + column * width, top), line, ink, ImageFont.load_default(size))
    return image


def chart(rng: np.random.Generator) -> Image.Image:
    """Render a chart with axes: lines, bars, points or sectors."""
    paper, ink = _paper(rng)
    image = Image.new("RGB", (int(rng.integers(400, 1000)), int(rng.integers(300, 800))), paper)
    draw, (width, height) = ImageDraw.Draw(image), image.size
    left, top, right, bottom = 60, 50, width - 30, height - 50
    draw.text((left, 10), _text(rng, 4), ink, ImageFont.load_default(20))
    kind = rng.integers(4)
    if kind == 3:
        ends = np.sort(rng.integers(0, 360, 6))
        for first, last in zip(ends, np.roll(ends, -1), strict=True):
            draw.pieslice((left, top, left + bottom - top, bottom), int(first), int(last), _colour(rng), paper)
        return image
    draw.line((left, top, left, bottom, right, bottom), ink, 2)
    for _ in range(rng.integers(1, 4)):
        x = np.linspace(left + 10, right - 10, rng.integers(5, 30))
        y, colour = bottom - rng.uniform(0.05, 0.95, len(x)) * (bottom - top), _colour(rng, 20, 230)
        if kind == 0:
            draw.line([*zip(x, y, strict=True)], colour, int(rng.integers(1, 5)))
        for place, value in zip(x, y, strict=True):
            if kind == 1:
                draw.rectangle((place, value, place + 0.6 * (x[1] - x[0]), bottom), colour)
            elif kind == 2:
                draw.ellipse((place - 5, value - 5, place + 5, value + 5), colour)
    for place in np.linspace(left, right, 6):
        draw.text((place, bottom + 8), f"{rng.uniform(0, 99):.1f}", ink, ImageFont.load_default(13))
    return image


def window(rng: np.random.Generator) -> Image.Image:
    """Render a program's window: a title bar, menus, labels, fields and buttons."""
    paper, ink = _paper(rng)
    image = Image.new("RGB", (int(rng.integers(300, 1300)), int(rng.integers(300, 900))), paper)
    draw, bar, font = ImageDraw.Draw(image), _colour(rng), ImageFont.load_default(int(rng.integers(11, 18)))
    draw.rectangle((0, 0, image.width, 30), bar)
    draw.text((10, 6), _text(rng, 3), paper, font)
    for top in range(45, image.height - 30, int(rng.integers(26, 48))):
        left = int(rng.integers(10, max(11, image.width // 3)))
        draw.text((left, top), _text(rng, int(rng.integers(1, 5))), ink, font)
        if rng.random() < 0.6:
            box = (image.width // 2, top - 3, image.width - 20, top + 20)
            draw.rounded_rectangle(box, int(rng.integers(0, 8)), _colour(rng, 120), ink)
            draw.text((box[0] + 8, top), _text(rng, 2), ink, font)
    return image


def drawing(rng: np.random.Generator) -> Image.Image:
    """Render a flat drawing: outlined shapes on a plain or graded background."""
    width, height = (int(length) for length in rng.integers(300, 1000, 2))
    first, last = np.array(_colour(rng)), np.array(_colour(rng))
    shade = np.linspace(0, 1, height)[:, None, None] * (rng.random() < 0.6)
    image = Image.fromarray(np.broadcast_to(first + shade * (last - first), (height, width, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(4, 40)):
        x, y, size = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(10, 220)
        outline = (0, 0, 0) if rng.random() < 0.5 else None
        if rng.random() < 0.5:
            draw.ellipse((x, y, x + size, y + size * rng.uniform(0.4, 1.5)), _colour(rng), outline, 3)
        else:
            points = [(x + a, y + b) for a, b in rng.uniform(-size, size, (rng.integers(3, 8), 2))]
            draw.polygon(points, _colour(rng), outline, 3)
    return image


RENDERERS: tuple[Callable[[np.random.Generator], Image.Image], ...] = (page, chart, window, drawing)


def render(row: int) -> Image.Image:
    """Return image `row` of an endless series that repeats the kinds in turn; the same row is the same image."""
    return RENDERERS[row % len(RENDERERS)](np.random.default_rng([3, row]))
