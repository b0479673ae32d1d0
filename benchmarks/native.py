"""Measure how the `native` model generalises to sources that were left out of its training and calibration.

Command: `python -m benchmarks.native`. Cost: ten minutes on two CPU cores, and ten more for the features of
images as sites pass them on, which need `data/sources` and CLIP's encoder and are kept in `build/native/`.
Question: does a head on CLIP's frozen features detect generator families that it was not trained on, without false
positives on photo sources that it was not trained on? See `evaluation.leave_out`. Sources in `HELD_OUT` take no part.
"""

import sys
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from benchmarks.study import Study, open_study, study_parser
from detector.core.console import run_command
from detector.data.jpeg import encode_decode
from detector.data.native import image_keys, is_held_out, open_crop, read_manifest
from detector.data.views import scored_view
from detector.evaluation.leave_out import calibration_rows, leave_out, slice_rows, summary_rows
from detector.training.embeddings import EVALUATED, Embeddings, embed_views, mean_by_owner, read_embeddings
from detector.training.native import TRAINED, scored_views, training_moments

TREATED = 6  # every sixth image is treated
SCREENSHOT = 0.65  # scale
TREATMENTS: dict[str, Callable[[Image.Image], Image.Image]] = {  # what sites and messengers do to an image
    "none": lambda image: image,
    "JPEG 82": lambda image: encode_decode(image, quality=82, subsampling="4:2:0"),
    "JPEG 65": lambda image: encode_decode(image, quality=65, subsampling="4:2:0"),
    "screenshot": lambda image: image.resize([round(SCREENSHOT * side) for side in image.size]),
}
EMBEDDING = slice(-512, None)
PACKAGES = "not image.str.contains('/')"  # images of sources are named by their git blob
ABLATIONS: dict[str, Callable[[Embeddings], Embeddings]] = {
    "native": lambda all_: all_,
    "native, GAN faces not scored": lambda all_: all_.where(TRAINED),
    "native, without the packages' images": lambda all_: all_.where(PACKAGES),
    "native, embedding only": lambda all_: Embeddings(all_.features[:, EMBEDDING], all_.rows),
}


def site_features(scored: Embeddings) -> dict[str, np.ndarray]:
    """Return the features of TREATMENTS of the images of `scored`, (N, 2048); nan for images of packages
    and those that are not treated.

    An original of 1,000 pixels or more is scored by the crop of its reduced copy, because sites reduce large images.
    """
    manifest = read_manifest()
    manifest = manifest[~is_held_out(manifest)]
    files = manifest.assign(image=image_keys(manifest)).sort_values("variant", kind="stable")  # 'downscaled' first
    files = files.drop_duplicates("image").set_index("image")
    known = np.flatnonzero(scored.rows["image"].isin(files.index))[::TREATED]
    rows = files.loc[scored.rows["image"].iloc[known]].reset_index()
    features = {}
    for name, treat in TREATMENTS.items():

        def views(row: int, treat: Callable = treat) -> list[Image.Image]:
            image = treat(TF.to_pil_image(open_crop(rows.iloc[row])))
            return [scored_view(image, place) for place in range(EVALUATED)]

        features[name] = np.full_like(scored.features, np.nan)
        features[name][known] = mean_by_owner(*embed_views(views, rows, f"site-{name}"))
    return features


def measure(study: Study, embeddings: Embeddings, sites: Callable[[Embeddings], dict[str, np.ndarray]]) -> None:
    """Add the rows of the models that have none yet; `sites` gives the features of treated images."""
    for model, choose in ABLATIONS.items():
        if study.has(model=model):
            continue
        chosen = choose(embeddings)
        scored = scored_views(chosen)
        scores = leave_out(training_moments(chosen), scored, sites(scored) if model == "native" else None)
        rows = [summary_rows(scores, model)]
        if model == "native":
            rows += [slice_rows(scores, model), calibration_rows(scores, model)]
        study.add(pd.concat(rows, ignore_index=True))


def smoke_embeddings() -> Embeddings:
    """Return random features of three families and three photo sources, shifted by class."""
    rng, names = np.random.default_rng(0), ["family a", "family b", "family c", "source d", "source e", "source f"]
    group = np.repeat(names, 24)
    class_ = np.where(np.char.startswith(group, "family"), "FAKE", "REAL")
    image = np.char.add(group, np.tile(np.repeat(np.arange(12), 2), 6).astype(str))
    view = np.tile(["training", "evaluation"], len(group) // 2)
    rows = {"view": view, "class": class_, "source": group, "group": group, "image": image}
    rows |= {"size": "native", "style": "photo", "side": np.tile([256, 2000], len(group) // 2).astype(str)}
    features = rng.normal(size=(len(group), 24)) + (class_ == "FAKE")[:, None]
    return Embeddings(features.astype(np.float32), pd.DataFrame(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the models without rows, then print the means."""
    study = open_study("native", study_parser("native", __doc__).parse_args(arguments))
    if study.smoke:
        measure(study, smoke_embeddings(), lambda scored: dict.fromkeys(TREATMENTS, scored.features))
    else:
        measure(study, read_embeddings(), site_features)
    shown = study.results().query("slice == ''")
    print(shown.pivot(index="model", columns="metric", values="value").round(4).to_string())


if __name__ == "__main__":
    sys.exit(run_command(main))
