"""The evidence panels and their captions."""

import pytest
import torch

from detector.demo import panels
from detector.demo.panels import evidence_panels
from detector.evaluation.explanation import without_tta
from detector.inference.predict import predict, predict_logits
from detector.inference.prediction import Prediction
from detector.models.cnn import CNN


def prediction(pixels: torch.Tensor, logit: torch.Tensor) -> Prediction:
    return Prediction("FAKE", 0.9, "", pixels=pixels, logit=logit)


@pytest.fixture
def flipped_differs(toy) -> tuple[CNN, torch.Tensor]:
    """A model with flip TTA, and the images whose class differs with and without it, uint8 (N, 3, 32, 32)."""
    torch.manual_seed(0)
    model = CNN(widths=(16, 16), stem=16, flip_tta=True).eval()
    model.head.weight.data *= 100
    pixels = toy.test.pixels[:200]
    model.head.bias.data -= predict_logits(model, pixels).median()
    differs = (predict(model, pixels) >= 0.5) != (predict(without_tta(model), pixels) >= 0.5)
    assert differs.any()
    return model, pixels[differs]


def test_the_panels_name_the_class_that_the_model_scores(flipped_differs):
    """It is the class with flip TTA: with the other one, the colours would mean the opposite."""
    model, pixels = flipped_differs
    probability = predict(model, pixels[:1]).item()
    class_ = "FAKE" if probability >= 0.5 else "REAL"
    made = prediction(pixels[:1], predict_logits(model, pixels[:1]))
    (_, where), (_, detail) = evidence_panels(model, made)
    assert f"scores the image as {class_}" in where and f"score of the image for {class_} drops" in detail


@pytest.mark.parametrize("fake", [True, False])
def test_red_regions_raise_the_score_for_fake(small_cnn, monkeypatch, fake):
    """The attribution supports the predicted class; the map that is shown always supports FAKE."""
    attribution = torch.zeros(1, 32, 32)
    attribution[0, 28:, 28:] = 1
    shown = []
    monkeypatch.setattr(panels, "integrated_gradients", lambda *_, logits: attribution)
    monkeypatch.setattr(panels.figures, "map_over", lambda _image, map_: shown.append(map_))
    monkeypatch.setattr(panels.figures, "figure_image", lambda figure: figure)
    pixels = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    (_, where), *_ = evidence_panels(small_cnn, prediction(pixels, torch.tensor([fake - 0.5])))
    assert "most evidence comes from the lower right" in where
    assert torch.equal(shown[0], attribution[0] if fake else -attribution[0])
