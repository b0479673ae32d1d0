"""The evidence panels, their captions, and the figure of a prediction."""

import pytest
import torch
from PIL import Image

from detector.data.images import CroppedImages
from detector.demo import panels
from detector.demo.panels import crop_panel, evidence_panels
from detector.evaluation.explanation import without_tta
from detector.inference.decision import Prediction
from detector.inference.predict import predict, predict_logits
from detector.models.cnn import CNN

NOISE = Image.effect_noise((64, 64), 50).convert("RGB")


def prediction(images: CroppedImages, full_logit: torch.Tensor) -> Prediction:
    crops = torch.full((len(images.crops),), 0.5)
    return Prediction("FAKE", 0.9, "", image=NOISE, images=images, full_logit=full_logit, crop_probabilities=crops)


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
    made = prediction(CroppedImages.without_crops(pixels[:1]), predict_logits(model, pixels[:1]))
    (_, where), (_, detail), crops = evidence_panels(model, made)
    assert f"scores the image as {class_}" in where and f"score of the image for {class_} drops" in detail
    assert crops == (None, "")


def test_with_crops_the_panels_name_the_class_of_the_full_image(flipped_differs):
    """The crops may have changed the class of the prediction."""
    model, pixels = flipped_differs
    own = predict(model, pixels[:1]).item()
    images = CroppedImages(pixels[:1], pixels[:1].expand(9, -1, -1, -1), torch.zeros(9, dtype=torch.int64))
    made = prediction(images, predict_logits(model, pixels[:1]))
    (_, where), (_, detail), (_, crops) = evidence_panels(model, made)
    class_ = "FAKE" if own >= 0.5 else "REAL"
    assert f"scores the full image as {class_}" in where and f"score of the full image for {class_} drops" in detail
    assert "P(FAKE) of each crop" in crops


@pytest.mark.parametrize("fake", [True, False])
def test_red_regions_raise_the_score_for_fake(small_cnn, monkeypatch, fake):
    """The attribution supports the predicted class; the map that is shown always supports FAKE."""
    attribution = torch.zeros(1, 32, 32)
    attribution[0, 28:, 28:] = 1
    shown = []
    monkeypatch.setattr(panels, "integrated_gradients", lambda *_, logits: attribution)
    monkeypatch.setattr(panels.figures, "map_over", lambda _image, map_: shown.append(map_))
    monkeypatch.setattr(panels.figures, "figure_image", lambda figure: figure)
    images = CroppedImages.without_crops(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    (_, where), *_ = evidence_panels(small_cnn, prediction(images, torch.tensor([fake - 0.5])))
    assert "most evidence comes from the lower right" in where
    assert torch.equal(shown[0], attribution[0] if fake else -attribution[0])


def test_the_crops_with_the_highest_and_lowest_probability_are_named():
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.97, 0.6, 0.05, 0.7])
    image, caption = crop_panel(probabilities, NOISE)
    assert "highest at the right (97%), and lowest at the bottom (5%)" in caption
    assert min(image.size) > 200
