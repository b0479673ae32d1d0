"""Folders of image files: unreadable files do not stop the rest, and the CSV is safe to open."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from sklearn.datasets import load_sample_image

from detector.inference.decision import predict_image
from detector.inference.files import COLUMNS, find_files, predict_files, write_predictions

NOISE = Image.effect_noise((64, 64), 50)
COUNT = 22


def test_an_unreadable_file_is_a_row_and_not_the_end(small_cnn, tmp_path):
    """One of the files is not an image, one is missing."""
    (tmp_path / "below").mkdir()
    for name in (".hidden", "Thumbs.db"):
        (tmp_path / name).write_text("x")
    NOISE.save(tmp_path / "below" / "00.png")
    data = (tmp_path / "below" / "00.png").read_bytes()
    for row in range(1, COUNT):
        (tmp_path / "below" / f"{row:02}.png").write_bytes(data)
    (tmp_path / "below" / "20.png").write_text("no image")
    paths = find_files([tmp_path, tmp_path / "missing.png"])
    rows = list(predict_files({"cnn": small_cnn}, paths))
    assert [row["file"] for row in rows] == [str(path) for path in paths]
    assert len(rows) == COUNT + 1
    failed = [row for row in rows if row["label"] == "error"]
    assert [row["file"] for row in failed] == [str(tmp_path / "below" / "20.png"), str(tmp_path / "missing.png")]
    assert "not an image" in failed[0]["reason"] and "no such file" in failed[1]["reason"]
    assert all(np.isnan(row["probability"]) for row in failed)
    expected = predict_image(small_cnn, NOISE)
    assert rows[0]["label"] == (expected.label or "not sure")
    assert rows[0]["probability"] == pytest.approx(expected.probability, abs=1e-5)
    assert rows[0]["reason"] == expected.reason


def test_a_frame_is_removed_and_evidence_in_the_file_is_a_column(small_cnn, tmp_path):
    photo = Image.fromarray(load_sample_image("flower.jpg"))
    metadata = PngInfo()
    metadata.add_text("parameters", "a flower, Steps: 20, Sampler: Euler, Seed: 1, Size: 640x427")
    ImageOps.expand(photo, 8, "black").save(tmp_path / "framed.png", pnginfo=metadata)
    Image.new("RGB", (200, 200), "red").save(tmp_path / "red.png")
    framed, red = predict_files({"cnn": small_cnn}, [tmp_path / "framed.png", tmp_path / "red.png"])
    assert list(framed) == COLUMNS
    assert framed["probability"] == pytest.approx(predict_image(small_cnn, photo).probability, abs=1e-6)
    assert framed["reason"].endswith("A black border of 8 pixels was removed.")
    assert "Steps: 20" in framed["evidence"]
    assert red["label"] == "not sure" and np.isnan(red["probability"]) and red["reason"].startswith("blank")


def test_the_same_file_twice_is_two_rows(small_cnn, tmp_path):
    NOISE.save(tmp_path / "a.png")
    assert len(list(predict_files({"cnn": small_cnn}, [tmp_path / "a.png"] * 2))) == 2


def test_file_names_are_not_formulas(tmp_path):
    rows = [{"file": name, "label": "REAL", "probability": 0.1, "reason": ""} for name in ("=1+1", "a.png")]
    write_predictions(pd.DataFrame(rows), tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["file"].tolist() == ["'=1+1", "a.png"]


def test_file_names_that_are_not_utf8_are_escaped(small_cnn, tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"no image")
    rows = predict_files({"cnn": small_cnn}, find_files([tmp_path]))
    write_predictions(pd.DataFrame(rows), tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["file"].tolist() == [str(tmp_path / "caf\\udce9.png")]
