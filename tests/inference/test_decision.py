"""The decision rule: each condition by itself, and equal results for one image and many."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from detector.core.console import UserError
from detector.data.corruptions import CORRUPTIONS
from detector.data.images import to_cifake_format
from detector.inference import decision
from detector.inference.decision import PERTURBATIONS, decide, explain_decision, predict_image
from detector.inference.predict import predict, predict_logits, predict_ood_scores

NOISE = Image.effect_noise((64, 64), 50)


def mildest(pixels: torch.Tensor, name: str) -> torch.Tensor:
    return CORRUPTIONS[name].apply(pixels, CORRUPTIONS[name].severities[0])


@pytest.fixture
def undecided(small_cnn, toy):
    """A model and images, many of which have a P(FAKE) near 1/2."""
    pixels = toy.test.pixels[:200]
    small_cnn.head.bias.data -= predict_logits(small_cnn, pixels).median()
    return small_cnn, pixels


def test_the_label_follows_the_probability(small_cnn):
    labels = set()
    for bias in (-20.0, 20.0):
        small_cnn.head.bias.data.fill_(bias)
        prediction = predict_image(small_cnn, NOISE)
        assert np.array_equal(prediction.pixels, to_cifake_format(NOISE)[None])
        assert torch.equal(prediction.logit, predict_logits(small_cnn, prediction.pixels))
        assert prediction.probability == decide(small_cnn, prediction.pixels)["probability"][0]
        assert prediction.label == ("FAKE" if prediction.probability >= 0.5 else "REAL")
        labels.add(prediction.label)
    assert labels == {"REAL", "FAKE"}


def test_abstains_below_the_confidence_threshold(small_cnn):
    small_cnn.head.bias.data += 20  # always FAKE
    small_cnn.temperature.fill_(20)
    confidence = predict_image(small_cnn, NOISE).probability
    for threshold, label in ((confidence - 1e-4, "FAKE"), (confidence + 1e-4, None)):
        small_cnn.confidence_threshold.fill_(threshold)
        prediction = predict_image(small_cnn, NOISE)
        assert prediction.label == label and prediction.confident == (label is not None)
    assert "not confident enough" in prediction.reason


def test_abstains_out_of_distribution(small_cnn):
    small_cnn.head.bias.data += 20
    small_cnn.ood_threshold.fill_(-1)
    prediction = predict_image(small_cnn, NOISE)
    assert prediction.label is None and not prediction.in_distribution
    assert "unlike the images that this model was trained on" in prediction.reason


def test_abstains_where_a_perturbation_changes_the_class(undecided):
    """Reference: the predicted class before and after each perturbation, one by one."""
    model, pixels = undecided
    table = decide(model, pixels)
    before = predict(model, pixels) >= 0.5
    same = torch.ones(len(pixels), dtype=torch.bool)
    for name in PERTURBATIONS:
        same &= (predict(model, mildest(pixels, name)) >= 0.5) == before
    assert table["stable"].tolist() == same.tolist()
    assert 0 < same.sum() < len(same)
    assert (table.loc[~same.numpy(), "label"] == "not sure").all()


def test_many_images_are_decided_as_one(small_cnn, toy):
    pixels = toy.test.pixels[:40]
    table = decide(small_cnn, pixels)
    assert list(table) == ["label", "probability", "ood_score", "confident", "in_distribution", "stable"]
    assert table["probability"].to_numpy() == pytest.approx(predict(small_cnn, pixels).numpy(), abs=1e-7)
    assert table["ood_score"].to_numpy() == pytest.approx(predict_ood_scores(small_cnn, pixels).numpy(), abs=1e-6)
    alone = decide(small_cnn, pixels[7:8]).iloc[0]
    assert alone["label"] == table.iloc[7]["label"]
    assert alone["probability"] == pytest.approx(table.iloc[7]["probability"], abs=1e-5)


def test_no_images_give_no_rows(small_cnn):
    assert len(decide(small_cnn, torch.empty(0, 3, 32, 32, dtype=torch.uint8))) == 0


def test_a_path_is_opened_once_and_each_image_scored_once(small_cnn, tmp_path, monkeypatch):
    """The image, three perturbations of it, and its OOD score: nothing is computed again for the explanation."""
    NOISE.save(tmp_path / "noise.png")
    opened, scored = [], []
    open_image, features = decision.open_image, small_cnn.features
    monkeypatch.setattr(decision, "open_image", lambda path: opened.append(path) or open_image(path))
    monkeypatch.setattr(small_cnn, "features", lambda pixels: scored.append(len(pixels)) or features(pixels))
    prediction = predict_image(small_cnn, str(tmp_path / "noise.png"))
    assert len(opened) == 1 and sum(scored) == 1 + 3 + 1
    assert prediction.probability == pytest.approx(predict_image(small_cnn, NOISE).probability)


def test_a_file_that_is_no_image_is_a_user_error(small_cnn, tmp_path):
    (tmp_path / "notes.png").write_text("no image")
    with pytest.raises(UserError):
        predict_image(small_cnn, tmp_path / "notes.png")


@pytest.mark.parametrize(
    ("row", "description"),
    [
        ({"label": "REAL", "probability": 0.005}, "almost certainly a photo"),
        ({"label": "FAKE", "probability": 0.9}, "probably generated by AI"),
        (
            {"in_distribution": False, "confident": False},
            "unlike the images that this model was trained on; possibly a photo",
        ),
        ({"confident": False, "probability": 0.6}, "possibly generated by AI, but the model is not confident enough"),
        ({"stable": False}, "possibly a photo, but the prediction changes when the image is slightly altered"),
    ],
)
def test_decisions_are_described_in_plain_words(row, description):
    default = {"label": "not sure", "probability": 0.1, "confident": True, "in_distribution": True, "stable": True}
    assert explain_decision({**default, **row}) == description
    assert explain_decision(pd.Series({**default, **row})) == description


def test_a_prediction_holds_plain_python_values(small_cnn):
    prediction = predict_image(small_cnn, NOISE)
    for name, type_ in (("probability", float), ("ood_score", float), ("confident", bool), ("stable", bool)):
        assert type(getattr(prediction, name)) is type_
    assert np.isfinite(prediction.ood_score)
