"""The store of results: one schema, rows replaced by their key, grids in the order of the rows."""

import pandas as pd
import pytest

from detector.core.console import UserError
from detector.evaluation.results import (
    COLUMNS,
    parse_slice,
    pivot,
    read_results,
    replace_results,
    result_rows,
    slice_of,
    value_text,
    with_slice_columns,
    write_results,
)
from detector.metrics.intervals import metric_table


def rows(model: str = "cnn", value: float = 0.9, slice_: str = "") -> pd.DataFrame:
    table = metric_table({"accuracy": (value, 0.8, 0.95, 100), "auc": (0.99, 0.98, 0.995, 100)})
    return result_rows(table, experiment="evaluation", model=model, set="test", slice=slice_)


def test_written_rows_are_read_again(tmp_path):
    path = tmp_path / "results.csv"
    table = pd.concat([rows(), rows(slice_=slice_of(every=10, corruption="blur", severity=3))], ignore_index=True)
    write_results(table.assign(seed=pd.array([1, None] * 2, dtype="Int64")), path)
    again = read_results(path)
    assert again.columns.tolist() == COLUMNS
    assert again["seed"].isna().tolist() == [False, True] * 2
    pd.testing.assert_frame_equal(again.drop(columns="seed"), table.drop(columns="seed"), check_dtype=False)
    assert not list(tmp_path.glob("*.part"))


def test_units_follow_the_metric():
    assert rows().set_index("metric")["unit"].to_dict() == {"accuracy": "proportion", "auc": ""}


def test_new_rows_take_the_place_of_rows_with_the_same_key():
    old = pd.concat([rows(), rows("other"), rows(slice_="every=10")], ignore_index=True)
    table = replace_results(old, rows(value=0.5))
    assert len(table) == len(old)
    assert table.query("model == 'cnn' and slice == '' and metric == 'accuracy'")["value"].tolist() == [0.5]
    assert table.query("model == 'other' and metric == 'accuracy'")["value"].tolist() == [0.9]
    assert len(replace_results(rows()[:0], rows())) == 2


def test_slices_are_pairs():
    assert parse_slice(slice_of(corruption="blur", severity=3)) == {"corruption": "blur", "severity": "3"}
    wide = with_slice_columns(pd.concat([rows(), rows(slice_="every=10")], ignore_index=True))
    assert wide["every"].tolist() == ["", "", "10", "10"]


def test_pivot_keeps_the_order_of_the_rows_and_takes_slice_keys():
    table = pd.concat([rows("b", slice_="source=z"), rows("a", slice_="source=z"), rows("b", slice_="source=c")])
    grid = pivot(table.query("metric == 'accuracy'"), "source", "model")
    assert grid.index.tolist() == ["z", "c"] and grid.columns.tolist() == ["b", "a"]
    assert grid.isna().sum().sum() == 1
    text = pivot(table.query("model == 'b'"), ["model", "source"], "metric", "text")
    assert text.loc[("b", "z"), "accuracy"] == "90.00% (80.00 – 95.00)"
    assert text.loc[("b", "z"), "auc"] == "0.9900 (0.9800 – 0.9950)"


def test_a_missing_value_is_a_dash_and_a_missing_interval_is_left_out():
    table = rows().assign(value=[float("nan"), 0.5], low=float("nan"))
    assert [value_text(row) for row in table.itertuples()] == ["–", "0.5000"]


def test_a_missing_or_foreign_file_names_the_command(tmp_path):
    with pytest.raises(UserError, match=r"ablation\.csv is missing.*python -m benchmarks\.ablation"):
        read_results(tmp_path / "ablation.csv")
    (tmp_path / "seeds.csv").write_text("what,value\nx,1\n")
    with pytest.raises(UserError, match="is damaged"):
        read_results(tmp_path / "seeds.csv")
