"""Scoring the sources set aside: every crop once, rates by hand, and the log."""

import numpy as np
import pandas as pd
import pytest
import torch

from detector.core import files
from detector.core.console import UserError
from detector.data.native import HELD_OUT
from detector.evaluation import held_out
from detector.evaluation.held_out import evaluate_held_out, held_out_rows, score_held_out
from detector.evaluation.results import read_results
from detector.inference.prediction import Prediction
from detector.models.native import Native

SCORES = pd.DataFrame(
    {
        "label": [0, 0, 0, 0, 1, 1, 1, 1],
        "source": ["a", "a", "b", "b", "c", "c", "d", "d"],
        "probability": [0.1, 0.2, 0.3, 0.9, 0.8, 0.95, 0.99, 0.25],
        "decision": ["REAL", "REAL", None, "FAKE", None, "FAKE", "FAKE", "REAL"],
        "called_fake": [False, False, False, True, False, True, True, False],
    }
)


def test_rates_by_hand():
    rows = held_out_rows(SCORES, "native").set_index(["slice", "metric"])["value"]
    assert rows["", "false_positive_rate"] == 1 / 4 and rows["", "recall"] == 1 / 2
    assert rows["", "coverage"] == 6 / 8 and rows["", "selective_accuracy"] == 4 / 6
    assert rows["", "auc"] == 13 / 16
    assert rows["source=REAL/b", "false_positive_rate"] == 1 / 2 and ("source=REAL/b", "recall") not in rows
    assert rows["source=FAKE/c", "auc"] == 7 / 8 and rows["source=FAKE/d", "selective_accuracy"] == 1 / 2


def test_an_image_without_a_probability_counts_as_not_covered():
    blank = pd.DataFrame(
        {"label": [1], "source": ["d"], "probability": [np.nan], "decision": [None], "called_fake": [False]}
    )
    rows = held_out_rows(pd.concat([SCORES, blank], ignore_index=True), "native").set_index(["slice", "metric"])[
        "value"
    ]
    assert rows["", "recall"] == 2 / 5 and rows["", "coverage"] == 6 / 9 and rows["", "auc"] == 13 / 16


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A manifest of two crops of a source set aside, one reduced copy, and one of another source."""
    rows = [("a", HELD_OUT["REAL"][0], "REAL", "native"), ("b", HELD_OUT["FAKE"][0], "FAKE", "native"),
            ("c", HELD_OUT["FAKE"][0], "FAKE", "downscaled"), ("d", "another", "FAKE", "native")]  # fmt: skip
    manifest = pd.DataFrame(rows, columns=["file", "source", "class", "variant"])
    monkeypatch.setattr(held_out, "read_manifest", lambda: manifest)
    monkeypatch.setattr(files, "SOURCES_DIR", tmp_path)
    levels = {"a": 10, "b": 240}
    monkeypatch.setattr(held_out, "open_crop", lambda row: torch.full((3, 64, 64), levels[row.file], dtype=torch.uint8))
    monkeypatch.setattr(
        held_out, "first_prediction",
        lambda model, image: Prediction("FAKE" if np.mean(image) > 99 else "REAL", float(np.mean(image)) / 255, ""),
    )  # fmt: skip


def test_only_unscaled_crops_of_sources_set_aside_are_scored(sources):
    scores = score_held_out(Native())
    assert scores["decision"].tolist() == ["REAL", "FAKE"] and scores["called_fake"].tolist() == [False, True]


def test_rows_are_replaced_and_the_access_is_logged_once(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "RESULTS", tmp_path / "results.csv")
    monkeypatch.setattr(files, "ACCESS_LOG", tmp_path / "log.md")
    monkeypatch.setattr(files, "MODELS_DIR", tmp_path)
    (tmp_path / "log.md").touch()
    files.model_file("native").write_bytes(b"weights")
    held_out_rows(SCORES, "another").to_csv(files.RESULTS, index=False)
    for _ in range(2):
        evaluate_held_out("native", Native())
    table = read_results()
    assert len(table[table["model"] == "another"]) and not table.duplicated(["model", "slice", "metric"]).any()
    assert files.ACCESS_LOG.read_text().count("| native | ") == 1
    assert "| held_out | 100.00 |" in files.ACCESS_LOG.read_text()


def test_missing_sources_name_the_command(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "SOURCES_DIR", tmp_path / "none")
    with pytest.raises(UserError, match="python -m detector rebuild"):
        score_held_out(Native())
