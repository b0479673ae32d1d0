"""CLIP's features of every view that the `native` model is trained or evaluated on.

The committed file `data/native_features.safetensors` holds them in four bits a value, so that the head can be trained
without the images. `collect_embeddings` makes them from the images.
"""

import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from detector.core import files
from detector.core.console import UserError, progress
from detector.data.decode import open_image, to_rgb
from detector.data.native import SMALL_FAMILIES, family_groups, image_keys, is_held_out, open_crop, read_manifest
from detector.data.packages import read_packages
from detector.data.rendered import render
from detector.data.views import overview, random_crops, scored_view, training_view
from detector.models.encoder import embed

EVALUATED = 2  # views of a crop
RENDERED = 400  # images that are no photos
CHUNK = 200  # views; as many are lost by an interruption
MEAN_LEVEL, CLIPPED = 7, 3.5  # the level of the mean, and its distance from level 0 in standard deviations
COLUMNS = ["view", "class", "source", "group", "image", "size", "style", "side"]
Encode = Callable[[torch.Tensor], torch.Tensor]  # uint8 (N, 3, 224, 224) to float32 (N, F)
Views = Callable[[int], list[Image.Image]]  # from a row's number to one or more views


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Features of views, and where each comes from.

    Attributes:
        features: float32 (N, F).
        rows: N rows of text: view ('training', 'evaluation' or 'overview'), class ('REAL', 'FAKE' or 'no photo'),
            source, group (left out together), image (the same for all views of an image), size ('native' or
            'downscaled'), style, and side (the long side of the original, in pixels).
    """

    features: np.ndarray
    rows: pd.DataFrame

    def where(self, condition: str) -> "Embeddings":
        """Return the rows that satisfy a pandas query."""
        kept = self.rows.eval(condition).to_numpy(bool)
        return Embeddings(self.features[kept], self.rows[kept].reset_index(drop=True))

    @property
    def labels(self) -> np.ndarray:
        """Return 1 for FAKE and 0 for every other class, (N,)."""
        return (self.rows["class"] == "FAKE").to_numpy(int)

    @property
    def groups(self) -> np.ndarray:
        """Return the names of the groups, (N,)."""
        return self.rows["group"].to_numpy(str)


def join(parts: Sequence[Embeddings]) -> Embeddings:
    """Return the rows of all parts, one part after the other."""
    rows = pd.concat([part.rows for part in parts], ignore_index=True)
    return Embeddings(np.concatenate([part.features for part in parts]), rows)


def read_embeddings() -> Embeddings:
    """Return the committed embeddings. Raises UserError if the file is missing or damaged."""
    path = files.NATIVE_FEATURES
    try:
        tensors, names = files.read_tensors(path)
        packed, codes, mean, scale = (tensors[name].numpy() for name in ("features", "rows", "mean", "scale"))
    except files.UNREADABLE as error:
        raise UserError(f"{path} is missing or damaged ({error}). Restore it from the repository.") from error
    levels = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(packed), -1)
    features = (levels.astype(np.float32) - MEAN_LEVEL) * scale + mean
    columns = {name: np.array(json.loads(names[name]), str)[codes[:, i]] for i, name in enumerate(COLUMNS)}
    return Embeddings(features, pd.DataFrame(columns))


def write_embeddings(embeddings: Embeddings) -> None:
    """Write embeddings to the committed file: four bits for each value, and the rows as codes.

    The sixteen levels of a feature begin CLIPPED standard deviations below its mean; values beyond them are clipped.
    """
    mean = embeddings.features.mean(0)
    scale = CLIPPED * embeddings.features.std(0) / MEAN_LEVEL + 1e-12
    levels = (((embeddings.features - mean) / scale).round() + MEAN_LEVEL).clip(0, 15).astype(np.uint8)
    coded = [pd.factorize(embeddings.rows[name].astype(str)) for name in COLUMNS]
    arrays = {
        "features": levels[:, ::2] | levels[:, 1::2] << 4,
        "mean": mean.astype(np.float32),
        "scale": scale.astype(np.float32),
        "rows": np.stack([codes for codes, _ in coded], axis=1).astype(np.int32),
    }
    names = {name: json.dumps(list(values)) for name, (_, values) in zip(COLUMNS, coded, strict=True)}
    files.write_tensors({key: torch.from_numpy(array) for key, array in arrays.items()}, files.NATIVE_FEATURES, names)


def collect_embeddings(encode: Encode = embed, name: str = "clip") -> Embeddings:
    """Embed all views of the development sources and of the packages' images.

    It takes half an hour on two CPU cores. Finished views are kept in `build/native/` under `name`; an interrupted call
    goes on there. Raises UserError if the encoder, `data/sources` or `data/packages` is missing.
    """
    manifest = read_manifest()
    development = manifest[~is_held_out(manifest)].assign(view="training")
    unscaled = development[development["variant"] == "native"].assign(view="evaluation")
    sources = [_embed_sources(rows, encode, name) for rows in (development, unscaled)]
    families = set(family_groups(development))
    return join([*sources, *_embed_packages(encode, name, families), _embed_rendered(encode, name)])


def _embed_sources(manifest: pd.DataFrame, encode: Encode, name: str) -> Embeddings:
    """Embed a random view of each crop of `data/sources` for training, or the mean of the views for evaluation."""
    manifest = manifest.assign(group=family_groups(manifest), image=image_keys(manifest), size=manifest["variant"])
    manifest["side"] = manifest[["width", "height"]].max(axis=1)
    parts = []
    for (size, view), rows in manifest.groupby(["size", "view"], sort=False):
        rows = rows.reset_index(drop=True)
        features, owner = embed_views(partial(crop_views, rows, view), rows, f"{name}-{view}-{size}", encode)
        parts.append(Embeddings(mean_by_owner(features, owner), rows[COLUMNS]))
    return join(parts)


def crop_views(rows: pd.DataFrame, view: str, row: int) -> list[Image.Image]:
    """Return the views of one crop of `data/sources`: a random one for training, EVALUATED for evaluation."""
    image = TF.to_pil_image(open_crop(rows.iloc[row]))
    if view == "training":
        return [training_view(image, np.random.default_rng([0, row]))]
    return [scored_view(image, place) for place in range(EVALUATED)]


def _embed_packages(encode: Encode, name: str, families: set[str]) -> list[Embeddings]:
    packages = read_packages()
    classes = packages["kind"].replace({"photo": "REAL", "generated": "FAKE"})
    packages = packages.assign(**{"class": classes}, image=packages["file"], size="native")
    packages["style"] = packages["kind"].replace("generated", "")
    family = packages["family"].where(packages["family"].isin(families), SMALL_FAMILIES)
    packages["group"] = packages["source"].where(classes != "FAKE", family)
    packages["side"] = packages[["width", "height"]].max(axis=1)
    # Overviews train the check for images that are no photos; generated images may be drawings, so they have none
    views = {
        "training": (_random_views, packages),
        "evaluation": (_evaluation_views, packages),
        "overview": (_overviews, packages[classes != "FAKE"].reset_index(drop=True)),
    }
    parts = []
    for view, (function, rows) in views.items():
        features, owner = embed_views(partial(function, rows), rows, f"{name}-{view}-packages", encode)
        if view == "evaluation":
            features, owner = mean_by_owner(features, owner), np.unique(owner)
        parts.append(Embeddings(features, rows.assign(view=view)[COLUMNS].iloc[owner]))
    return parts


def _random_views(packages: pd.DataFrame, row: int) -> list[Image.Image]:
    rng = np.random.default_rng([0, row])
    return [training_view(crop, rng) for crop in random_crops(_open_packaged(packages, row), rng)]


def _evaluation_views(packages: pd.DataFrame, row: int) -> list[Image.Image]:
    crop = random_crops(_open_packaged(packages, row), np.random.default_rng([0, row]))[0]
    return [scored_view(crop, place) for place in range(EVALUATED)]


def _overviews(packages: pd.DataFrame, row: int) -> list[Image.Image]:
    return [overview(_open_packaged(packages, row))]


def _open_packaged(packages: pd.DataFrame, row: int) -> Image.Image:
    return to_rgb(open_image(files.PACKAGES_DIR / packages["file"][row]))


def _embed_rendered(encode: Encode, name: str) -> Embeddings:
    rows = pd.DataFrame({"image": [f"rendered/{row}" for row in range(RENDERED)]})
    features, _ = embed_views(lambda row: [overview(render(row))], rows, f"{name}-overview-rendered", encode)
    known = {"view": "overview", "class": "no photo", "source": "rendered", "group": "rendered", "size": "native"}
    return Embeddings(features, rows.assign(**known, style="no photo", side="")[COLUMNS])


def mean_by_owner(features: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Return the mean features of each image's views, in the order of the images.

    A linear head gives the mean features the mean of the views' logits.
    """
    return np.stack([features[owner == image].mean(0) for image in np.unique(owner)])


def embed_views(views: Views, rows: pd.DataFrame, name: str, encode: Encode = embed) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of all views of the rows, (N, F), and the number of each one's row, (N,).

    They are kept in `build/native/` under `name`, a checksum of the rows, and the first row, so that an interrupted
    call goes on where it stopped, and features of other rows are not taken for these.
    """
    features, owner = [], []
    kept_as = f"{name}-{zlib.crc32(rows.to_csv().encode()):08x}"
    with progress(total=len(rows), desc=f"embedding {name}", unit=" images", delay=1) as bar:
        for first in range(0, len(rows), CHUNK):
            path, chunk = files.BUILD_DIR / "native" / f"{kept_as}-{first}.npz", range(len(rows))[first:][:CHUNK]
            kept = _read_chunk(path)
            if kept is None:
                images = [(row, image) for row in chunk for image in views(row)]
                crops = torch.stack([TF.pil_to_tensor(image) for _, image in images])
                with files.atomic_write(path) as part, open(part, "wb") as file:
                    np.savez(file, features=encode(crops).numpy(), owner=np.array([row for row, _ in images]))
                kept = _read_chunk(path)
            features.append(kept[0])
            owner.append(kept[1])
            bar.update(len(chunk))
    return np.concatenate(features), np.concatenate(owner)


def _read_chunk(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Return kept features and their rows, or None where the file is absent or damaged."""
    try:
        with np.load(path) as chunk:
            return chunk["features"], chunk["owner"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
