"""What describes the data: each against numpy, or against pictures whose answer is known."""

import numpy as np
import pytest
import torch

from detector import audit
from detector.data import Images


def images_of(pixels: torch.Tensor, labels: list[int], subjects: list[int]) -> Images:
    files = np.array([str(row) for row in range(len(pixels))])
    return Images(pixels, torch.tensor(labels), torch.tensor(subjects), files)


@pytest.fixture
def images() -> Images:
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=rng)
    return images_of(pixels, [0, 1] * 6, [0, 0, 1, 1] * 3)


def wave(frequency: int, *, across: bool) -> torch.Tensor:
    """A grey picture of one wave, uint8 (1, 3, 32, 32)."""
    line = 127.5 + 100 * torch.cos(2 * torch.pi * frequency * torch.arange(32) / 32)
    plane = line.expand(32, 32)
    return (plane if across else plane.T).expand(1, 3, 32, 32).round().to(torch.uint8)


def test_some_of_each_are_the_first_of_their_subject_and_class(images):
    drawn = audit.some_of_each(images, subjects=2, count=2)
    assert drawn["REAL"].shape == (2, 2, 3, 32, 32)
    assert torch.equal(drawn["REAL"][1, 0], images.pixels[4])  # REAL of subject 0: rows 0, 4, 8
    assert torch.equal(drawn["FAKE"][0, 1], images.pixels[3])  # FAKE of subject 1: rows 3, 7, 11


def test_subject_means_are_numpys(images):
    means = audit.subject_means(images, subjects=2)
    assert np.allclose(means["FAKE"][1], images.pixels[[3, 7, 11]].numpy().mean(0) / 255, atol=1e-6)


def test_colours_are_a_histogram_by_channel(images):
    table = audit.colour_table(images, bins=16)
    green = table[(table["channel"] == "green") & (table["class"] == "FAKE")]
    expected, _ = np.histogram(images.pixels[1::2, 1].numpy(), bins=16, range=(-0.5, 255.5))
    assert np.allclose(green["share"], expected / expected.sum())
    assert green["level"].iloc[0] == 7.5


@pytest.mark.parametrize("frequency", [3, 6, 14])
def test_spectrum_of_a_wave_peaks_at_its_frequency(frequency):
    for across in (True, False):
        assert int(audit.radial_spectra(wave(frequency, across=across))[0].argmax()) + 1 == frequency


def test_mean_spectra_know_the_direction():
    pixels = torch.cat([wave(5, across=True), wave(5, across=False)])
    means = audit.mean_spectra(images_of(pixels, [0, 1], [0, 0]))
    assert divmod(int(means["REAL"].argmax()), 32) in {(16, 11), (16, 21)}
    assert divmod(int(means["FAKE"].argmax()), 32) in {(11, 16), (21, 16)}


def test_spectrum_differences_are_those_of_the_medians(images):
    table = audit.spectrum_differences(images, ("cat", "dog"))
    spectra = audit.radial_spectra(images.pixels).numpy()
    expected = np.median(spectra[[3, 7, 11]], axis=0) - np.median(spectra[[2, 6, 10]], axis=0)
    assert np.allclose(table.loc["dog"], expected, atol=1e-4)
    assert table.columns[-1] == "0.50"
