"""Class statistics agree with numpy, or with images whose statistics are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from detector.core import files
from detector.data.dataset import Images, make_toy_dataset
from detector.data.folders import load_unseen
from detector.eda import statistics


def images_of(pixels: torch.Tensor, labels: list[int], object_class: list[int]) -> Images:
    names = np.array([f"train/{row}" for row in range(len(pixels))])
    return Images(pixels, torch.tensor(labels), torch.tensor(object_class), names, np.full(len(pixels), "train"))


@pytest.fixture
def images() -> Images:
    """Twelve images of noise, REAL and FAKE in turn, of two object classes."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=rng)
    return images_of(pixels, [0, 1] * 6, [0, 0, 1, 1] * 3)


def wave(frequency: int, *, horizontal: bool) -> torch.Tensor:
    """A grey image of one cosine wave, uint8 (1, 3, 32, 32)."""
    line = 127.5 + 100 * torch.cos(2 * torch.pi * frequency * torch.arange(32) / 32)
    plane = line.expand(32, 32)
    return (plane if horizontal else plane.T).expand(1, 3, 32, 32).round().to(torch.uint8)


def test_first_images_of_each_object_class(images):
    first = statistics.first_of_each(images, object_classes=2, count=2)
    assert first["REAL"].shape == (2, 2, 3, 32, 32)
    assert torch.equal(first["REAL"][1, 0], images.pixels[4])  # REAL images of object class 0 are rows 0, 4, 8
    assert torch.equal(first["FAKE"][0, 1], images.pixels[3])  # FAKE images of object class 1 are rows 3, 7, 11


def test_object_class_means_agree_with_numpy(images):
    means = statistics.object_class_means(images, object_classes=2)
    assert np.allclose(means["FAKE"][1], images.pixels[[3, 7, 11]].numpy().mean(0) / 255, atol=1e-6)


def test_colour_table_is_a_histogram_of_each_channel(images):
    table = statistics.colour_table(images, bins=16)
    green = table[(table["channel"] == "green") & (table["class"] == "FAKE")]
    expected, _ = np.histogram(images.pixels[1::2, 1].numpy(), bins=16, range=(-0.5, 255.5))
    assert np.allclose(green["share"], expected / expected.sum())
    assert green["level"].iloc[0] == 7.5


@pytest.mark.parametrize("source", ["toy", "CIFAKE"])
def test_swapped_classes_are_noticed(source, request):
    images = make_toy_dataset("").validation if source == "toy" else request.getfixturevalue("real_cifake").validation
    assert "expected order" in statistics.check_class_order(images)
    assert statistics.check_class_order(replace(images, labels=1 - images.labels)).startswith("Warning: ")


@pytest.mark.parametrize("frequency", [3, 6, 14])
@pytest.mark.parametrize("horizontal", [True, False])
def test_radial_spectrum_of_a_wave_peaks_at_its_frequency(frequency, horizontal):
    assert int(statistics.radial_spectra(wave(frequency, horizontal=horizontal))[0].argmax()) + 1 == frequency


def test_mean_spectra_have_a_direction():
    pixels = torch.cat([wave(5, horizontal=True), wave(5, horizontal=False)])
    means = statistics.mean_spectra(images_of(pixels, [0, 1], [0, 0]))
    assert divmod(int(means["REAL"].argmax()), 32) in {(16, 11), (16, 21)}
    assert divmod(int(means["FAKE"].argmax()), 32) in {(11, 16), (21, 16)}


def test_mean_spectra_do_not_depend_on_the_chunk(images, monkeypatch):
    expected = statistics.mean_spectra(images)
    monkeypatch.setattr(statistics, "CHUNK", 4)
    assert torch.allclose(statistics.mean_spectra(images)["FAKE"], expected["FAKE"], atol=1e-4)


def test_spectrum_differences_are_differences_of_medians(images):
    table = statistics.spectrum_differences(images, ("cat", "dog"))
    spectra = statistics.radial_spectra(images.pixels).numpy()
    expected = np.median(spectra[[3, 7, 11]], axis=0) - np.median(spectra[[2, 6, 10]], axis=0)
    assert np.allclose(table.loc["dog"], expected, atol=1e-4)
    assert table.columns[-1] == "0.50"


def test_spectrum_table_has_quartiles(images):
    table = statistics.spectrum_table(images)
    fake = table[table["class"] == "FAKE"]
    assert np.allclose(fake["median"], np.median(statistics.radial_spectra(images.pixels[1::2]).numpy(), axis=0))
    assert ((table["low"] < table["median"]) & (table["median"] < table["high"])).all()
    assert fake["frequency"].iloc[-1] == 0.5


def smooth_image(width: int, height: int, seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def unseen(tmp_path, monkeypatch) -> Images:
    """A REAL source with images of three sizes, and a FAKE source whose first two images are equal."""
    monkeypatch.setattr(files, "UNSEEN_DIR", tmp_path / "unseen")
    images = {f"REAL/camera/{seed}": (*size, seed) for seed, size in enumerate([(64, 48), (40, 40), (50, 500)])}
    images |= {f"FAKE/generator/{seed}": (48, 48, 10 + max(seed, 1)) for seed in range(4)}
    for name, (width, height, seed) in images.items():
        path = files.UNSEEN_DIR / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        smooth_image(width, height, seed).save(path)
    return load_unseen()


def high_frequencies(pixels: np.ndarray) -> float:
    """Reference: mean level in dB of the rings from 9 to 16 cycles of the windowed spectrum; median over images."""
    luma = np.tensordot([0.299, 0.587, 0.114], pixels.astype(float), (0, 1))  # (N, 32, 32)
    window = np.sin(np.pi * np.arange(32) / 32) ** 2
    axis = np.minimum(np.arange(32), 32 - np.arange(32))
    radius = np.round(np.hypot(axis[:, None], axis))
    levels = []
    for row in luma:
        power = np.abs(np.fft.fft2((row - row.mean()) * np.outer(window, window))) ** 2
        levels.append(np.mean([10 * np.log10(power[radius == k].mean()) for k in range(9, 17)]))
    return np.median(levels)


def test_description_of_sources_agrees_with_numpy(unseen, images):
    table = statistics.describe_sources(unseen, images)
    assert table.index.tolist() == ["REAL/reference", "FAKE/reference", "REAL/camera", "FAKE/generator"]
    assert table["class"].tolist() == ["REAL", "FAKE"] * 2
    assert table["images"].tolist() == [6, 6, 3, 4]
    assert table["size (pixels)"].tolist() == ["32×32", "32×32", "40×40 to 50×500", "48×48"]
    assert table["duplicates"].tolist() == [0, 0, 0, 2]
    assert table["high frequencies (dB)"].iloc[0] == 0
    noise = high_frequencies(images.pixels[::2].numpy())
    for (_, source), own in unseen.by_source().items():
        row, pixels = table.loc[f"{'REAL' if source == 'camera' else 'FAKE'}/{source}"], own.pixels.numpy()
        luma = np.tensordot([0.299, 0.587, 0.114], pixels.astype(float), (0, 1))
        assert np.allclose(row[["red", "green", "blue"]].astype(float), pixels.mean((0, 2, 3)), atol=1e-3)
        assert np.isclose(row["standard deviation"], luma.std(), atol=1e-3)
        assert np.isclose(row["high frequencies (dB)"], high_frequencies(pixels) - noise, atol=0.02)
        assert row["high frequencies (dB)"] < -10  # smooth images have less power than noise


def test_description_without_sources_has_the_reference_only(images):
    assert statistics.describe_sources(images[:0], images).index.tolist() == ["REAL/reference", "FAKE/reference"]
