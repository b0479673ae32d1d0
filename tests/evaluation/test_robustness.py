"""The PGD attack stays within its radius and does harm; every corruption and severity has a slice."""

import pytest
import torch

from detector.data.corruptions import CORRUPTIONS
from detector.evaluation.robustness import FORTIETH, TENTH, corrupt_all, pgd_attack, robustness_rows
from detector.inference.predict import predict
from detector.metrics.classification import evaluate


@pytest.mark.parametrize("radius", [1, 2])
def test_the_attack_stays_within_its_radius_and_does_harm(toy, small_cnn, radius):
    images = toy.test[::25]
    attacked = pgd_attack(small_cnn, images.pixels, images.labels, radius)
    assert attacked.dtype == torch.uint8
    assert (attacked.int() - images.pixels.int()).abs().max() == radius
    error = (predict(small_cnn, images.pixels) - images.labels).abs()
    assert ((predict(small_cnn, attacked) - images.labels).abs() >= error - 1e-6).float().mean() > 0.9


def test_the_worst_case_of_a_linear_model_is_found():
    """It is known: each value moves by the radius against the sign of its weight."""

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0)))

        def forward(self, x):
            return (x * self.weight).sum((1, 2, 3)) / 10

    model, pixels = Linear(), torch.full((2, 3, 32, 32), 100, dtype=torch.uint8)
    attacked = pgd_attack(model, pixels, torch.tensor([0, 1]), 2)
    worst = 2 * model.weight.sign().int()
    assert torch.equal(attacked[0].int(), 100 + worst) and torch.equal(attacked[1].int(), 100 - worst)


def test_every_corruption_and_severity_is_scored(toy, small_cnn):
    test = toy.test[::4]
    tenth = test[TENTH]
    corrupted = corrupt_all(tenth.pixels)
    tables = robustness_rows(small_cnn, test, corrupted)
    cells = {f"every=10;corruption={name};severity={severity}" for name in CORRUPTIONS for severity in range(1, 6)}
    assert set(corrupted) == {"every=10"} | cells
    assert set(tables) == {"every=10", "every=40;pgd=1", "every=40;pgd=2"} | cells
    assert torch.equal(corrupted["every=10"], tenth.pixels)
    blurred = CORRUPTIONS["blur"].apply(tenth.pixels, 1)
    expected = evaluate(predict(small_cnn, blurred), tenth.labels)
    assert tables["every=10;corruption=blur;severity=3"].equals(expected)
    attacked = test[FORTIETH]
    pixels = pgd_attack(small_cnn, attacked.pixels, attacked.labels, 2)
    assert tables["every=40;pgd=2"].equals(evaluate(predict(small_cnn, pixels), attacked.labels))
    assert tables["every=40;pgd=2"].loc["accuracy", "n"] == len(attacked)
