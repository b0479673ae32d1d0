"""Maps point where a model looks, the measures of their faith are right by hand, and bands take out what they say."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from detector.explanation import (
    BANDS,
    MAPS,
    PLAIN,
    band_evidence,
    edge_map,
    faithfulness,
    map_similarity,
    occlusion,
    one_view,
    without_band,
)
from detector.models import CNN
from detector.preprocessing import to_unit


class Corner(nn.Module):
    """Looks at the contrast of one corner alone, (0, 0) to (12, 12): FAKE where there is some."""

    def forward(self, x):
        corner = x[:, :, :12, :12]
        return 40 * (corner - corner.mean((2, 3), keepdim=True)).square().mean((1, 2, 3)) - 1


@pytest.fixture(scope="module")
def noisy() -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def in_corner(maps: torch.Tensor) -> torch.Tensor:
    """Mean over the corner less the mean elsewhere."""
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[:12, :12] = True
    return maps[:, inside].mean(1) - maps[:, ~inside].mean(1)


@pytest.mark.parametrize("name", ["occlusion", "integrated gradients"])
def test_a_map_points_where_the_model_looks(noisy, name):
    assert (in_corner(MAPS[name](Corner(), noisy)) > 0).all()


@pytest.mark.parametrize("name", [*MAPS, *PLAIN])
def test_every_map_is_of_its_picture(small_cnn, noisy, name):
    make = {**MAPS, **PLAIN}[name]
    maps = make(one_view(small_cnn), noisy)
    assert maps.shape == (6, 32, 32) and maps.isfinite().all()
    again = make(one_view(small_cnn), noisy)
    assert torch.equal(maps, again)


def test_grad_cam_is_gradient_times_features(small_cnn, noisy):
    """By hand at the stage's own resolution: the features' sum, weighted by their mean gradient."""
    x, kept = to_unit(noisy), {}
    hook = small_cnn.stages[0].register_forward_hook(lambda _module, _inputs, output: kept.update(features=output))
    logits = small_cnn(x)
    hook.remove()
    (slopes,) = torch.autograd.grad(logits.sum(), kept["features"])
    expected = (slopes.mean((2, 3), keepdim=True) * kept["features"]).sum(1) * logits.sign()[:, None, None]
    expected = torch.nn.functional.interpolate(expected.detach()[:, None], size=(32, 32), mode="bilinear")[:, 0]
    assert MAPS["Grad-CAM, 16×16"](small_cnn, noisy).numpy() == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-5)


def test_one_view_shares_weights_and_leaves_the_model(noisy):
    model = CNN(widths=(16, 16), stem=16, mirror=True).eval()
    single = one_view(model)
    assert model.mirror and not single.mirror
    assert single.head.weight is model.head.weight


def test_the_right_map_is_more_faithful_than_its_opposite(noisy):
    right = torch.zeros(6, 32, 32)
    right[:, :12, :12] = 1
    good, bad = faithfulness(Corner(), noisy, right), faithfulness(Corner(), noisy, -right)
    assert (good["deletion"] < bad["deletion"]).all()
    assert (good["insertion"] > bad["insertion"]).all()


def test_a_model_that_sees_nothing_is_never_explained(noisy):
    """P(verdict) is the same whatever is taken away: deletion and insertion are it."""

    class Blind(nn.Module):
        def forward(self, x):
            return torch.full((len(x),), -2.0)

    table = faithfulness(Blind(), noisy, occlusion(Corner(), noisy))
    assert table.to_numpy() == pytest.approx(1 / (1 + np.exp(-2)))


def test_similarity_is_scipys():
    first, second = torch.rand(2, 5, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = [stats.spearmanr(a.flatten(), b.flatten())[0] for a, b in zip(first, second, strict=True)]
    assert map_similarity(first, second) == pytest.approx(expected)


def test_a_band_takes_out_its_own_frequencies_alone():
    wave = torch.cos(torch.arange(32) * 2 * torch.pi * 5 / 32)  # 5/32 cycles per pixel
    pixels = (128 + 100 * wave).round().to(torch.uint8).expand(1, 3, 32, 32)
    assert without_band(pixels, 4 / 32, 6 / 32).std() < 0.01
    assert without_band(pixels, 6 / 32, 8 / 32).sub(to_unit(pixels)).abs().max() < 0.01
    assert without_band(pixels, 4 / 32, 6 / 32).mean() == pytest.approx(float(to_unit(pixels).mean()), abs=1e-3)


def test_evidence_lies_in_the_band_that_the_model_reads():
    class Band(nn.Module):
        def forward(self, x):
            spectrum = torch.fft.rfft2(x).abs()
            return spectrum[:, :, 0, 5].mean(1) - 1

    noisy = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    evidence = band_evidence(Band(), noisy)
    assert list(evidence.columns) == pytest.approx(BANDS[1:])
    assert (evidence.abs().idxmax(axis=1) == 6 / 32).all()


def test_edges_are_where_the_brightness_changes():
    pixels = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    pixels[..., 16:] = 200
    (map_,) = edge_map(Corner(), pixels)
    assert map_[:, 15:17].min() > 10
    assert map_[:, :10].max() < 1e-3 and map_[:, 22:].max() < 1e-3
