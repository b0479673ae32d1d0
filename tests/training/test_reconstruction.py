"""Autoencoders: the published tensors fit, shapes are kept, and a missing file is named."""

import pytest
import torch
from safetensors.torch import save_file

from detector.core import files
from detector.core.console import UserError
from detector.training.reconstruction import AUTOENCODERS, _decoder, _encoder, load_autoencoder, reconstruct


@pytest.fixture(autouse=True)
def fresh():
    load_autoencoder.cache_clear()
    yield
    load_autoencoder.cache_clear()


@pytest.fixture
def random_weights(tmp_path, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(files, "AUTOENCODERS_DIR", tmp_path)
    for part, network in (("encoder", _encoder(4)), ("decoder", _decoder(4))):
        save_file(network.state_dict(), tmp_path / f"taesd_{part}.safetensors")


def test_sides_are_rounded_down_to_multiples_of_eight(random_weights):
    pixels = torch.randint(0, 256, (2, 3, 35, 50), dtype=torch.uint8)
    made = reconstruct(pixels, "taesd")
    assert made.shape == (2, 3, 32, 48) and made.dtype == torch.uint8
    assert torch.equal(made, reconstruct(pixels, "taesd"))
    noisy = reconstruct(pixels, "taesd", noise=0.5, seed=1)
    assert not torch.equal(noisy, made) and torch.equal(noisy, reconstruct(pixels, "taesd", noise=0.5, seed=1))


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "AUTOENCODERS_DIR", tmp_path)
    with pytest.raises(UserError, match="taesd3_encoder"):
        reconstruct(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "taesd3")


@pytest.mark.skipif(not files.AUTOENCODERS_DIR.is_dir(), reason="the autoencoders are not installed")
@pytest.mark.parametrize("name", AUTOENCODERS)
def test_a_published_autoencoder_reconstructs_a_photo(name):
    from sklearn.datasets import load_sample_image

    photo = torch.from_numpy(load_sample_image("flower.jpg")[100:228, 200:328].copy()).permute(2, 0, 1)[None]
    assert (reconstruct(photo, name).float() - photo.float()).abs().mean() < 16
