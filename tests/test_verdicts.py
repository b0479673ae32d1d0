"""The rule of a verdict, each of its three conditions by itself, and the same for one picture and for many."""

import os

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from detector.corruptions import CORRUPTIONS
from detector.pictures import to_views
from detector.prediction import predict, predict_distance, predict_logits
from detector.verdicts import (
    MILD,
    files_in,
    judge,
    judge_all,
    judge_files,
    predict_views,
    probs_of,
    steady,
    views_of,
    write_verdicts,
)

NOISE = Image.effect_noise((64, 64), 50)


def test_verdict_says_what_the_model_says(small_cnn):
    """Of a picture that has parts, by a model that looks at them."""
    small_cnn.parts = True
    names = set()
    for bias in (-20.0, 20.0):
        small_cnn.head.bias.data.fill_(bias)
        verdict = judge(small_cnn, NOISE)
        assert torch.equal(verdict["views"], to_views(NOISE))
        assert verdict["prob"] == float(predict_views(small_cnn, verdict["views"], [10])[0])
        assert verdict["verdict"] == ("FAKE" if verdict["prob"] >= 0.5 else "REAL")
        names.add(verdict["verdict"])
    assert names == {"REAL", "FAKE"}


def test_no_verdict_where_it_is_not_confident(small_cnn):
    small_cnn.head.bias.data += 20  # always FAKE
    small_cnn.temperature.fill_(20)
    confidence = judge(small_cnn, NOISE)["prob"]
    for least, verdict in ((confidence - 1e-4, "FAKE"), (confidence + 1e-4, "not sure")):
        small_cnn.least_confidence.fill_(least)
        assert judge(small_cnn, NOISE)["verdict"] == verdict
    assert "chance" in judge(small_cnn, NOISE)["words"]


def test_no_verdict_where_the_picture_is_unlike_what_it_knows(small_cnn):
    small_cnn.head.bias.data += 20
    small_cnn.largest_distance.fill_(-1)
    verdict = judge(small_cnn, NOISE)
    assert verdict["verdict"] == "not sure"
    assert "unlike" in verdict["words"]


def test_no_verdict_where_a_small_change_turns_it(small_cnn, standin):
    """By hand: the verdict before and after each change."""
    pixels = standin.test.pixels[:200]
    small_cnn.head.bias.data -= predict_logits(small_cnn, pixels).median()  # many near 1/2
    table = judge_all(small_cnn, pixels)
    before = predict(small_cnn, pixels) >= 0.5
    same = torch.ones(len(pixels), dtype=torch.bool)
    for name in MILD:
        same &= (predict(small_cnn, CORRUPTIONS[name].apply(pixels, CORRUPTIONS[name].severities[0])) >= 0.5) == before
    assert table["steady"].tolist() == same.tolist()
    assert 0 < same.sum() < len(same)
    assert (table.loc[~same.numpy(), "verdict"] == "not sure").all()


def test_many_are_judged_as_one(small_cnn, standin):
    table = judge_all(small_cnn, standin.test.pixels[:40])
    assert torch.allclose(probs_of(table), predict(small_cnn, standin.test.pixels[:40]))
    assert table["distance"].to_numpy() == pytest.approx(
        predict_distance(small_cnn, standin.test.pixels[:40]).numpy(), abs=1e-6
    )
    alone = judge_all(small_cnn, standin.test.pixels[7:8]).iloc[0]
    assert alone["verdict"] == table.iloc[7]["verdict"]
    assert alone["prob"] == pytest.approx(table.iloc[7]["prob"], abs=1e-5)
    assert steady(small_cnn, standin.test.pixels[:40], probs_of(table)).tolist() == table["steady"].tolist()


def test_a_pictures_parts_count_as_much_as_the_whole(small_cnn, standin):
    """By hand, of a picture alone and one that has three parts."""
    views = standin.test.pixels[:5]
    logits = predict_logits(small_cnn, views)
    expected = torch.sigmoid(torch.stack([logits[0], logits[1] / 2 + logits[2:].mean() / 2]))
    assert torch.allclose(predict_views(small_cnn, views, [1, 4]), expected)
    assert torch.allclose(predict_views(small_cnn, views), torch.sigmoid(logits))


def test_parts_are_for_the_models_that_look_at_them(small_cnn):
    assert torch.equal(views_of(small_cnn, NOISE), to_views(NOISE)[:1])
    assert judge(small_cnn, NOISE)["prob"] == float(predict(small_cnn, to_views(NOISE)[:1])[0])
    small_cnn.parts = True
    assert torch.equal(views_of(small_cnn, NOISE), to_views(NOISE))


def test_pictures_with_and_without_parts_are_judged_together_as_alone(small_cnn, standin):
    views, counts = standin.test.pixels[:60], [1, 10, 10, 1, 10, 10, 1, 10, 7]
    together = judge_all(small_cnn, views, counts)
    alone = pd.concat([judge_all(small_cnn, own, [len(own)]) for own in views.split(counts)], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone, atol=1e-5)
    wholes = torch.stack([own[0] for own in views.split(counts)])
    assert together["distance"].to_numpy() == pytest.approx(predict_distance(small_cnn, wholes).numpy(), abs=1e-5)


def test_parts_too_must_stay_steady(small_cnn, standin):
    """Where the whole stays on its side and its parts turn, so may the verdict."""
    views = standin.test.pixels[:200]
    small_cnn.head.bias.data -= predict_logits(small_cnn, views).median()
    counts = [10] * 20
    probs = predict_views(small_cnn, views, counts)
    same = torch.ones(20, dtype=torch.bool)
    for name in MILD:
        changed = CORRUPTIONS[name].apply(views, CORRUPTIONS[name].severities[0])
        same &= (predict_views(small_cnn, changed, counts) >= 0.5) == (probs >= 0.5)
    assert steady(small_cnn, views, probs, counts).tolist() == same.tolist()
    assert 0 < same.sum() < 20


def test_a_bad_file_is_a_line_and_not_the_end(small_cnn, tmp_path):
    """More files than are read at a time, one of them no picture, one missing."""
    (tmp_path / "below").mkdir()
    (tmp_path / ".hidden").write_text("x")
    for row in range(40):
        NOISE.save(tmp_path / "below" / f"{row:02}.png")
    (tmp_path / "below" / "20.png").write_text("no picture")
    paths = files_in([tmp_path, tmp_path / "missing.png"])
    rows = list(judge_files(small_cnn, paths))
    assert [row["file"] for row in rows] == [str(path) for path in paths]
    assert len(rows) == 41
    bad = [row for row in rows if row["verdict"] == "error"]
    assert [row["file"] for row in bad] == [str(tmp_path / "below" / "20.png"), str(tmp_path / "missing.png")]
    assert "not a picture" in bad[0]["words"]
    assert "no such file" in bad[1]["words"]
    expected = judge(small_cnn, NOISE)
    assert rows[0]["verdict"] == expected["verdict"]
    assert rows[0]["prob"] == pytest.approx(expected["prob"], abs=1e-5)
    assert np.isnan(bad[0]["prob"])


def test_the_same_file_twice_is_two_rows(small_cnn, tmp_path):
    NOISE.save(tmp_path / "a.png")
    assert len(list(judge_files(small_cnn, [tmp_path / "a.png"] * 2))) == 2


def test_names_are_no_formulas(tmp_path):
    rows = [{"file": name, "verdict": "REAL", "prob": 0.1, "words": ""} for name in ("=1+1", "a.png")]
    write_verdicts(pd.DataFrame(rows), tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["file"].tolist() == ["'=1+1", "a.png"]


def test_names_that_are_no_text_are_written_all_the_same(tmp_path):
    rows = {"file": [os.fsdecode(b"caf\xe9.png"), "b.png"], "verdict": "REAL", "prob": 0.1, "words": ""}
    write_verdicts(pd.DataFrame(rows), tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["file"].str[:3].tolist() == ["caf", "b.p"]
