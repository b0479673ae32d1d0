"""The adversary keeps within its radius and does harm; the grid and the table read the records right."""

import pandas as pd
import pytest
import torch

from detector import evaluation, robustness
from detector.corruptions import CORRUPTIONS
from detector.evaluation import evaluate
from detector.prediction import predict
from detector.robustness import UNCHANGED, attack, check_corrupted, corrupt_all, corruption_grid, robustness_tables


@pytest.mark.parametrize("radius", [1, 2])
def test_the_adversary_stays_near_and_does_harm(standin, small_cnn, radius):
    images = standin.test[::2]
    attacked = attack(small_cnn, images.pixels, images.labels, radius)
    assert attacked.dtype == torch.uint8
    assert (attacked.int() - images.pixels.int()).abs().max() == radius
    error = (predict(small_cnn, images.pixels) - images.labels).abs()
    assert ((predict(small_cnn, attacked) - images.labels).abs() >= error - 1e-6).float().mean() > 0.9


def test_a_linear_models_worst_case_is_found():
    """Of a linear logit the worst picture within the radius is known: each value moved against its weight's sign."""

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0)))

        def forward(self, x):
            return (x * self.weight).sum((1, 2, 3)) / 10

    model, pixels = Linear(), torch.full((2, 3, 32, 32), 100, dtype=torch.uint8)
    attacked = attack(model, pixels, torch.tensor([0, 1]), 2)
    worst = 2 * model.weight.sign().int()
    assert torch.equal(attacked[0].int(), 100 + worst) and torch.equal(attacked[1].int(), 100 - worst)


@pytest.fixture
def recorded(standin, small_cnn, tmp_path):
    path = tmp_path / "results.json"
    corrupted = corrupt_all(standin.test.pixels[evaluation.SLICE])
    for set_, metrics in robustness_tables(small_cnn, standin.test, corrupted).items():
        evaluation.record("cnn", set_, metrics, path)
    return path


def test_records_hold_every_kind_and_step(standin, small_cnn, recorded):
    grid = corruption_grid("cnn", "accuracy", recorded)
    tenth = standin.test[evaluation.SLICE]
    blurred = CORRUPTIONS["blur"].apply(tenth.pixels, 1)
    expected = evaluate(predict(small_cnn, blurred), tenth.labels).loc["accuracy", "value"]
    assert grid.loc["blur, σ in pixels: 0.5 to 2", 3] == pytest.approx(expected, abs=1e-6)
    assert grid.shape == (len(CORRUPTIONS), 6) and grid[0].nunique() == 1
    check = check_corrupted({"cnn": small_cnn}, standin.test, "jpeg", 4, recorded)
    assert check.loc["cnn", "agree"] and check.loc["cnn", "n"] == len(tenth)


def test_the_table_names_the_worst_cell(tmp_path):
    path, made_up = tmp_path / "results.json", {UNCHANGED: 0.98, "robustness/pgd/1": 0.3, "robustness/pgd/2": 0.1}
    made_up |= {f"robustness/{name}/{step}": 0.9 for name in CORRUPTIONS for step in range(1, 6)}
    made_up |= {"robustness/blur/5": 0.6, "robustness/webp/4": 0.7}
    for set_, value in made_up.items():
        row = pd.DataFrame({"value": [value], "low": 0, "high": 1, "n": 9}, index=pd.Index(["accuracy"], name="metric"))
        evaluation.record("cnn", set_, row, path)
    row = robustness.robustness_table(["cnn"], path).loc["cnn"]
    assert row[["unchanged", "worst", "worst, kept out", "PGD 2/255"]].tolist() == [0.98, 0.6, 0.7, 0.1]
    assert row["which"] == "blur, σ in pixels (5)"
    assert row["mean"] == pytest.approx((0.9 * 53 + 0.6 + 0.7) / 55)
