"""The makers: each learns, makes pictures of the right form, the same again, and keeps them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from detector import making
from detector.making import MAKERS, Photographs, made_pictures, to_pixels, to_signed


@pytest.fixture
def photographs(standin) -> torch.Tensor:
    return standin.train.pixels[standin.train.labels == 0][:200]


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(making, "MADE", 130)
    monkeypatch.setattr(making, "MAKERS", {name: replace(maker, steps=2) for name, maker in MAKERS.items()})


@pytest.mark.parametrize("name", MAKERS)
def test_pictures_are_made_kept_and_made_alike(name, photographs, brief, monkeypatch, tmp_path):
    pixels, rows = made_pictures(name, photographs, tmp_path / "first")
    assert pixels.shape == (130, 3, 32, 32)
    assert pixels.dtype == torch.uint8
    assert len(rows.unique()) == 130
    assert torch.equal(rows, rows.sort().values)
    again, _ = made_pictures(name, photographs, tmp_path / "second")
    assert torch.equal(pixels, again)
    monkeypatch.setattr(making, "_make", lambda *_: pytest.fail("made again"))
    kept, _ = made_pictures(name, photographs, tmp_path / "first")
    assert torch.equal(pixels, kept)


def test_of_other_photographs_they_are_made_anew(photographs, monkeypatch, tmp_path):
    nothing = {"pixels": torch.zeros(1), "rows": torch.zeros(1)}
    calls = []
    monkeypatch.setattr(making, "_make", lambda *_: calls.append(1) or nothing)
    for given in (photographs, photographs, photographs.flip(0)):
        made_pictures("denoiser", given, tmp_path)
    assert len(calls) == 2


def test_an_autoencoder_learns_to_give_back(photographs):
    maker = MAKERS["autoencoder_nearest"]
    torch.manual_seed(0)
    network, real = maker.network(), to_signed(photographs)
    before = F.l1_loss(network(real), real)
    after = F.l1_loss(maker.teach(network, Photographs(photographs, 0), 30)(real), real)
    assert after < 0.7 * before


def test_a_third_is_given_back_a_third_joined_a_third_drawn(photographs):
    """A network that changes nothing shows it: of the drawn, only the whole distribution is the photographs'."""

    class Nothing(torch.nn.Module):
        encoder = decoder = torch.nn.Identity()

    real = to_signed(photographs[:180])
    kept, joined, drawn = making.make_autoencoded(Nothing(), real, torch.Generator().manual_seed(0)).split(60)
    assert torch.equal(kept, real[:60])
    for one, first, second in zip(joined, real[60:120], real[60:120].roll(1, 0), strict=True):
        assert (one >= torch.minimum(first, second) - 1e-5).all()
        assert (one <= torch.maximum(first, second) + 1e-5).all()
        assert not torch.allclose(one, first)
    torch.testing.assert_close(drawn.mean(), real.mean(), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.std(0).mean(), real.std(0).mean(), atol=0.1, rtol=0)


def test_a_perfect_denoiser_gives_the_photograph_back(photographs):
    """With the true velocity each step lies on the line from noise to the picture, however few they are."""
    real = to_signed(photographs[:8])

    class Perfect(torch.nn.Module):
        def forward(self, x, time):
            return (x - real) / time[:, None, None, None]

    made = making.make_denoised(Perfect(), real, torch.Generator().manual_seed(0))
    torch.testing.assert_close(made, real, atol=1e-4, rtol=0)


def test_a_denoiser_learns(photographs):
    maker = MAKERS["denoiser"]
    torch.manual_seed(0)
    network, real = maker.network(), to_signed(photographs)
    noise, time = torch.randn_like(real), torch.full((len(real),), 0.5)

    def error(network) -> torch.Tensor:
        return F.mse_loss(network(torch.lerp(real, noise, 0.5), time), noise - real)

    before = error(network).item()
    assert error(maker.teach(network, Photographs(photographs, 0), 40)).item() < 0.8 * before


def test_pixels_there_and_back(photographs):
    back = to_pixels(to_signed(photographs[:10]))
    assert (back.int() - photographs[:10].int()).abs().float().mean() < 4  # a JPEG's error
