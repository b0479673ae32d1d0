"""Measure `native` on cases between REAL and FAKE: edited photos, and photos that an autoencoder reconstructed.

Command: `python -m benchmarks.edits`. Cost: six minutes on two CPU cores. Needs CLIP's encoder, `data/sources` and
`data/autoencoders`. The photos are those of the training, unedited, so compare each row with that of unedited photos.
"""

import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter
from torchvision.transforms.v2 import functional as TF

from benchmarks.study import Study, open_study, study_parser
from detector.core import files
from detector.core.console import progress, run_command
from detector.data.native import is_held_out, open_crop, read_manifest
from detector.data.views import scored_view
from detector.evaluation.results import result_rows, slice_of
from detector.inference.predict import predict_logits, probabilities
from detector.metrics.intervals import metric_table, proportion
from detector.models.native import SMALL, Native
from detector.models.weights import load_model
from detector.training.embeddings import EVALUATED
from detector.training.reconstruction import AUTOENCODERS, reconstruct

PHOTOS = 5  # of each source
REGION = (64, 64, 192, 192)  # pixels that a region's reconstruction replaces: a quarter of a crop
Edit = Callable[[Image.Image, int], Image.Image]


def _reconstructed(image: Image.Image, row: int) -> Image.Image:
    pixels = TF.pil_to_tensor(image)[None]
    return TF.to_pil_image(reconstruct(pixels, AUTOENCODERS[row % len(AUTOENCODERS)])[0])


def _region(image: Image.Image, row: int) -> Image.Image:
    edited = image.copy()
    edited.paste(_reconstructed(image, row).crop(REGION), REGION[:2])
    return edited


EDITS: dict[str, Edit] = {
    "none": lambda image, _: image,
    "retouched: saturation 1.6, contrast 1.2": lambda image, _: ImageEnhance.Contrast(
        ImageEnhance.Color(image).enhance(1.6)
    ).enhance(1.2),
    "denoised: median of 3×3": lambda image, _: image.filter(ImageFilter.MedianFilter(3)),
    "blurred and sharpened": lambda image, _: image.filter(ImageFilter.GaussianBlur(1)).filter(
        ImageFilter.UnsharpMask(2, 200)
    ),
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
        edits = {name: edit for name, edit in EDITS.items() if "reconstructed" not in name}
    else:
        model, images, edits = load_model(files.model_file("native")), photos(), EDITS
    measure(study, model, images, edits)
    print(study.results()[["slice", "metric", "value", "n"]].to_string(index=False))


if __name__ == "__main__":
    sys.exit(run_command(main))
