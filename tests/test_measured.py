"""What was measured in longer runs: read rightly, and worth what the report says of it."""

from itertools import combinations

import pandas as pd
import pytest
from matplotlib.text import Text

from detector.measured import (
    ensemble_table,
    left_out_table,
    outsiders_table,
    over_seeds,
    pareto_front,
    patches_table,
    race_table,
    resolution_table,
    seed_table,
    speed_table,
    training_runs,
    transfer_table,
    unlikeness_table,
)
from detector.progress import InputError
from detector.training_figures import cost_dots


def test_over_seeds_by_hand():
    runs = pd.DataFrame(
        {"what": ["a", "b", "a", "b"], "seed": [0, 0, 1, 1], "accuracy": [0.96, 0.90, 0.98, 0.94]},
    )
    rows = over_seeds(runs)
    assert rows["mean (%)"].tolist() == pytest.approx([97, 92])
    assert rows["deviation over seeds"].tolist() == pytest.approx([2**0.5, 8**0.5])
    assert rows["against the first"].tolist() == pytest.approx([0, -5])
    assert rows["seeds"].tolist() == [2, 2]


def test_race_table_by_hand(tmp_path):
    path = tmp_path / "race.csv"
    rows = {"device": "a", "seed": [0, 1, 2], "seconds": [5.0, 4.0, 9.0], "accuracy": [0.96, 0.97, 0.98]}
    pd.DataFrame(rows).to_csv(path, index=False)
    assert race_table(path).loc["a"].tolist() == pytest.approx([5, 97, 96, 3])


def test_seed_table_by_hand(tmp_path):
    path = tmp_path / "seeds.csv"
    scores = {"validation": [0.98, 0.96], "official test": [0.97, 0.97], "leak-free test": [0.9, 0.8]}
    pd.DataFrame({"model": "cnn", "seed": [0, 1], **scores}).to_csv(path, index=False)
    table = seed_table(path)
    assert table.index.tolist() == [("cnn", "0"), ("cnn", "1"), ("cnn", "mean"), ("cnn", "deviation")]
    assert table.loc[("cnn", "mean")].tolist() == pytest.approx([97, 97, 85])
    assert table.loc[("cnn", "deviation"), "official test"] == pytest.approx(0)


def test_unlikeness_table_by_hand(tmp_path):
    path = tmp_path / "unlikeness.csv"
    rows = {"score": ["a", "b", "a", "b"], "kind": ["x", "x", "y", "y"], "value": [0.5, 0.9, 0.7, 0.7]}
    pd.DataFrame(rows).to_csv(path, index=False)
    table = unlikeness_table(path)
    assert table.columns.tolist() == ["b", "a"]
    assert table.loc["mean"].tolist() == pytest.approx([0.8, 0.6])


def test_left_out_table_by_hand(tmp_path):
    path = tmp_path / "sources.csv"
    rows = {
        "without": ["nothing", "nothing", "nothing", "b", "b", "b"],
        "metric": ["false_fake_rate", "recall", "auc"] * 2,
        "source": ["REAL/b", "FAKE/a", "FAKE/a"] * 2,
        "value": [0.1, 0.9, 0.99, 0.5, 0.8, 0.9],
    }
    pd.DataFrame(rows).assign(low=0.05, high=0.995).to_csv(path, index=False)
    table = left_out_table("share", path)
    assert table.index.tolist() == ["REAL/b", "FAKE/a"]
    assert table.columns.tolist() == ["nothing", "b"]
    assert table["nothing"].tolist() == ["10.00%\n(5.0–\u206099.5)", "90.00%\n(5.0–\u206099.5)"]
    assert table["b"].tolist() == ["50.00%\n(5.0–\u206099.5)", "80.00%\n(5.0–\u206099.5)"]
    areas = ["0.9900\n(0.050–\u20600.995)", "0.9000\n(0.050–\u20600.995)"]
    assert left_out_table("auc", path).loc["FAKE/a"].tolist() == areas


def test_resolution_table_by_hand(tmp_path):
    path = tmp_path / "resolutions.csv"
    rows = {
        "run": ["32 pixels"] * 3 + ["64 pixels"] * 3,
        "seconds": [70.4] * 3 + [280.0] * 3,
        "metric": ["false_fake_rate", "recall", "auc"] * 2,
        "source": ["REAL/b", "FAKE/made_a", "FAKE/made_a"] * 2,
        "value": [0.1, 0.9, 0.99, 0.05, 0.95, 0.995],
    }
    pd.DataFrame(rows).assign(low=0.05, high=0.995).to_csv(path, index=False)
    table = resolution_table(path)
    assert table.columns.tolist() == ["32 pixels\n(70\xa0s)", "64 pixels\n(280\xa0s)"]
    assert table.index.tolist() == [("REAL/b", "false fake rate"), ("FAKE/a", "recall"), ("FAKE/a", "auc")]
    assert table.iloc[0, 1] == "5.00%\n(5.0–\u206099.5)"
    assert table.iloc[2, 0] == "0.9900\n(0.050–\u20600.995)"


def test_outsiders_table_by_hand(tmp_path):
    path = tmp_path / "outsiders.csv"
    met, unmet = ["FAKE/cifake", "FAKE/made_autoencoder_nearest"], ["FAKE/made_gan_style", "FAKE/made_denoiser"]
    scores = {"a": (0.9, 0.1, 0.5, 0.6), "b": (0.8, 0.1, 0.7, 0.8)}
    rows = [f"{name},{value},0.05,0.95,{score}" for score, values in scores.items()
            for name, value in zip((*met, *unmet), values, strict=True)]  # fmt: skip
    unseen = ["unseen/FAKE/gan_dcgan,0.4,0.3,0.5,b", "unseen/FAKE/ddpm,0.6,0.5,0.7,b"]
    path.write_text("\n".join(["source,value,low,high,score", *rows, *unseen]))
    table = outsiders_table(path)
    assert table.index.tolist() == ["b", "a"]
    assert table["mean, not met"].tolist() == pytest.approx([0.75, 0.55])
    assert table["mean, unseen"].isna().tolist() == [False, True] and table.loc["b", "mean, unseen"] == 0.5
    assert table.columns.tolist()[2:] == ["cifake", "denoiser", "gan_style"]
    assert table.loc["a", "cifake"] == "0.9000\n(0.050–\u20600.950)"


def test_patches_table_by_hand(tmp_path):
    path = tmp_path / "patches.csv"
    rows = {"model": "m", "way": ["whole", "parts", "parts"], "source": "a", "metric": ["auc", "auc", "steady_rate"]}
    pd.DataFrame(rows | {"value": [0.5, 0.9, 0.7], "low": 0.4, "high": 1.0}).to_csv(path, index=False)
    assert patches_table(path).loc[("m", "parts"), ("a", "auc")] == "0.9000\n(0.400–\u20601.000)"
    assert patches_table(path).columns.tolist() == [("a", "auc")]


READERS = [
    speed_table,
    lambda path: training_runs("part", path),
    seed_table,
    unlikeness_table,
    lambda path: left_out_table("auc", path),
    resolution_table,
    outsiders_table,
    patches_table,
    transfer_table,
    ensemble_table,
    race_table,
]


@pytest.mark.parametrize("read", READERS)
def test_a_missing_file_is_told(tmp_path, read):
    with pytest.raises(InputError, match=r"none\.csv is missing"):
        read(tmp_path / "none.csv")


def test_the_fastest_recipe_reaches_96_percent_in_the_mean_of_five_seeds():
    table = speed_table()
    assert table.loc["to 96%: validation accuracy, mean", "value"] > 96
    assert table.loc["to 96%: validation accuracy, mean", "how"].startswith("5 seeds")


def test_every_variant_ran_with_three_seeds():
    for study in ("part", "images"):
        assert (over_seeds(training_runs(study))["seeds"] >= 3).all()


def test_transfer_table_is_sorted_and_its_front_has_what_nothing_cheaper_matches(tmp_path):
    path = tmp_path / "transfers.csv"
    columns = {
        "variant": ["cnn-a", "lite0-b", "lite0-c", "lite2-d"],
        "MACs": [1e6, 3e6, 2e6, 2e6],
        "validation_accuracy": [0.9, 0.95, 0.85, 0.95],
    }
    others = dict.fromkeys(
        ["device", "budget", "parameters", "images", "seconds", "images_per_second", "low", "high", "n"], 1
    )
    pd.DataFrame(columns).assign(**others).to_csv(path, index=False)
    table = transfer_table(path)
    pd.DataFrame(columns).assign(**others | {"budget": [1, 1, 2, 2]}).to_csv(tmp_path / "mixed.csv", index=False)
    with pytest.raises(InputError, match="several budgets"):
        transfer_table(tmp_path / "mixed.csv")
    assert table.index.tolist()[-2:] == ["cnn-a", "lite0-c"]
    front = pareto_front(table)
    assert set(front.index[front]) == {"cnn-a", "lite2-d"}
    (rings,) = [line for line in cost_dots(table, front).axes[0].lines if line.get_markeredgecolor() == "black"]
    assert sorted(rings.get_xdata()) == [1, 2]
    assert sorted(rings.get_ydata()) == pytest.approx([90, 95])


def test_no_name_of_the_study_lies_on_another():
    table = transfer_table()
    figure = cost_dots(table, pareto_front(table))
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text).padded(-1) for text in figure.axes[0].texts]  # without the lines to them
    assert len(boxes) == len(table)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_ensemble_table_by_hand(tmp_path):
    path = tmp_path / "ensembles.csv"
    rows = {"members": ["a", "b"], "set": ["validation", "validation"], "accuracy": [0.9, 0.8]}
    pd.DataFrame(rows).assign(n=10, low=0.7, high=0.95).to_csv(path, index=False)
    assert ensemble_table(path).loc[("b", "validation"), "value"] == 0.8
