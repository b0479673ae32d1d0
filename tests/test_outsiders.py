"""What CIFAKE alone can tell of foreign generators: the network of neighbours, the one-class scores, the table."""

import numpy as np
import pytest
import torch

from benchmarks.outsiders import NeighbourCNN, _mahalanobis, _nearest, aucs, reconstructions
from detector.data import Images


def flat(pixels: torch.Tensor) -> np.ndarray:
    return pixels.flatten(1).double().numpy()


def test_the_network_of_neighbours_sees_no_square_that_is_all_alike():
    """Pictures of flat squares of two by two are all the same to it, and any pixel that differs is seen."""
    rng = torch.Generator().manual_seed(0)
    squares = torch.rand(2, 3, 16, 16, generator=rng).repeat_interleave(2, 2).repeat_interleave(2, 3)
    model = NeighbourCNN(widths=(16, 16), stem=16).eval()
    touched = squares[:1].clone()
    touched[0, 0, 5, 5] += 0.1
    with torch.no_grad():
        one, other = model.features(squares)
        assert torch.allclose(one, other, atol=1e-6)
        assert not torch.allclose(one, model.features(touched)[0], atol=1e-6)


def test_reconstructions_are_those_of_cifakes_photographs_alone():
    def images(*names: str) -> dict[str, Images]:
        ones = torch.ones(len(names), dtype=torch.int64)
        return {"train": Images(torch.zeros(len(names), 3, 32, 32, dtype=torch.uint8), ones, ones, np.array(names))}

    own = ["made/FAKE/made_autoencoder_nearest/train/REAL/1.jpg", "made/FAKE/made_autoencoder_nearest/7"]
    sources = {
        "FAKE/made_autoencoder_nearest": images(
            *own, "made/FAKE/made_autoencoder_nearest/sources/REAL/tiny_imagenet/2"
        ),
        "FAKE/made_gan_style": images("made/FAKE/made_gan_style/3"),
    }
    assert reconstructions(sources).files.tolist() == own


def test_the_nearest_is_the_fifth(standin):
    photographs, asked = standin.train.pixels[:60], standin.test.pixels[:7]
    expected = np.sort(np.linalg.norm(flat(asked)[:, None] - flat(photographs)[None], axis=2), axis=1)[:, 4]
    assert _nearest(flat, photographs)(asked) == pytest.approx(expected)


def test_mahalanobis_is_least_at_the_mean_and_grows_from_there(standin):
    score = _mahalanobis(lambda pixels: flat(pixels)[:, ::500], standin.train.pixels[:60])
    mean = standin.train.pixels[:60].float().mean(0)
    distances = score(torch.stack([mean, mean + 10, mean + 40]))
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances[2] == pytest.approx(16 * distances[1], rel=1e-4)  # it is squared


def test_aucs_are_the_share_of_pairs_in_order():
    pixels = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 32, 32)
    photographs, fakes = pixels[[0, 1, 3]], {"a": pixels[[2, 4]], "b": pixels[[0, 1]]}
    table = aucs(lambda some: flat(some)[:, 0], photographs, fakes).set_index("source")
    assert table["value"].tolist() == pytest.approx([5 / 6, 2 / 6])
    assert table["n"].tolist() == [2, 2]
