"""Several sources to learn from at once: CIFAKE, what lies in `data/sources/`, and fakes made here of photographs.

CIFAKE's classes and the folders have about as many pictures each, and so have all makers together, so that none
dominates; a source is named by its class and folder ('REAL/cifake').
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from detector.cifake import CLASSES
from detector.data import Dataset, Images, concatenate
from detector.making import MADE, MADE_DIR, MAKERS, NOTHING, made_pictures
from detector.progress import InputError
from detector.sources import HELD_OUT, SOURCES_DIR, load_sources
from detector.unseen import UNKNOWN_SUBJECT

PARTS = ("train", "validation", "calibration")
Sources = Mapping[str, Mapping[str, Images]]  # by name, then by part


def gather(data: Dataset) -> Sources:
    """All sources by name, each as its train, validation and calibration sets.

    Raises InputError where `data/sources/` holds none.
    """
    further = load_sources()
    if not further:
        raise InputError(f"{SOURCES_DIR} has no pictures: README.md says which to put there.")
    cifake = {f"{name}/cifake": _of_class(data, label) for label, name in enumerate(CLASSES)}
    photographs = concatenate(
        *[parts["train"] for name, parts in (cifake | further).items() if name.startswith("REAL")]
    )
    return cifake | further | {f"FAKE/made_{maker}": made_source(maker, photographs) for maker in MAKERS}


def _of_class(data: Dataset, label: int) -> dict[str, Images]:
    sets = {part: getattr(data, part) for part in PARTS}
    return {part: images[(images.labels == label).numpy()] for part, images in sets.items()}


def made_source(maker: str, photographs: Images) -> dict[str, Images]:
    """A maker's pictures, drawn apart at random; a file's name tells maker and photograph, or a number without one."""
    pixels, rows = made_pictures(maker, photographs.pixels)
    of = [str(n) if row == NOTHING else photographs.files[row] for n, row in enumerate(rows.tolist())]
    names = np.array([f"{MADE_DIR.name}/FAKE/made_{maker}/{name}" for name in of])
    made = Images(pixels, torch.full((MADE,), 1), torch.full((MADE,), UNKNOWN_SUBJECT), names)
    order, held_out = np.random.default_rng(0).permutation(MADE), round(HELD_OUT * MADE)
    cuts = np.split(order, [MADE - 2 * held_out, MADE - held_out])
    return {part: made[np.sort(rows)] for part, rows in zip(PARTS, cuts, strict=True)}


def join(sources: Sources, part: str, *, without: Sequence[str] = ()) -> Images:
    """One part of all sources, without those whose names begin as told and what was made of their pictures."""
    images = concatenate(*[parts[part] for parts in sources.values()])
    left_out = [np.char.find(images.files, f"/{beginning}") >= 0 for beginning in without]
    return images[~np.any(left_out, axis=0)] if left_out else images


def several_sources(data: Dataset) -> Dataset:
    """CIFAKE's dataset with all sources in train, validation and calibration; the test folder stays as it is."""
    sources = gather(data)
    name, note = f"several sources ({', '.join(sources)})", f"{len(sources)} sources, CIFAKE among them."
    return replace(data, name=name, note=note, **{part: join(sources, part) for part in PARTS})
