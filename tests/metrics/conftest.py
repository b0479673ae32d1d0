"""Simulated predictions that the tests of the metrics share."""

from collections.abc import Callable

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def scores() -> Callable[[int], tuple[torch.Tensor, torch.Tensor]]:
    """A function of n: P(FAKE), float32 (n,), and labels, int64 (n,), of a detector that is often correct."""

    def simulate(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(0)
        labels = rng.integers(2, size=n)
        probabilities = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * (labels - 0.5))))
        return torch.from_numpy(probabilities).float(), torch.from_numpy(labels)

    return simulate


@pytest.fixture(scope="session")
def arrays(scores) -> tuple[np.ndarray, np.ndarray]:
    """400 labels and their P(FAKE), float64."""
    probabilities, labels = scores(400)
    return labels.numpy(), probabilities.double().numpy()
