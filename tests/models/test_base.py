"""Flip TTA, temperature, OOD score, auxiliary head and blocks of the detectors."""

from functools import partial

import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from detector.data.transforms import to_unit
from detector.inference.predict import predict
from detector.models.base import BANK_SIZE, NEIGHBOURS, WithAuxiliaryHead
from detector.models.cnn import CNN
from detector.models.summary import layer_table
from detector.models.transfer import Transfer

SMALL = partial(CNN, widths=(16, 16), stem=16)


@pytest.mark.parametrize("architecture", [CNN, Transfer])
def test_models_return_one_logit_per_image(architecture):
    with torch.no_grad():
        assert architecture().eval()(torch.rand(3, 3, 32, 32)).shape == (3,)


def test_normalisation_is_inside_the_model(small_cnn):
    pixels = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = torch.sigmoid(small_cnn(pixels.float() / 255))
    assert torch.allclose(predict(small_cnn, pixels), expected, atol=1e-6)


@pytest.mark.parametrize("architecture", [SMALL, Transfer])
def test_flip_tta_averages_the_logits_of_image_and_flip(architecture):
    torch.manual_seed(0)
    plain, averaging = architecture().eval(), architecture(flip_tta=True).eval()
    averaging.load_state_dict(plain.state_dict())
    pixels = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(averaging(pixels), (plain(pixels) + plain(pixels.flip(3))) / 2)
    torch.testing.assert_close(averaging(pixels), averaging(pixels.flip(3)))
    torch.testing.assert_close(averaging.train()(pixels), plain.train()(pixels))  # training stays as fast
    assert layer_table(averaging)["MACs"].sum() == 2 * layer_table(plain)["MACs"].sum()
    assert layer_table(averaging)["parameters"].equals(layer_table(plain)["parameters"])


def test_temperature_divides_the_logits(small_cnn):
    pixels = torch.rand(8, 3, 32, 32)
    with torch.no_grad():
        before = small_cnn(pixels)
        small_cnn.temperature.fill_(4.0)
        assert torch.allclose(small_cnn(pixels), before / 4)


def test_ood_score_equals_scikit_learns_cosine_distance(small_cnn, toy):
    pixels = to_unit(toy.train.pixels[:600])
    with torch.no_grad():
        features = small_cnn.features(pixels)
        small_cnn.feature_bank.copy_(torch.nn.functional.normalize(features[:BANK_SIZE], dim=1))
        scores = small_cnn.ood_score(pixels[BANK_SIZE:])
    reference = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine").fit(features[:BANK_SIZE].numpy())
    distances, _ = reference.kneighbors(features[BANK_SIZE:].numpy())
    assert scores.numpy() == pytest.approx(distances[:, -1], abs=1e-5)


def test_auxiliary_head_shares_the_features():
    torch.manual_seed(0)
    model = WithAuxiliaryHead(SMALL(), object_classes=3)
    pixels = torch.rand(4, 3, 32, 32)
    logits, auxiliary = model.eval()(pixels)
    torch.testing.assert_close(logits, model.detector(pixels))
    assert auxiliary.shape == (4, 6)
    (auxiliary * torch.arange(6)).sum().backward()
    assert model.auxiliary.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("architecture", "count"), [(CNN, 4), (Transfer, 9)])
def test_blocks_hold_every_parameter_but_the_heads_from_the_input_on(architecture, count):
    model = architecture()
    blocks = model.blocks()
    in_blocks = [id(p) for block in blocks for module in block for p in module.parameters()]
    assert len(blocks) == count
    assert in_blocks == [id(p) for name, p in model.named_parameters() if not name.startswith("head.")]
