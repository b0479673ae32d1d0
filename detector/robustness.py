"""How a detector holds where pictures were changed on their way or by an adversary; the threshold stays at 1/2."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from detector.corruptions import CORRUPTIONS, corrupt
from detector.data import Images
from detector.evaluation import RESULTS, SLICE, evaluate, read_records, records_table
from detector.prediction import predict
from detector.preprocessing import to_unit
from detector.progress import progress

FORTIETH = slice(None, None, 40)  # those that are attacked, each for many steps
UNCHANGED = "robustness/none/0"
RADII = (1, 2)  # of the adversary, in steps of the 255
ASCENT = 10  # steps of the adversary ...
ATTACKED = 8  # ... on so many pictures at a time: their gradients take five networks over two gigabytes
STEPS = range(1, 6)  # severities


def corrupt_all(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Uint8 pictures (N, 3, 32, 32) as they are, and by each kind and severity, under the names of their records."""
    changed = {UNCHANGED: pixels}
    for name in progress(CORRUPTIONS, desc="corrupting", unit=" kinds", delay=1):
        changed |= {f"robustness/{name}/{step}": corrupt(pixels, name, step) for step in STEPS}
    return changed


def attack(model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, radius: int) -> torch.Tensor:
    """Uint8 pictures (N, 3, 32, 32) changed by at most `radius` in each value so that the model errs.

    Projected gradient descent (Madry et al. 2018, arXiv 1706.06083) from the picture itself, ASCENT steps of a quarter
    of the radius, rounded to what can be saved. The adversary knows the model.
    """
    batches = list(zip(pixels.split(ATTACKED), labels.split(ATTACKED), strict=True))
    with progress(batches, desc=f"attacking by {radius}/255", unit=" batches", delay=1) as bar:
        return torch.cat([_attack(model, batch, wanted.float(), radius / 255) for batch, wanted in bar])


def _attack(model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, radius: float) -> torch.Tensor:
    start = to_unit(pixels)
    x = start.clone()
    for _ in range(ASCENT):
        x.requires_grad_()
        loss = F.binary_cross_entropy_with_logits(model(x), labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, x)
        x = (x.detach() + radius / 4 * slope.sign()).clamp(start - radius, start + radius).clamp(0, 1)
    return (255 * x).round().to(torch.uint8)


def robustness_tables(model: nn.Module, test: Images, corrupted: Mapping[str, torch.Tensor]) -> dict[str, pd.DataFrame]:
    """`evaluate` on each of the `corrupted` pictures, those of `corrupt_all(test[SLICE].pixels)`, and under attack."""
    labels, some = test.labels[SLICE], test[FORTIETH]
    tables = {set_: evaluate(predict(model, pixels), labels) for set_, pixels in corrupted.items()}
    for radius in RADII:
        attacked = attack(model, some.pixels, some.labels, radius)
        tables[f"robustness/pgd/{radius}"] = evaluate(predict(model, attacked), some.labels)
    return tables


def check_corrupted(
    models: Mapping[str, nn.Module], test: Images, name: str, step: int, path: Path = RESULTS
) -> pd.DataFrame:
    """Score shipped models again on one kind and severity, beside the records: a row a model, as `check_slices` has."""
    images, set_ = test[SLICE], f"robustness/{name}/{step}"
    pixels, recorded = corrupt(images.pixels, name, step), records_table(set_, path)["value"]
    rows = {}
    for model in models:
        value = evaluate(predict(models[model], pixels), images.labels).loc["accuracy", "value"]
        filed = recorded[model, "accuracy"]
        rows[model] = filed, value, bool(abs(value - filed) < 1.01 / len(images)), len(images)
    columns = ["recorded", "recomputed", "agree", "n"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("model")


def corruption_grid(model: str, metric: str, path: Path = RESULTS) -> pd.DataFrame:
    """One metric of a shipped model from the records, by kind (rows) and severity (columns 0, unchanged, to 5).

    A kind is named with its mildest and its strongest: 'blur, σ in pixels: 0.5 to 2'.
    """
    ends = {kind.words: (kind.severities[0], kind.severities[-1]) for kind in CORRUPTIONS.values()}
    return _cells(model, metric, path).rename(index=lambda words: "{}: {:g} to {:g}".format(words, *ends[words]))


def _cells(model: str, metric: str, path: Path) -> pd.DataFrame:
    """The same by the kinds' words alone."""
    records = pd.DataFrame(read_records(path)).query("model == @model and metric == @metric")
    value = records.set_index("set")["value"]
    rows = {
        kind.words: [value[UNCHANGED], *(value[f"robustness/{name}/{step}"] for step in STEPS)]
        for name, kind in CORRUPTIONS.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=range(6)).rename_axis("kind")


def robustness_table(models: list[str], path: Path = RESULTS) -> pd.DataFrame:
    """A row a model, accuracy as a share: unchanged, mean of all cells, the worst cell and which it is, attacked.

    `worst, kept out` is the worst of the kinds that no training uses.
    """
    records = pd.DataFrame(read_records(path)).query("metric == 'accuracy'").set_index(["model", "set"])["value"]
    kept_out = [kind.words for kind in CORRUPTIONS.values() if not kind.often]
    rows = {}
    for model in models:
        cells = _cells(model, "accuracy", path)
        worst = cells[STEPS].stack()
        kind, step = worst.idxmin()
        rows[model] = {
            "unchanged": cells.iloc[0, 0],
            "mean": worst.mean(),
            "worst": worst.min(),
            "which": f"{kind} ({step})",
            "worst, kept out": worst[kept_out].min(),
            **{f"PGD {radius}/255": records[model, f"robustness/pgd/{radius}"] for radius in RADII},
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
