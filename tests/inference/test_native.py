"""Decisions at native resolution, with a stand-alone encoder: the limits, agreement, OOD, drawings and stability."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from detector.inference import native
from detector.inference.choice import AUTOMATIC, choose_model
from detector.inference.decision import predict_image
from detector.inference.native import check_stability, predict_native
from detector.models.encoder import FEATURES
from detector.models.native import Native

BRIGHT, DARK = 200, 50


def embed(crops: torch.Tensor) -> torch.Tensor:
    """Return features whose first value is the brightness of the crop, from -1 to 1, and whose second is constant."""
    features = torch.zeros(len(crops), FEATURES)
    features[:, 0] = crops.float().mean((1, 2, 3)) / 127.5 - 1
    features[:, 1] = 1
    return features


@pytest.fixture
def model(monkeypatch):
    """A model for which bright images are FAKE and dark ones REAL."""
    monkeypatch.setattr("detector.models.native.embed", embed)
    model = Native().eval()
    model.head.weight.data.zero_()
    model.head.weight.data[0, 0] = 10
    model.head.bias.data.zero_()
    model.limits.copy_(torch.tensor([0.1, 0.9]))
    model.photo_head[-1] = -1
    return model


def image(level: int, size: tuple[int, int] = (300, 300)) -> Image.Image:
    noise = np.random.default_rng(0).integers(-20, 21, (*size[::-1], 3))
    return Image.fromarray((level + noise).astype(np.uint8))


def test_the_two_limits_give_three_decisions(model):
    assert [predict_native(model, image(level)).label for level in (DARK, 127, BRIGHT)] == ["REAL", None, "FAKE"]
    middle = predict_native(model, image(127))
    assert "not confident" in middle.reason and middle.probability == pytest.approx(0.5, abs=0.05)


def test_the_probability_is_that_of_the_mean_logit(model):
    prediction = predict_native(model, image(150, (2000, 1500)))
    assert len(prediction.crop_probabilities) == len(prediction.boxes) == 7
    logits = torch.logit(prediction.crop_probabilities)
    assert prediction.probability == pytest.approx(torch.sigmoid(logits.mean()).item(), abs=1e-5)


def test_crops_that_disagree_give_no_decision(model):
    pixels = np.concatenate([np.asarray(image(255 - 21, (1000, 500))), np.asarray(image(100, (1000, 500)))])
    prediction = predict_native(model, Image.fromarray(pixels))
    assert prediction.probability > 0.9 and prediction.label is None and not prediction.confident


def test_an_image_far_from_the_training_images_is_out_of_distribution(model):
    model.feature_bank[:, 2] = 1
    model.ood_threshold.fill_(0.5)
    prediction = predict_native(model, image(BRIGHT))
    assert prediction.label is None and not prediction.in_distribution and "unlike" in prediction.reason


def test_a_drawing_gets_a_probability_and_no_label(model):
    model.photo_head[-1] = 1
    prediction = predict_native(model, image(BRIGHT))
    assert prediction.label is None and prediction.reason == native.NO_PHOTO
    assert prediction.probability > 0.9


def test_a_decision_that_a_perturbation_changes_becomes_not_sure(model, monkeypatch):
    first = predict_native(model, image(BRIGHT))
    assert first.stable is None and check_stability(model, first).label == "FAKE"
    monkeypatch.setattr(native, "corrupt", lambda pixels, name, severity: 255 - pixels)
    unstable = check_stability(model, first)
    assert unstable.label is None and unstable.stable is False and "slightly altered" in unstable.reason


def test_predict_image_checks_everything(model):
    framed = Image.new("RGB", (340, 340))
    framed.paste(image(BRIGHT), (20, 20))
    prediction = predict_image(model, framed)
    assert prediction.label == "FAKE" and prediction.stable and "black border of 20 pixels" in prediction.frame
    assert math.isnan(predict_image(model, Image.new("RGB", (300, 300))).probability)


@pytest.mark.parametrize(
    ("size", "installed", "name"),
    [((127, 500), True, "transfer"), ((128, 128), True, "native"), ((4000, 3000), False, "cnn")],
)
def test_the_size_chooses_the_model(size, installed, name, monkeypatch, tmp_path):
    encoder = tmp_path / "encoder.onnx"
    if installed:
        encoder.touch()
    monkeypatch.setattr("detector.core.files.ENCODER", encoder)
    models = dict.fromkeys(["cnn", "transfer", "native"])
    chosen, sentence = choose_model(models, Image.new("RGB", size), AUTOMATIC)
    assert chosen == name and f"'{name}'" in sentence
