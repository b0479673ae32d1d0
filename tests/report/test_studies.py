"""Tables from the stored results: by hand on small stores, and the claims that the committed ones must keep."""

import pandas as pd
import pytest

from detector.core import files
from detector.core.console import UserError
from detector.data.corruptions import CORRUPTIONS, SEVERITIES
from detector.evaluation.results import COLUMNS, slice_of, unit_of, write_results
from detector.figures.training import cost_dots
from detector.models.weights import RELEASED
from detector.report import studies


def store(rows: list[dict], path=None) -> None:
    defaults = {"experiment": "evaluation", "slice": "", "low": 0.1, "high": 1.0, "n": 300, "device": ""}
    table = pd.DataFrame([defaults | {"unit": unit_of(row["metric"])} | row for row in rows]).reindex(columns=COLUMNS)
    write_results(table, path)


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """An empty store: no models that are not released, results and studies under a temporary folder."""
    monkeypatch.setattr(files, "RESULTS", tmp_path / "results.csv")
    monkeypatch.setattr(files, "STUDIES_DIR", tmp_path)
    store([{"model": "x", "set": "test", "metric": "accuracy", "value": 1.0}], tmp_path / "not_released.csv")
    former = tmp_path / "not_released.csv"
    former.write_text(former.read_text().splitlines()[0] + "\n")
    return tmp_path


def evaluation_rows() -> list[dict]:
    """Every metric that the tables need, the same for each released model."""
    cells = {slice_of(every=10, corruption=name, severity=s): 0.9 for name in CORRUPTIONS for s in SEVERITIES}
    cells |= {"every=10": 0.98, "every=40;pgd=1": 0.3, "every=40;pgd=2": 0.1, "": 0.98123}
    cells[slice_of(every=10, corruption="blur", severity=4)] = 0.6
    found = [("test", slice_, "accuracy", value) for slice_, value in cells.items()]
    found += [("leak_free", "", "accuracy", 0.97), ("test", "", "auc", 0.99876), ("leak_free", "", "auc", 0.9)]
    found += [("test", "", "coverage", 0.8), ("unseen", "source=REAL/phone", "false_positive_rate", 0.4)]
    found += [("unseen", "source=FAKE/a", "auc", 0.5), ("unseen", "source=FAKE/b", "auc", 0.7)]
    return [
        dict(zip(("model", "set", "slice", "metric", "value"), (model, *row), strict=True))
        for model in RELEASED
        for row in found
    ]


def test_proportions_are_percentages_and_areas_are_not(stores):
    store(evaluation_rows())
    grid = studies.results_grid(["accuracy", "auc"])
    assert grid.loc[("cnn", "official"), "accuracy"] == "98.12% (10.00 – 100.00)"
    assert grid.loc[("cnn", "leak-free"), "AUC"] == "0.9000 (0.1000 – 1.0000)"
    assert len(grid) == 2 * len(RELEASED)


def test_a_source_has_a_row_where_it_has_the_metric(stores):
    store(evaluation_rows())
    assert studies.sources_grid("auc").loc[["FAKE/a", "FAKE/b"], "cnn"].tolist() == [0.5, 0.7]
    assert studies.photos_table().loc["cnn"].tolist() == [0.4, 0.1, 1.0, 300]


def test_shares_of_photos_come_before_those_of_generated_images(stores):
    rows = [row("unseen", f"source={source}") for source in ("FAKE/a", "REAL/phone")]
    rows[0]["metric"] = "recall"
    store([*rows, row("held_out", "source=REAL/other")])
    assert studies.source_shares("unseen")["source"].tolist() == ["REAL/phone", "FAKE/a"]
    assert studies.source_shares("held_out")["source"].tolist() == ["REAL/other"]


def row(set_: str, slice_: str) -> dict:
    return {"model": "cnn", "set": set_, "slice": slice_, "metric": "false_positive_rate", "value": 0.5}


def test_scores_are_a_row_for_each_network_and_test():
    metrics = pd.DataFrame({"value": [0.5, 0.9], "low": 0.25, "high": 1.0, "n": 8}, ["accuracy", "auc"])
    grid = studies.scores_grid({("CNN", "official"): metrics, ("CNN", "leak-free"): metrics})
    assert grid.index.tolist() == [("CNN", "official"), ("CNN", "leak-free")]
    assert grid.iloc[0].tolist() == ["50.00% (25.00 – 100.00)", "0.9000 (0.2500 – 1.0000)"]


def test_the_overview_has_means_over_sources_and_the_worst_corruption(stores):
    rows = [row for row in evaluation_rows() if (row["model"], row["metric"]) != ("transfer", "false_positive_rate")]
    store(rows)
    table = studies.overview_table()
    assert table.index.tolist() == list(RELEASED)
    assert table.loc["cnn"].tolist() == ["98.12%", "80.0%", "60.0%", "40.0%", "0.600"]
    assert table.loc["transfer", "FPR, unseen photos"] == "–"


def test_robustness_names_the_worst_corruption(stores):
    store(evaluation_rows())
    grid = studies.corruption_grid("cnn", "accuracy")
    assert grid.shape == (len(CORRUPTIONS), 6) and (grid[0] == 0.98).all()
    row = studies.robustness_table().loc["cnn"]
    assert row[["uncorrupted", "worst", "PGD 2/255"]].tolist() == [0.98, 0.6, 0.1]
    assert row["worst corruption"].endswith("(severity 4)") and "blur" in row["worst corruption"]
    assert row["mean"] == pytest.approx((0.9 * 54 + 0.6) / 55)


def test_models_that_are_not_released_are_marked(stores):
    store(evaluation_rows())
    rows = [
        row | {"model": "former", "experiment": "not released"} for row in evaluation_rows() if row["model"] == "cnn"
    ]
    store(rows, stores / "not_released.csv")
    assert studies.overview_table().index.tolist() == [*RELEASED, "former (not released)"]


def test_gpu_speed_by_hand(stores):
    key = {"experiment": "gpu speed", "model": "cnn", "set": "validation", "device": "a"}
    rows = [
        key | {"seed": seed, "metric": metric, "value": value}
        for seed, seconds, accuracy in [(0, 5.0, 0.96), (1, 4.0, 0.97), (2, 9.0, 0.98)]
        for metric, value in {"seconds": seconds, "accuracy": accuracy}.items()
    ]
    store(rows, stores / "gpu_speed.csv")
    assert studies.gpu_speed_table().loc["a"].tolist() == pytest.approx([5, 97, 96, 3])


def test_seeds_by_hand(stores):
    accuracy = {"validation": [0.98, 0.96], "test": [0.97, 0.97], "leak_free": [0.9, 0.8]}
    rows = [
        {"experiment": "seeds", "model": "cnn", "seed": seed, "set": set_, "metric": "accuracy", "value": values[seed]}
        for seed in (0, 1)
        for set_, values in accuracy.items()
    ]
    store(rows, stores / "seeds.csv")
    table = studies.seed_table()
    assert table.index.tolist() == ["validation", "official", "leak-free"]
    assert table["mean (%)"].tolist() == pytest.approx([97, 97, 85])
    assert table.loc["official", "deviation (points)"] == pytest.approx(0)
    assert table.loc["leak-free", "lowest (%)"] == pytest.approx(80)


def test_a_stopped_command_is_marked_in_the_table_of_memory(stores):
    rows = [
        {"experiment": "memory", "model": model, "metric": "peak", "value": 1.5, "slice": f"note={note}"}
        for model, note in {"features": "to its end", "train cnn": "stopped after 150 s"}.items()
    ]
    store(rows, stores / "memory.csv")
    assert studies.memory_table()["value"].to_dict() == {"features": 1.5, "train cnn (stopped after 150 s)": 1.5}


def test_equal_time_is_sorted_and_its_front_has_what_nothing_cheaper_matches(stores):
    accuracy, macs = {"CNN a": 0.9, "Lite0 b": 0.95, "Lite0 c": 0.85, "Lite2 d": 0.95}, [1e6, 3e6, 2e6, 2e6]
    rows = []
    for (model, value), cost in zip(accuracy.items(), macs, strict=True):
        key = {"experiment": "equal time", "model": model, "set": "validation", "slice": "budget=30 s", "seed": 0}
        rows += [
            key | {"metric": metric, "value": 1.0}
            for metric in ("parameters", "images", "seconds", "images_per_second")
        ]
        rows += [key | {"metric": "MACs", "value": cost}, key | {"metric": "accuracy", "value": value}]
    store(rows, stores / "transfer.csv")
    table = studies.equal_time_table()
    assert table.index.tolist()[-2:] == ["CNN a", "Lite0 c"]
    front = studies.pareto_front(table)
    assert set(front.index[front]) == {"CNN a", "Lite2 d"}
    (rings,) = [line for line in cost_dots(table, front).axes[0].lines if line.get_markeredgecolor() == "black"]
    assert sorted(rings.get_xdata()) == [1, 2]


READERS = ["seed_table", "ood_table", "speed_table", "gpu_speed_table", "faithfulness_table", "component_runs"]
READERS += ["image_count_runs", "equal_time_table", "resolution_grid", "leave_one_out_grid"]


@pytest.mark.parametrize("name", READERS)
def test_each_committed_study_is_read_and_a_missing_one_is_named(name, tmp_path, monkeypatch):
    assert len(getattr(studies, name)()) > 1 or name == "gpu_speed_table"
    monkeypatch.setattr(files, "STUDIES_DIR", tmp_path)
    with pytest.raises(UserError, match=r"\.csv is missing"):
        getattr(studies, name)()


def test_the_fast_recipe_exceeds_96_percent_on_average_over_five_seeds():
    assert studies.speed_table().loc[("cnn", "accuracy, mean"), "value"] > 96
    rows = studies.study("speed").query("metric == 'accuracy, mean'")
    assert rows["n"].item() == 5


def test_every_variant_of_the_ablation_ran_with_three_seeds():
    for runs in (studies.component_runs(), studies.image_count_runs()):
        assert (runs.groupby(runs.columns[0])["seed"].nunique() >= 3).all()
