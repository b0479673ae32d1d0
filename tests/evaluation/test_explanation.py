"""Maps are high where the model reads the image, faithfulness agrees with hand-worked cases, bands are separated."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from detector.data.transforms import to_unit
from detector.evaluation.explanation import (
    ATTRIBUTIONS,
    BANDS,
    BASELINES,
    band_evidence,
    edge_map,
    faithfulness,
    map_similarity,
    occlusion,
    remove_band,
    tsne,
    without_tta,
)
from detector.models.cnn import CNN


class Corner(nn.Module):
    """Reads only the contrast of one corner, (0, 0) to (12, 12): FAKE where there is some."""

    def forward(self, x):
        corner = x[:, :, :12, :12]
        return 40 * (corner - corner.mean((2, 3), keepdim=True)).square().mean((1, 2, 3)) - 1


@pytest.fixture(scope="module")
def noisy() -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def corner_excess(maps: torch.Tensor) -> torch.Tensor:
    """Return the mean over the corner minus the mean elsewhere."""
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[:12, :12] = True
    return maps[:, inside].mean(1) - maps[:, ~inside].mean(1)


@pytest.mark.parametrize("name", ["occlusion", "integrated gradients"])
def test_a_map_is_high_where_the_model_reads_the_image(noisy, name):
    assert (corner_excess(ATTRIBUTIONS[name](Corner(), noisy)) > 0).all()


@pytest.mark.parametrize("name", [*ATTRIBUTIONS, *BASELINES])
def test_maps_have_the_images_shape_and_are_reproducible(small_cnn, noisy, name):
    attribute = {**ATTRIBUTIONS, **BASELINES}[name]
    maps = attribute(without_tta(small_cnn), noisy)
    assert maps.shape == (6, 32, 32) and maps.isfinite().all()
    assert torch.equal(maps, attribute(without_tta(small_cnn), noisy))


def test_grad_cam_is_gradient_times_features(small_cnn, noisy):
    """By hand at the stage's own resolution: the sum of the features, weighted by their mean gradients."""
    x, kept = to_unit(noisy), {}
    hook = small_cnn.stages[0].register_forward_hook(lambda _module, _inputs, output: kept.update(features=output))
    logits = small_cnn(x)
    hook.remove()
    (gradients,) = torch.autograd.grad(logits.sum(), kept["features"])
    weights = gradients.mean((2, 3), keepdim=True)
    expected = (weights * kept["features"]).sum(1) * logits.sign()[:, None, None]
    expected = nn.functional.interpolate(expected.detach()[:, None], size=(32, 32), mode="bilinear")[:, 0]
    maps = ATTRIBUTIONS["Grad-CAM, 16×16"](small_cnn, noisy)
    assert maps.numpy() == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-5)


def test_without_tta_shares_weights_and_leaves_the_model_unchanged():
    model = CNN(widths=(16, 16), stem=16, flip_tta=True).eval()
    single = without_tta(model)
    assert model.flip_tta and not single.flip_tta
    assert single.head.weight is model.head.weight


def test_a_correct_map_is_more_faithful_than_its_opposite(noisy):
    correct = torch.zeros(6, 32, 32)
    correct[:, :12, :12] = 1
    good, bad = faithfulness(Corner(), noisy, correct), faithfulness(Corner(), noisy, -correct)
    assert (good["deletion"] < bad["deletion"]).all()
    assert (good["insertion"] > bad["insertion"]).all()


def test_deletion_and_insertion_are_equal_for_a_model_that_ignores_the_image(noisy):
    """The predicted class's probability never changes, so both measures are equal to it."""

    class Blind(nn.Module):
        def forward(self, x):
            return torch.full((len(x),), -2.0)

    table = faithfulness(Blind(), noisy, occlusion(Corner(), noisy))
    assert table.to_numpy() == pytest.approx(1 / (1 + np.exp(-2)))


def test_similarity_equals_scipys():
    first, second = torch.rand(2, 5, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = [stats.spearmanr(a.flatten(), b.flatten())[0] for a, b in zip(first, second, strict=True)]
    assert map_similarity(first, second) == pytest.approx(expected, abs=1e-6)  # float32
    assert map_similarity(first, torch.ones_like(first)).tolist() == [0] * 5


def test_removing_a_band_removes_only_its_frequencies():
    wave = torch.cos(torch.arange(32) * 2 * torch.pi * 5 / 32)  # 5/32 cycles per pixel
    pixels = (128 + 100 * wave).round().to(torch.uint8).expand(1, 3, 32, 32)
    assert remove_band(pixels, 4 / 32, 6 / 32).std() < 0.01
    assert remove_band(pixels, 6 / 32, 8 / 32).sub(to_unit(pixels)).abs().max() < 0.01
    assert remove_band(pixels, 4 / 32, 6 / 32).mean() == pytest.approx(float(to_unit(pixels).mean()), abs=1e-3)


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


def test_tsne_keeps_clusters_together():
    rng = np.random.default_rng(0)
    clusters = np.repeat([[1.0, 0, 0, 0], [0, 0, 0, 1.0]], 40, axis=0)
    points = tsne(torch.from_numpy(clusters + 0.05 * rng.normal(size=clusters.shape)).float())
    assert points.shape == (80, 2)
    first, second = points[:40], points[40:]
    assert np.linalg.norm(first.mean(0) - second.mean(0)) > 2 * max(first.std(), second.std())
