"""Tables from the records: figures and intervals as they stand there, a row where each belongs."""

import json

import pandas as pd
import pytest

from detector.corruptions import CORRUPTIONS
from detector.presentation import overview_table, records_grid, reference_table, sources_grid
from detector.weights import SHIPPED


@pytest.fixture
def records(tmp_path):
    """Accuracy and AUC of every model on both tests, and two sources, one of each class."""
    rows = [("test", "accuracy", 0.98123), ("leak_free", "accuracy", 0.97), ("test", "auc", 0.99876)]
    rows += [("leak_free", "auc", 0.9), ("unseen/FAKE/gan", "recall", 0.25), ("unseen/FAKE/gan", "auc", 0.5)]
    rows += [("unseen/REAL/photos", "false_fake_rate", 0.4)]
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps(
            [
                {"model": model, "set": set_, "metric": metric, "value": value, "low": 0.1, "high": 1.0, "n": 300}
                for model in SHIPPED
                for set_, metric, value in rows
            ]
        )
    )
    return path


def test_shares_are_percent_and_areas_are_not(records):
    grid = records_grid(["accuracy", "auc"], records)
    assert grid.loc[("cnn", "official"), "accuracy"] == "98.12% (10.00 – 100.00)"
    assert grid.loc[("cnn", "leak-free"), "auc"] == "0.9000 (0.1000 – 1.0000)"
    assert len(grid) == 2 * len(SHIPPED)


def test_a_source_stands_where_it_has_the_metric(records):
    assert list(sources_grid("recall", records).index) == ["FAKE/gan"]
    photographs = sources_grid("false_fake_rate", records)
    assert list(photographs.index) == ["REAL/photos"]
    assert photographs.loc["REAL/photos", "cnn"] == "40.00% (10.00 – 100.00)"
    assert photographs.loc["REAL/photos", "n"] == 300


def test_where_n_differs_by_model_it_stands_in_each_cell(records):
    rows = json.loads(records.read_text())
    rows[0] = {"model": "cnn", "set": "unseen/REAL/photos", "metric": "accuracy_answered", "value": 0.5, "n": 20}
    rows[1] = {**rows[0], "model": "small", "n": 30}
    rows[:2] = [{**row, "low": 0.1, "high": 1.0} for row in rows[:2]]
    records.write_text(json.dumps(rows))
    grid = sources_grid("accuracy_answered", records)
    assert grid.loc["REAL/photos", "cnn"] == "50.00% (10.00 – 100.00) of 20"
    assert grid.loc["REAL/photos", "small"].endswith(" of 30")
    assert "n" not in grid


def test_the_overview_has_means_over_sources_and_the_worst_change(records):
    """By hand: two generators of 0.5 and 0.7, and a dash where a model has no record."""
    rows = json.loads(records.read_text())
    changed = {f"robustness/{kind}/{step}": 0.9 for kind in CORRUPTIONS for step in range(1, 6)}
    changed |= {"robustness/none/0": 0.98, "robustness/pgd/1": 0.3, "robustness/pgd/2": 0.1, "robustness/blur/4": 0.6}
    made_up = [*((set_, "accuracy", value) for set_, value in changed.items()), ("test", "coverage", 0.8)]
    made_up.append(("unseen/FAKE/other", "auc", 0.7))
    rows += [dict(rows[0], model=model, set=set_, metric=metric, value=value)
             for model in SHIPPED for set_, metric, value in made_up]  # fmt: skip
    rows = [row for row in rows if (row["model"], row["metric"]) != ("small", "false_fake_rate")]
    records.write_text(json.dumps(rows))
    table = overview_table(records)
    assert table.index.tolist() == list(SHIPPED)
    assert table.loc["cnn"].tolist() == ["98.12%", "80.0%", "60.0%", "40.0%", "0.600"]
    assert table.loc["small", "other photographs called FAKE"] == "–"


def test_intervals_stay_in_one_piece_and_index_numbers_are_short(records):
    grid = reference_table(records_grid(["accuracy"], records), "accuracy").to_html()
    assert "98.12%\n(10.00–\u2060100.00)" in grid
    history = pd.DataFrame({"loss": [0.5, 0.25]}, index=pd.Index([0.25, 1.0], name="epoch"))
    shown = reference_table(history, "training").to_html()
    assert ">0.25<" in shown and ">1<" in shown and ">0.5000<" in shown
