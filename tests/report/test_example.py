"""The figure of one prediction."""

import torch

from detector.demo import to_pil
from detector.report.example import prediction_figure


def test_the_figure_of_a_prediction_shows_its_probability(small_cnn):
    noise = to_pil(torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8))
    assert "P(FAKE)" in prediction_figure({"cnn": small_cnn}, noise).axes[2].get_title()


def test_the_figure_of_a_blank_image_names_the_reason(small_cnn):
    black = to_pil(torch.zeros(3, 32, 32, dtype=torch.uint8))
    assert prediction_figure({"cnn": small_cnn}, black).get_suptitle().startswith("no prediction: blank")
