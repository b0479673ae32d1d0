"""The evaluation of released models: every set, nothing of other weights, and a check that notices another model."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from detector.core import files
from detector.core.console import UserError
from detector.data.corruptions import CORRUPTIONS
from detector.data.dataset import concatenate
from detector.evaluation import run
from detector.evaluation.access_log import record_access
from detector.evaluation.results import read_results, result_rows, write_results
from detector.evaluation.run import check_predictions, check_robustness, evaluate_released, read_predictions
from detector.inference.predict import predict, predict_logits
from detector.metrics import summary
from detector.metrics.classification import evaluate
from detector.metrics.intervals import metric_table
from detector.models.weights import RELEASED


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Redirect all that an evaluation writes."""
    for name in ("RESULTS", "PREDICTIONS", "ACCESS_LOG"):
        monkeypatch.setattr(files, name, tmp_path / getattr(files, name).name)
    monkeypatch.setattr(files, "MODELS_DIR", tmp_path)
    files.ACCESS_LOG.write_text("")
    (tmp_path / "small.safetensors").write_bytes(b"weights")
    return tmp_path


@pytest.fixture
def few(toy, monkeypatch):
    """Every tenth image of the toy dataset, in random order so that the tenths hold both classes."""
    monkeypatch.setattr(run, "corrupt_all", lambda pixels: {"every=10": pixels})
    monkeypatch.setattr(summary, "bootstrap_metrics", partial(summary.bootstrap_metrics, draws=20))
    data = toy.sample(600)
    order = np.random.default_rng(0).permutation(len(data.test))
    return replace(data, test=data.test[order])


def unseen_of(few):
    photos, fakes = few.validation.of_class(0)[:10], few.validation.of_class(1)[:10]
    named = [replace(images, source=np.full(10, name)) for images, name in ((photos, "phone"), (fakes, "generator"))]
    return concatenate(*named)


def test_every_set_is_scored_and_kept(store, few, small_cnn):
    evaluate_released({"small": small_cnn}, few, unseen_of(few))
    table = read_results()
    assert set(table["set"]) == {"validation", "test", "leak_free", "unseen"}
    assert set(table.query("set == 'unseen'")["slice"]) == {"", "source=REAL/phone", "source=FAKE/generator"}
    assert set(table.query("set == 'test'")["slice"]) == {"", "every=10", "every=40;pgd=1", "every=40;pgd=2"}
    assert not table.duplicated(["model", "set", "slice", "metric"]).any()
    probabilities = predict(small_cnn, few.test.pixels)
    expected = evaluate(probabilities, few.test.labels).loc["accuracy", "value"]
    found = table.query("set == 'test' and slice == '' and metric == 'accuracy'")["value"].item()
    assert found == pytest.approx(expected, abs=1e-6)
    stored = read_predictions()
    assert stored["label"].tolist() == few.test.labels.tolist()
    assert np.allclose(stored["small"], probabilities, atol=1e-6)
    assert files.ACCESS_LOG.read_text().count("| small |") == 2


def test_another_folder_leaves_the_official_results_and_the_log_alone(store, few, small_cnn):
    evaluate_released({"small": small_cnn}, few, few.validation[:0], store / "smoke")
    assert sorted(path.name for path in (store / "smoke").iterdir()) == ["predictions.csv", "results.csv"]
    assert not files.RESULTS.exists()
    assert files.ACCESS_LOG.read_text() == ""


def test_scoring_a_model_again_keeps_the_order_of_the_released_models(store, few, small_cnn):
    """The tables of the report follow the order of the file."""
    table = metric_table({"recall": (0.9, 0.8, 0.95, 100)})
    others = [name for name in RELEASED if name != "transfer"]
    write_results(pd.concat([result_rows(table, experiment="evaluation", model=n, set="test") for n in others]))
    (store / "transfer.safetensors").write_bytes(b"weights")
    for _ in range(2):
        evaluate_released({"transfer": small_cnn}, few, few.validation[:0])
        assert read_results()["model"].unique().tolist() == list(RELEASED)
    assert read_results()["set"].unique().tolist() == ["test", "validation", "leak_free"]


@pytest.mark.parametrize("same_weights", [True, False])
def test_results_on_unseen_sources_stay_only_for_the_same_weights(store, few, small_cnn, same_weights):
    table = metric_table({"recall": (0.9, 0.8, 0.95, 100)})
    key = {"experiment": "evaluation", "model": "small"}
    old = [
        result_rows(table, set="unseen", slice="source=FAKE/a", **key),
        result_rows(table, set="test", slice="every=9", **key),
    ]
    write_results(pd.concat(old))
    record_access(store / "small.safetensors", "unseen", 0.9)
    (store / "small.safetensors").write_bytes(b"weights" if same_weights else b"others")
    evaluate_released({"small": small_cnn}, few, few.validation[:0])
    slices = set(read_results()["slice"])
    assert ("source=FAKE/a" in slices) == same_weights
    assert "every=9" not in slices


def test_the_check_notices_another_model(store, few, small_cnn):
    small_cnn.head.bias.data -= predict_logits(small_cnn, few.test.pixels).median()  # both labels are predicted
    evaluate_released({"small": small_cnn}, few, few.validation[:0])
    same = check_predictions({"small": small_cnn}, few.test)
    assert same["agree"].all() and same.loc["small", "largest difference"] < 1e-5
    small_cnn.head.weight.data.neg_()
    small_cnn.head.bias.data.neg_()  # every prediction reversed
    other = check_predictions({"small": small_cnn}, few.test)
    assert not other["agree"].any() and other.loc["small", "largest difference"] > 0.1


def test_the_check_of_a_corruption_scores_that_corruption(store, few, small_cnn):
    tenth = few.test[::10]
    blurred = CORRUPTIONS["blur"].apply(tenth.pixels, 1)
    expected = evaluate(predict(small_cnn, blurred), tenth.labels).loc[["accuracy"]]
    write_results(
        result_rows(
            expected, experiment="evaluation", model="small", set="test", slice="every=10;corruption=blur;severity=3"
        )
    )
    check = check_robustness({"small": small_cnn}, few.test, "blur", 3)
    assert check.loc["small", "agree"] and check.loc["small", "n"] == len(tenth)


def test_a_model_without_results_names_the_command(store, few, small_cnn):
    evaluate_released({"small": small_cnn}, few, few.validation[:0])
    with pytest.raises(UserError, match=r"no results of other.*python -m detector evaluate"):
        check_robustness({"other": small_cnn}, few.test, "blur", 3)


def test_missing_predictions_name_the_command(tmp_path):
    with pytest.raises(UserError, match="python -m detector evaluate"):
        read_predictions(tmp_path / "none.csv")
