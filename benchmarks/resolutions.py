"""The same network at 32, 48 and 64 pixels, on the sources that have them: `python -m benchmarks.resolutions`.

What lies in `data/sources/` with LARGEST pixels or more, and what two of the autoencoders here make of those
photographs at that very size, is learnt by the CNN from fresh weights, in as many passes at each size; at the smallest
also for as long as the largest takes. Scored on what is kept for validation: at threshold 1/2, and by the AUC against
the photographs. Also on squares cut from its middle without any scaling, so that photographs and fakes differ by none;
and on two autoencoders that it never met. A row a run, source and metric in resolutions.csv as soon as a run ends;
started again, only what is missing is run (a quarter of an hour on two cores in all).
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torchvision.transforms.v2 import functional as TF

from detector.cifake import CLASSES
from detector.data import Images, concatenate
from detector.decoding import jpeg_round_trip
from detector.evaluation import evaluate_source
from detector.models import CNN, Detector
from detector.pictures import to_rgb
from detector.prediction import predict
from detector.progress import InputError, tell_errors
from detector.sources import SOURCES_DIR, load_sources, split_files
from detector.training import Recipe, train
from detector.unseen import list_sources, open_named
from detector.wild import Sources, join, made_source

TABLE = Path(__file__).with_name("resolutions.csv")
SIDES, PASSES = (32, 48, 64), 2
LARGEST = max(SIDES)
MET, UNMET = ("autoencoder_nearest", "autoencoder_transposed"), ("autoencoder_shuffled", "autoencoder_bilinear")
RECIPE = Recipe(epochs=PASSES, subjects=0.0)  # what they show is not known
RUNS = {f"{side} pixels": (side, RECIPE) for side in SIDES} | {
    f"{SIDES[0]} pixels, for longer": (SIDES[0], replace(RECIPE, epochs=PASSES * (LARGEST // SIDES[0]) ** 2))
}


def large_enough(folder: Path = SOURCES_DIR) -> dict[str, list[Path]]:
    """The files of each source all of whose pictures have LARGEST pixels or more on each side.

    Raises InputError where a class has none.
    """
    listing = list_sources(folder) if folder.is_dir() else {}
    found = {name: paths for name, paths in listing.items() if min(min(open_named(p).size) for p in paths) >= LARGEST}
    if {name.split("/")[0] for name in found} != set(CLASSES):
        raise InputError(f"{folder} has no sources of {LARGEST} pixels or more of both classes.")
    return found


def gather(side: int, names: list[str]) -> dict[str, Mapping[str, Images]]:
    """These sources at that size, and what autoencoders make of their photographs; each by its parts."""
    sources = {name: parts for name, parts in load_sources(side=side).items() if name in names}
    photographs = concatenate(*[parts["train"] for name, parts in sources.items() if name.startswith("REAL")])
    return sources | {f"FAKE/made_{maker}": made_source(maker, photographs) for maker in MET + UNMET}


def unscaled(paths: list[Path], side: int) -> torch.Tensor:
    """Squares from the middle of a source's validation pictures, uint8 (N, 3, side, side), through CIFAKE's JPEG."""
    images = [TF.center_crop(to_rgb(open_named(path)), [side, side]) for path in split_files(paths)["validation"]]
    return torch.stack([TF.pil_to_tensor(jpeg_round_trip(image)) for image in images])


def score(model: Detector, sets: Mapping[str, torch.Tensor]) -> pd.DataFrame:
    """The figures of each set by its name, 'REAL/...' or 'FAKE/...'; the AUC against the photographs so scaled."""
    probs = {name: predict(model, pixels) for name, pixels in sets.items()}
    rows = []
    for name, own in probs.items():
        alike = [other for real, other in probs.items() if real.startswith("REAL") and _scaled(real) == _scaled(name)]
        figures = evaluate_source(own, CLASSES.index(name.split("/")[0]), torch.cat(alike))
        rows.append(figures.reset_index().assign(source=name))
    return pd.concat(rows)


def _scaled(name: str) -> bool:
    return not name.endswith(", unscaled")


def run(side: int, recipe: Recipe, files: Mapping[str, list[Path]], name: str) -> pd.DataFrame:
    """Train at that size, and score."""
    sources: Sources = gather(side, list(files))
    learnt = {source: parts for source, parts in sources.items() if not source.endswith(UNMET)}
    torch.manual_seed(recipe.seed)
    started = time.perf_counter()
    model, _ = train(CNN(), join(learnt, "train"), join(learnt, "validation"), recipe, name=name)
    seconds = time.perf_counter() - started
    sets = {source: parts["validation"].pixels for source, parts in sources.items()}
    sets |= {f"{source}, unscaled": unscaled(paths, side) for source, paths in files.items()}
    return score(model, sets).assign(seconds=seconds)


def main() -> None:
    """Run what is missing; then print the table."""
    files = large_enough()
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=["run"])
    for name, (side, recipe) in RUNS.items():
        if name not in set(table["run"]):
            table = pd.concat([table, run(side, recipe, files, name).assign(run=name)])
            table.to_csv(TABLE, index=False, float_format="%.6f")
    print(table.pivot(index=["source", "metric"], columns="run", values="value").round(4).to_string())


if __name__ == "__main__":
    sys.exit(tell_errors(main))
