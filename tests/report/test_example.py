"""The figure of one prediction, and README's copy of it."""

import torch
from PIL import Image

from detector.core import files
from detector.demo import to_pil
from detector.report import example
from detector.report.example import prediction_figure, write_example


def test_the_figure_of_a_prediction_shows_its_probability(small_cnn):
    noise = to_pil(torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8))
    assert "P(FAKE)" in prediction_figure({"cnn": small_cnn}, noise).axes[2].get_title()


def test_the_figure_of_a_blank_image_names_the_reason(small_cnn):
    black = to_pil(torch.zeros(3, 32, 32, dtype=torch.uint8))
    assert prediction_figure({"cnn": small_cnn}, black).get_suptitle().startswith("no prediction: blank")


def test_the_example_is_written_whole(small_cnn, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "EXAMPLE", tmp_path / "example.png")
    monkeypatch.setattr(example, "released_models", lambda names: {"cnn": small_cnn})
    write_example()
    assert [path.name for path in tmp_path.iterdir()] == ["example.png"]
    assert Image.open(files.EXAMPLE).size[0] > 500
