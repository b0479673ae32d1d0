"""The store of every result: one schema for released models and studies, one reader, one writer, one pivot.

Released models: `models/results.csv`. Studies: `benchmarks/results/<study>.csv`. One row is one metric:

    experiment  what was measured, such as 'evaluation', 'seeds' or 'not released'
    model, seed the model and, where it matters, the seed of its training
    set, slice  the images: a split, and `key=value` pairs that narrow it down ('every=10;corruption=blur;severity=3')
    metric      its name; value, low, high: the estimate and its 95% interval; n: the images it is computed on
    unit        'proportion', 'nats', 's', … or empty
    device      where timings were taken, else empty
"""

from pathlib import Path

import pandas as pd

from detector.core import files
from detector.core.console import UserError

COLUMNS = ["experiment", "model", "seed", "set", "slice", "metric", "value", "low", "high", "n", "unit", "device"]
KEY = ["experiment", "model", "seed", "set", "slice", "metric", "device"]  # identifies a row
NUMBERS = ["seed", "value", "low", "high", "n"]
DIMENSIONLESS = ("auc", "ood_auc", "average_precision", "brier")


def unit_of(metric: str) -> str:
    """Return the unit of an evaluation metric: '' for areas and scores, 'nats' for cross-entropy, else 'proportion'."""
    return "" if metric in DIMENSIONLESS else "nats" if metric == "nll" else "proportion"


def slice_of(**pairs: object) -> str:
    """Return `key=value` pairs as the text of the slice column: slice_of(corruption='blur', severity=3)."""
    return ";".join(f"{key}={value}" for key, value in pairs.items())


def parse_slice(text: str) -> dict[str, str]:
    """Return the pairs of a slice's text."""
    return dict(pair.split("=", 1) for pair in text.split(";") if pair)


def result_rows(
    metrics: pd.DataFrame,
    *,
    experiment: str,
    model: str,
    set: str,
    slice: str = "",
    seed: int | None = None,
    device: str = "",
) -> pd.DataFrame:
    """Return a metric table (index metric; columns value, low, high, n) as rows of the store."""
    rows = metrics.rename_axis("metric").reset_index()
    rows = rows.assign(experiment=experiment, model=model, set=set, slice=slice, seed=seed, device=device)
    return rows.assign(unit=rows["metric"].map(unit_of))[COLUMNS].astype({"seed": "Int64", "n": "Int64"})


def read_results(path: Path | None = None) -> pd.DataFrame:
    """Return the rows of a results file, by default those of the released models.

    Raises UserError if the file is missing or does not have the common columns.
    """
    path = path or files.RESULTS
    command = "python -m detector evaluate" if path == files.RESULTS else f"python -m benchmarks.{path.stem}"
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in NUMBERS})
        return table[COLUMNS].astype({"seed": "Int64", "n": "Int64"})
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing. Restore it from the repository, or run `{command}`.") from error
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}). Restore it from the repository, or run `{command}`.") from error


def write_results(table: pd.DataFrame, path: Path | None = None) -> None:
    """Replace a results file, by default that of the released models, in one step."""
    with files.atomic_write(path or files.RESULTS) as part:
        table[COLUMNS].to_csv(part, index=False, float_format="%.9g", lineterminator="\n")


def replace_results(table: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with the rows of `new`, which take the place of rows with the same key."""
    kept = table.merge(new[KEY].drop_duplicates(), how="left", on=KEY, indicator="found").query("found == 'left_only'")
    return pd.concat([kept[COLUMNS], new[COLUMNS]] if len(kept) else [new[COLUMNS]], ignore_index=True)


def with_slice_columns(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a further column (text, empty where absent) for each key of their slices."""
    results = results.reset_index(drop=True)
    return results.join(pd.DataFrame([parse_slice(text) for text in results["slice"]], index=results.index).fillna(""))


def pivot(
    results: pd.DataFrame, rows: str | list[str], columns: str | list[str], values: str = "value"
) -> pd.DataFrame:
    """Return results as a grid, in the order in which the rows come.

    Args:
        rows, columns: columns of the store or keys of the slices.
        values: a column, or 'text' for each value with its interval.
    """
    wide = with_slice_columns(results)
    if values == "text":
        wide["text"] = [value_text(row) for row in wide.itertuples()]
    index, across = ([name] if isinstance(name, str) else name for name in (rows, columns))
    grid = wide.set_index([*index, *across])[values].unstack(list(range(len(index), len(index) + len(across))))
    row_order = pd.MultiIndex.from_frame(wide[index]) if len(index) > 1 else pd.Index(wide[index[0]])
    column_order = pd.MultiIndex.from_frame(wide[across]) if len(across) > 1 else pd.Index(wide[across[0]])
    return grid.reindex(index=row_order.unique(), columns=column_order.unique())


def value_text(row: object) -> str:
    """Return a result in words: '98.12% (97.90 – 98.30)' for a proportion, four digits otherwise, '–' for none.

    Args:
        row: anything with attributes value, low, high, unit.
    """
    if pd.isna(row.value):
        return "–"
    scale, digits, sign = (100, 2, "%") if row.unit == "proportion" else (1, 4, "")
    text = f"{scale * row.value:.{digits}f}{sign}"
    return text if pd.isna(row.low) else f"{text} ({scale * row.low:.{digits}f} – {scale * row.high:.{digits}f})"
