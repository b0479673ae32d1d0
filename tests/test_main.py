"""The commands: bad input is one sentence and a status, finished work is kept."""

import argparse
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

from detector import __main__ as commands
from detector.core import files
from detector.core.console import run_command
from detector.inference import files as many


def test_a_folder_becomes_a_table(tmp_path):
    (tmp_path / "in").mkdir()
    Image.effect_noise((64, 64), 50).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("no image")
    command = [sys.executable, "-m", "detector", "predict", str(tmp_path / "in"), "--csv", str(tmp_path / "out.csv")]
    done = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 of 2 files could not be read" in done.stderr
    table = pd.read_csv(tmp_path / "out.csv")
    assert table.columns.tolist() == ["file", "label", "probability", "reason", "evidence", "model"]
    assert table["file"].str[-5:].tolist() == ["a.png", "b.png"]
    assert table.loc[0, "label"] in ("REAL", "FAKE", "not sure")
    assert f"{table.loc[0, 'label']}\t{tmp_path / 'in' / 'a.png'}" in done.stdout
    assert table.loc[1, "label"] == "error" and "not an image" in table.loc[1, "reason"]


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["report", "--budget", "huge"], {}, "budget 'huge'"),
        (["report", "--budget", "quick"], {"CIFAKE_DIR": "/nowhere"}, "CIFAKE_DIR"),
        (["predict", "/nowhere.png"], {}, "/nowhere.png: There is no such file"),
        (["evaluate", "nobody"], {}, "There is no model nobody"),
        (["predict", "image.png", "--weights", "/nowhere.safetensors"], {}, "There is no model at /nowhere"),
    ],
)
def test_bad_input_is_one_sentence_and_a_status(arguments, environment, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["detector", *arguments])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_predictions_before_an_interruption_are_kept(tmp_path, monkeypatch, capsys):
    def interrupted(models, paths, wanted):
        yield {"file": "a.png", "label": "REAL", "probability": 0.25, "reason": "probably a photo"}
        raise KeyboardInterrupt

    monkeypatch.setattr(many, "load_model", lambda path: None)
    monkeypatch.setattr(many, "predict_files", interrupted)
    options = argparse.Namespace(weights=None, paths=[tmp_path], csv=tmp_path / "out.csv")
    assert run_command(lambda: commands.predict(options)) == 130
    assert pd.read_csv(tmp_path / "out.csv")["file"].tolist() == ["a.png"]
    assert "interrupted" in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_reported_before_anything_is_scored(tmp_path, monkeypatch, capsys):
    scored = []
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(many, "load_model", lambda path: None)
    monkeypatch.setattr(many, "predict_files", lambda *given: scored.append(given) or [])
    options = argparse.Namespace(weights=None, paths=[tmp_path], csv=tmp_path / "file" / "out.csv")
    assert run_command(lambda: commands.predict(options)) == 1
    assert "out.csv" in capsys.readouterr().err
    assert not scored
