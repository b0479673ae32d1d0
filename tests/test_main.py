"""The commands: bad input is one sentence and a status, finished work is kept."""

import argparse
import os
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

from detector import __main__ as commands
from detector.core import files
from detector.core.console import UserError, run_command
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
    options = argparse.Namespace(weights=None, paths=[tmp_path], csv=tmp_path / "out.csv", ray=None, out=None)
    assert run_command(lambda: commands.predict(options)) == 130
    assert pd.read_csv(tmp_path / "out.csv")["file"].tolist() == ["a.png"]
    assert "interrupted" in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_reported_before_anything_is_scored(tmp_path, monkeypatch, capsys):
    scored = []
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(many, "load_model", lambda path: None)
    monkeypatch.setattr(many, "predict_files", lambda *given: scored.append(given) or [])
    options = argparse.Namespace(weights=None, paths=[tmp_path], csv=tmp_path / "file" / "out.csv", ray=None, out=None)
    assert run_command(lambda: commands.predict(options)) == 1
    assert "out.csv" in capsys.readouterr().err
    assert not scored


@pytest.mark.parametrize("arguments", [["{a}", "--csv", "{a}"], ["--csv", "{a}", "{b}"], ["{a}", "--csv", "{notes}"]])
def test_no_file_but_an_earlier_table_is_overwritten(tmp_path, monkeypatch, capsys, arguments):
    paths = {name: tmp_path / f"{name}.png" for name in ("a", "b")} | {"notes": tmp_path / "notes.csv"}
    for path in paths.values():
        path.write_bytes(b"whatever")
    monkeypatch.setattr(sys, "argv", ["detector", "predict", *(text.format_map(paths) for text in arguments)])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 1
    assert "exists and is not a table of predictions" in capsys.readouterr().err
    assert all(path.read_bytes() == b"whatever" for path in paths.values())


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(UserError, match="exists and is not a table of predictions"):
        many.predict_paths([tmp_path], csv=tmp_path)


def test_an_earlier_table_in_the_folder_is_replaced_and_not_scored(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"image")
    scored = []
    monkeypatch.setattr(many, "load_model", lambda path: None)
    monkeypatch.setattr(many, "predict_files", lambda models, paths, wanted: scored.append(paths) or [])
    for _ in range(2):
        many.predict_paths([tmp_path], tmp_path / "weights", tmp_path / "out.csv")
    assert scored == [[tmp_path / "a.png"]] * 2


@pytest.mark.parametrize("port", ["99999", "0", "-1", "x"])
def test_a_port_that_does_not_exist_is_refused(port, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["detector", "demo", "--port", port])
    with pytest.raises(SystemExit):
        commands.main()
    assert "argument --port" in capsys.readouterr().err


def test_a_name_outside_the_encoding_of_the_output_is_escaped(tmp_path):
    (tmp_path / "фото.png").write_text("no image")
    command = [sys.executable, "-m", "detector", "predict", str(tmp_path)]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, cwd=files.ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"\\u0444\\u043e\\u0442\\u043e.png: The file is not an image" in done.stderr
    assert b"Traceback" not in done.stderr
