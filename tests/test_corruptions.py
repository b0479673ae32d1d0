"""Each kind of change is what it says, gets worse by step, and trainings meet only those that they may."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from detector.corruptions import CORRUPTIONS, OFTEN, TRAINED, Corruption, blur, corrupt_some, noise


@pytest.fixture(scope="module")
def pixels(standin) -> torch.Tensor:
    return standin.train.pixels[:48]


def change(pixels: torch.Tensor, changed: torch.Tensor) -> float:
    return float((changed.float() - pixels.float()).abs().mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_step_changes_more_and_leaves_the_original(pixels, name):
    before, kind, larger = pixels.clone(), CORRUPTIONS[name], pixels[:2].repeat(1, 1, 2, 2)
    changed = [kind.apply(pixels, severity) for severity in kind.severities]
    assert kind.apply(larger, kind.severities[-1]).shape == larger.shape
    assert all(part.shape == pixels.shape and part.dtype == torch.uint8 for part in changed)
    sizes = [change(pixels, part) for part in changed]
    assert sizes == sorted(sizes) and sizes[0] > 0
    assert torch.equal(pixels, before)


def test_blur_is_scipys(pixels):
    picture = pixels[0].numpy().astype(np.float64)
    theirs = gaussian_filter(picture, (0, 1.5, 1.5), mode="mirror", truncate=3.4)
    ours = blur(pixels[:1], 1.5)[0].numpy()
    assert np.abs(ours - theirs).max() < 1.5


def test_noise_has_its_deviation_and_comes_again(pixels):
    grey = torch.full_like(pixels, 128)
    assert noise(grey, 0.1).float().std() == pytest.approx(25.5, rel=0.02)
    assert torch.equal(noise(pixels, 0.1), noise(pixels, 0.1))


def test_some_are_corrupted_and_the_same_for_the_same_state(pixels):
    many = pixels.repeat(40, 1, 1, 1)  # 120 groups
    once = corrupt_some(many, 0.6, np.random.default_rng(0))
    touched = [not torch.equal(a, b) for a, b in zip(once.split(16), many.split(16), strict=True)]
    assert np.mean(touched) == pytest.approx(0.6, abs=0.15)
    assert torch.equal(once, corrupt_some(many, 0.6, np.random.default_rng(0)))
    assert not torch.equal(once, corrupt_some(many, 0.6, np.random.default_rng(1)))
    assert torch.equal(corrupt_some(many, 0.0, np.random.default_rng(0)), many)


def test_trainings_meet_the_hard_kinds_as_often_as_told(pixels, monkeypatch):
    met = []
    spied = property(lambda kind: lambda part, _severity: met.append(kind.words) or part)
    monkeypatch.setattr(Corruption, "apply", spied, raising=False)
    corrupt_some(pixels.repeat(400, 1, 1, 1), 1.0, np.random.default_rng(0))
    counts = [met.count(kind.words) for kind in TRAINED]
    assert np.corrcoef(counts, OFTEN)[0, 1] > 0.95
    assert max(counts) / min(counts) == pytest.approx(max(OFTEN) / min(OFTEN), rel=0.25)  # two may not be the same


def test_trainings_meet_nothing_that_is_kept_out(pixels, monkeypatch):
    met = []
    spied = property(lambda kind: lambda part, _severity: met.append(kind) or part)
    monkeypatch.setattr(Corruption, "apply", spied, raising=False)
    corrupt_some(pixels.repeat(40, 1, 1, 1), 1.0, np.random.default_rng(0))
    assert {kind.words for kind in met} == {kind.words for kind in CORRUPTIONS.values() if kind.often}


def test_strong_changes_are_drawn_more_often_than_mild_ones(pixels, monkeypatch):
    drawn = []
    spied = property(lambda kind: lambda part, severity: drawn.append((severity, kind.severities)) or part)
    monkeypatch.setattr(Corruption, "apply", spied, raising=False)
    corrupt_some(pixels.repeat(40, 1, 1, 1), 1.0, np.random.default_rng(0))
    strength = np.array([(severity - steps[0]) / (steps[-1] - steps[0]) for severity, steps in drawn])
    assert strength.min() >= 0 and strength.max() <= 1
    assert strength.mean() == pytest.approx(2 / 3, abs=0.05)  # of the square root of an even draw
