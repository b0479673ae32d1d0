"""Each corruption against a reference, and increasing with severity."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from detector.data.corruptions import CORRUPTIONS, SEVERITIES, blur, corrupt, noise


@pytest.fixture(scope="module")
def pixels(toy) -> torch.Tensor:
    return toy.train.pixels[:48]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_severity_changes_more_and_keeps_the_original(pixels, name):
    before, larger = pixels.clone(), pixels[:2].repeat(1, 1, 2, 2)
    corrupted = [corrupt(pixels, name, severity) for severity in SEVERITIES]
    assert corrupt(larger, name, 5).shape == larger.shape
    assert all(images.shape == pixels.shape and images.dtype == torch.uint8 for images in corrupted)
    changes = [float((images.float() - pixels.float()).abs().mean()) for images in corrupted]
    assert changes == sorted(changes) and changes[0] > 0
    assert torch.equal(pixels, before)


def test_blur_is_scipys(pixels):
    expected = gaussian_filter(pixels[0].numpy().astype(np.float64), (0, 1.5, 1.5), mode="mirror", truncate=3.4)
    assert np.abs(blur(pixels[:1], 1.5)[0].numpy() - expected).max() < 1.5


def test_noise_has_its_deviation_and_is_reproducible(pixels):
    grey = torch.full_like(pixels, 128)
    assert noise(grey, 0.1).float().std() == pytest.approx(25.5, rel=0.02)
    assert torch.equal(noise(pixels, 0.1), noise(pixels, 0.1))
