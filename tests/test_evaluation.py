"""Predictions keep the contract; metrics agree with scikit-learn, scipy and hand-worked cases."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics
from sklearn.utils import resample

from detector import evaluation
from detector.evaluation import auc_interval, confusion, evaluate, wilson
from detector.prediction import predict


def scores(n: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n)
    probs = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * (labels - 0.5))))
    return torch.from_numpy(probs).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_predict_does_not_depend_on_the_batch(small_cnn, batch_size):
    pixels = torch.randint(0, 256, (70, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        one_by_one = torch.cat([torch.sigmoid(small_cnn(picture[None].float() / 255)) for picture in pixels])
    probs = predict(small_cnn, pixels, batch_size=batch_size)
    assert probs.dtype == torch.float32
    assert probs.device.type == "cpu"
    assert one_by_one.std() > 0.01
    assert torch.allclose(probs, one_by_one, atol=1e-5)


def test_predict_of_nothing_is_empty(small_cnn):
    assert predict(small_cnn, torch.empty(0, 3, 32, 32, dtype=torch.uint8)).shape == (0,)


def test_predict_leaves_the_mode_alone_and_learns_nothing(small_cnn):
    small_cnn.train()
    before = {key: tensor.clone() for key, tensor in small_cnn.state_dict().items()}
    predict(small_cnn, torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8))
    assert small_cnn.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in small_cnn.state_dict().items())


class Says(torch.nn.Module):
    """Gives one logit to every picture."""

    def __init__(self, logit: float):
        super().__init__()
        self.logit = torch.nn.Parameter(torch.tensor(logit))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.logit.expand(len(pixels))


def test_one_sigmoid_and_fake_is_positive():
    """A second sigmoid would lift -3 to over 1/2 and call everything FAKE."""
    pixels = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    assert predict(Says(-3.0), pixels).allclose(torch.tensor(1 / (1 + np.exp(3.0)), dtype=torch.float32))
    labels = torch.tensor([0, 0, 1, 1])
    assert confusion(predict(Says(3.0), pixels), labels).to_numpy().tolist() == [[0, 2], [0, 2]]
    assert confusion(predict(Says(-3.0), pixels), labels).loc["REAL", "REAL"] == 2


def test_metrics_agree_with_scikit_learn():
    probs, labels = scores()
    table = evaluate(probs, labels)
    called = probs >= 0.5
    expected = {
        "accuracy": metrics.accuracy_score(labels, called),
        "precision": metrics.precision_score(labels, called),
        "recall": metrics.recall_score(labels, called),
        "f1": metrics.f1_score(labels, called),
        "auc": metrics.roc_auc_score(labels, probs),
        "false_fake_rate": (called & (labels == 0)).sum() / (labels == 0).sum(),
    }
    for name, value in expected.items():
        assert table.loc[name, "value"] == pytest.approx(float(value)), name
        assert table.loc[name, "low"] < value < table.loc[name, "high"], name


def test_metrics_are_those_of_all_pictures_not_means_of_batches():
    """Seven pictures in batches of four: the mean of the batches' accuracies would be another figure."""
    probs = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.9])
    assert evaluate(probs, torch.tensor([1, 1, 1, 1, 1, 1, 0])).loc["accuracy", "value"] == 4 / 7


def test_wilson_by_hand():
    """8 of 10 (Wilson 1927): centre (0.8 + z²/20) / (1 + z²/10), as worked on paper."""
    z = 1.959964
    centre = (0.8 + z**2 / 20) / (1 + z**2 / 10)
    reach = z / (1 + z**2 / 10) * np.sqrt(0.8 * 0.2 / 10 + z**2 / 400)
    assert wilson(8, 10) == pytest.approx((centre - reach, centre + reach), abs=1e-6)


def test_auc_interval_agrees_with_the_bootstrap():
    probs, labels = (tensor.numpy() for tensor in scores(600))
    auc, low, high = auc_interval(labels, probs)
    draws = [metrics.roc_auc_score(*resample(labels, probs, random_state=seed)) for seed in range(1000)]
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.006)
    assert auc == metrics.roc_auc_score(labels, probs)


def test_perfect_scores_have_no_nan():
    table = evaluate(torch.tensor([0.1, 0.2, 0.8, 0.9]), torch.tensor([0, 0, 1, 1]))
    assert (table["value"].drop("false_fake_rate") == 1).all()
    assert table.notna().all(axis=None)
    assert (table["low"].drop("false_fake_rate") < 1).all()


def test_subjects_add_up(standin, small_cnn):
    probs = predict(small_cnn, standin.test.pixels[:300])
    images = standin.test[:300]
    table = evaluation.accuracy_by_subject(probs, images, standin.subject_names)
    assert table["n"].sum() == 300
    total = (table["value"] * table["n"]).sum() / 300
    assert total == pytest.approx(evaluate(probs, images.labels).loc["accuracy", "value"])


def test_worst_errors_are_errors_worst_first():
    probs, labels = torch.tensor([0.9, 0.2, 0.7, 0.4]), torch.tensor([0, 0, 0, 1])
    assert evaluation.worst_errors(probs, labels, 10).tolist() == [0, 2, 3]


def test_records_replace_what_stood_there(tmp_path):
    path = tmp_path / "results.json"
    probs, labels = scores()
    evaluation.record("cnn", "test", evaluate(probs, labels), path)
    evaluation.record("cnn", "val", evaluate(probs, labels), path)
    evaluation.record("cnn", "test", evaluate(1 - probs, labels), path)
    records = evaluation.read_records(path)
    assert all(set(row) == {"model", "set", "metric", "value", "low", "high", "n"} for row in records)
    assert len(records) == 2 * len(evaluate(probs, labels))
    table = evaluation.records_table("test", path)
    assert table.loc[("cnn", "accuracy"), "value"] == pytest.approx(
        float(((1 - probs >= 0.5) == labels).double().mean())
    )
    evaluation.record("other", "test", evaluate(probs, labels), path)
    evaluation.forget("cnn", path, keep="te")
    assert {(row["model"], row["set"]) for row in evaluation.read_records(path)} == {("cnn", "test"), ("other", "test")}
    evaluation.forget("cnn", path)
    assert {row["model"] for row in evaluation.read_records(path)} == {"other"}


def test_check_slices_tells_another_model(standin, small_cnn, tmp_path):
    path, predictions = tmp_path / "results.json", tmp_path / "predictions.csv"
    test = standin.test[np.random.default_rng(0).permutation(len(standin.test))]
    probs = predict(small_cnn, test.pixels)
    evaluation.record("cnn", "test/slice", evaluate(probs[evaluation.SLICE], test.labels[evaluation.SLICE]), path)
    pd.DataFrame({"file": test.files, "cnn": probs}).to_csv(predictions, index=False)
    same = evaluation.check_slices({"cnn": small_cnn}, test, path, predictions)
    assert same["agree"].all()
    assert same.loc["cnn", "largest difference"] < 1e-5
    small_cnn.head.weight.data.neg_()
    small_cnn.head.bias.data.neg_()  # every verdict turned round
    other = evaluation.check_slices({"cnn": small_cnn}, test, path, predictions)
    assert not other["agree"].any()
    assert other.loc["cnn", "largest difference"] > 0.1


def test_a_source_is_judged_by_what_it_is():
    """By hand: three of four fakes found; each fake stands above both photographs, but one that is below one."""
    photographs = torch.tensor([0.2, 0.6])
    fakes = evaluation.evaluate_source(torch.tensor([0.9, 0.8, 0.7, 0.3]), 1, photographs)
    assert fakes["value"].to_dict() == pytest.approx({"recall": 3 / 4, "auc": 7 / 8})
    assert fakes["n"].tolist() == [4, 4]
    reals = evaluation.evaluate_source(torch.tensor([0.9, 0.1, 0.1]), 0, photographs)
    assert reals["value"].to_dict() == pytest.approx({"false_fake_rate": 1 / 3})


def test_the_ledger_has_one_line_for_the_same_weights(tmp_path):
    ledger, weights = tmp_path / "ledger.md", tmp_path / "cnn.safetensors"
    ledger.write_text("")
    for content in (b"one", b"one", b"two"):
        weights.write_bytes(content)
        evaluation.note_first_look(weights, "test", 0.98765, ledger=ledger)
    lines = ledger.read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("| test | 98.77 |")
    assert evaluation.was_scored(weights, "test", ledger=ledger)
    assert not evaluation.was_scored(weights, "unseen", ledger=ledger)
    assert not evaluation.was_scored(weights, "test", name="other", ledger=ledger)


def test_torn_records_are_told(tmp_path):
    path = tmp_path / "results.json"
    evaluation.record("cnn", "val", evaluation.metric_rows({"accuracy": (0.9, 0.8, 0.95, 100)}), path)
    assert [row["value"] for row in evaluation.read_records(path)] == [0.9]
    path.write_text(path.read_text()[:-20])
    with pytest.raises(evaluation.InputError, match="is not whole"):
        evaluation.read_records(path)
