"""Images at native resolution: crops of photos and of generated images, and the manifest that describes each crop.

`data/native.csv` has one row for each file in `data/sources`. The repository contains the manifest and no image.
`rebuild.py` makes the files from their originals.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from detector.core import files
from detector.core.console import UserError

if TYPE_CHECKING:
    import pandas as pd
    import torch

# Sources set aside before the first training. They choose nothing, and frozen models are scored on them once.
HELD_OUT = {
    "REAL": ("nature_r50_phones", "events_phones", "travel_d5600", "portraits_web"),
    "FAKE": ("dalle2", "sd_beta_2022", "gpt4o_png", "latent_diffusion_256"),
}
STYLES = ("photo", "illustration", "render", "other")  # other: text, logos, user interfaces, collages
SMALL_FAMILY, SMALL_FAMILIES = 50, "small families"  # images; the group of all families with fewer


def read_manifest() -> "pd.DataFrame":
    """Return the manifest: one row for each file in `data/sources`, as text, except `width` and `height` in pixels.

    `file` is relative to `data/sources`. Files with the same `blob` and `part` are crops of one image.
    `group` also joins its near-duplicates. `style` is one of STYLES: 'photo' for REAL, decided by eye for FAKE. Empty
    text means that a step was not applied. The datasheet describes the other columns.

    Raises UserError if the manifest is missing.
    """
    return read_table(files.NATIVE)


def read_table(path: Path) -> "pd.DataFrame":
    """Return a manifest as text, except `width` and `height` in pixels. Raises UserError if the file is missing."""
    import pandas as pd

    try:
        manifest = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing. Restore it from the repository.") from error
    return manifest.astype({"width": int, "height": int})


def is_held_out(manifest: "pd.DataFrame") -> "pd.Series":
    """Return whether each row belongs to one of HELD_OUT."""
    return manifest.source.isin([name for names in HELD_OUT.values() for name in names])


def image_keys(manifest: "pd.DataFrame") -> "pd.Series":
    """Return a name for the image of each row, the same for all crops of one image."""
    return manifest.blob + " " + manifest.part


def family_groups(manifest: "pd.DataFrame") -> "pd.Series":
    """Return the group of each row: the source of a photo, and the generator family of a generated image.

    Families with fewer than SMALL_FAMILY images in these rows share the group SMALL_FAMILIES.
    """
    images = image_keys(manifest).groupby(manifest.family).transform("nunique")
    family = manifest.family.mask(images < SMALL_FAMILY, SMALL_FAMILIES)
    return manifest.source.where(manifest["class"] == "REAL", family).rename("family_group")


def open_crop(row: "pd.Series | tuple") -> "torch.Tensor":
    """Return the pixels of one row of the manifest, uint8 (3, H, W).

    Args:
        row: A Series, or a named tuple of `itertuples`.

    Raises UserError naming the file if it is missing or damaged.
    """
    from torchvision.transforms.v2 import functional as TF

    from detector.data.decode import open_image, to_rgb

    path = files.SOURCES_DIR / row.file
    try:
        return TF.pil_to_tensor(to_rgb(open_image(path)))
    except UserError as error:
        raise UserError(f"{path} cannot be used. {error} `python -m detector rebuild` makes it again.") from error
