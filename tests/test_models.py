"""The networks: the contract of their inputs and outputs, ImageNet's weights, the file format."""

import json

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors import safe_open
from sklearn.neighbors import NearestNeighbors

from detector import models
from detector.anatomy import layer_table
from detector.models import BANK, CNN, NEIGHBOURS, Transfer, TwoTargets, load_model, save_model
from detector.prediction import predict
from detector.preprocessing import to_unit
from detector.progress import InputError


@pytest.fixture(scope="module")
def transfer() -> Transfer:
    return Transfer(pretrained=True).eval()


def test_lite0_logits_equal_the_published_implementations():
    published = torch.load(models.LITE0_WEIGHTS, map_location="cpu", weights_only=True)
    reference = EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(published)
    ours = models.timm.create_model("tf_efficientnet_lite0").eval()
    ours.load_state_dict(models.rename_weights(published, ours.state_dict()))
    pixels = torch.rand(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, got = reference((pixels * 255 - 127) / 128), ours((pixels * 255 - 127) / 128)
    assert expected.std() > 0.1
    assert (expected - got).abs().max() < 1e-4


def test_transfer_feeds_its_backbone_as_published(transfer):
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(transfer.features(pixels), transfer.backbone((pixels * 255 - 127) / 128), atol=1e-5)


def test_frozen_batch_norm_stays_frozen(transfer):
    norms = [m for m in transfer.train().modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    transfer(torch.rand(4, 3, 32, 32))
    transfer.eval()
    assert norms
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))


@pytest.mark.parametrize("make", [CNN, Transfer, lambda: Transfer(backbone="resnet18")])
def test_models_give_one_logit_a_picture(make):
    model = make().eval()
    with torch.no_grad():
        assert model(torch.rand(3, 3, 32, 32)).shape == (3,)


def test_normalisation_lives_inside(small_cnn):
    """The very pixels that training sees, unscaled by anything outside, are what predict gives to the model."""
    pixels = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = torch.sigmoid(small_cnn(pixels.float() / 255))
    assert torch.allclose(predict(small_cnn, pixels), expected, atol=1e-6)


def test_saved_model_loads_from_the_file_alone(small_cnn, tmp_path):
    path = tmp_path / "small.safetensors"
    small_cnn.temperature.fill_(2.0)
    small_cnn.half().float()  # as stored, in fp16
    save_model(small_cnn, path, recipe={"epochs": 3}, data="test")
    loaded = load_model(path)
    pixels = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    assert not loaded.training
    assert loaded.temperature == 2.0
    assert torch.allclose(predict(loaded, pixels), predict(small_cnn, pixels), atol=1e-6)
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    assert facts["architecture"] == "CNN"
    assert json.loads(facts["recipe"]) == {"epochs": 3}
    assert "torch" in facts["versions"]


def test_temperature_divides_the_logits(small_cnn):
    pixels = to_unit(torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8))
    with torch.no_grad():
        before = small_cnn(pixels)
        small_cnn.temperature.fill_(4.0)
        assert torch.allclose(small_cnn(pixels), before / 4)


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: b"no model", lambda data: b""])
def test_damaged_model_is_told(small_cnn, tmp_path, damage):
    path = tmp_path / "small.safetensors"
    save_model(small_cnn, path, recipe={}, data="test")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="not a whole model"):
        load_model(path)


def test_absent_model_is_told(tmp_path):
    with pytest.raises(InputError, match="there is no model"):
        load_model(tmp_path / "none.safetensors")


def test_the_mirror_image_is_judged_too():
    torch.manual_seed(0)
    plain, both = CNN(widths=(16, 16), stem=16).eval(), CNN(widths=(16, 16), stem=16, mirror=True).eval()
    both.load_state_dict(plain.state_dict())
    pixels = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(both(pixels), (plain(pixels) + plain(pixels.flip(3))) / 2)
    torch.testing.assert_close(both(pixels), both(pixels.flip(3)))
    torch.testing.assert_close(both.train()(pixels), plain.train()(pixels))  # training is not slowed down
    assert layer_table(both)["MACs"].sum() == 2 * layer_table(plain)["MACs"].sum()
    assert layer_table(both)["parameters"].equals(layer_table(plain)["parameters"])


def test_two_targets_share_the_features():
    torch.manual_seed(0)
    model = TwoTargets(CNN(widths=(16, 16), stem=16), subjects=3)
    pixels = torch.rand(4, 3, 32, 32)
    logits, kinds = model.eval()(pixels)
    torch.testing.assert_close(logits, model.detector(pixels))
    assert kinds.shape == (4, 6)
    (kinds * torch.arange(6)).sum().backward()
    assert model.kinds.weight.grad.abs().sum() > 0


def test_distance_is_scikit_learns(small_cnn, standin):
    pixels = to_unit(standin.train.pixels[:600])
    with torch.no_grad():
        features = small_cnn.features(pixels)
        small_cnn.bank.copy_(torch.nn.functional.normalize(features[:BANK], dim=1))
        ours = small_cnn.distance(pixels[BANK:])
    theirs = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine").fit(features[:BANK].numpy())
    distances, _ = theirs.kneighbors(features[BANK:].numpy())
    assert ours.numpy() == pytest.approx(distances[:, -1], abs=1e-5)
