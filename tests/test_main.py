"""The commands lose nothing: what cannot be done is told before anything is changed, what was done is kept."""

import argparse

import pandas as pd
import pytest

from detector import __main__ as commands
from detector import evaluation
from detector.progress import InputError, tell_errors


def test_records_of_unseen_pictures_are_not_lost_where_these_are_not_there(monkeypatch):
    before = evaluation.RESULTS.read_bytes()
    monkeypatch.setattr(commands, "shipped_models", lambda: {"small": None})
    monkeypatch.setattr(commands, "load_cifake_only", lambda: None)
    monkeypatch.setattr(commands, "load_unseen", dict)
    with pytest.raises(InputError, match="unseen is empty"):
        commands.run_evaluate(argparse.Namespace(models=["small"]))
    assert evaluation.RESULTS.read_bytes() == before


def test_only_a_run_of_the_default_budget_replaces_the_committed_report():
    with pytest.raises(InputError, match="only such a one may replace it"):
        commands.run_report(argparse.Namespace(budget="quick", replace=True))


def test_what_was_judged_before_an_interruption_is_kept(tmp_path, monkeypatch, capsys):
    def interrupted(model, paths):
        yield {"file": "a.png", "verdict": "REAL", "prob": 0.25, "words": "probably a photograph"}
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "load_model", lambda path: None)
    monkeypatch.setattr(commands, "judge_files", interrupted)
    options = argparse.Namespace(weights=None, paths=[tmp_path], csv=tmp_path / "out.csv")
    assert tell_errors(lambda: commands.run_predict(options)) == 130
    assert pd.read_csv(tmp_path / "out.csv")["file"].tolist() == ["a.png"]
    assert "interrupted" in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_told_before_anything_is_judged(tmp_path, monkeypatch, capsys):
    judged = []
    monkeypatch.setattr(commands, "load_model", lambda path: None)
    monkeypatch.setattr(commands, "judge_files", lambda *given: judged.append(given) or [])
    options = argparse.Namespace(weights=None, paths=[tmp_path], csv=tmp_path / "nowhere" / "out.csv")
    assert tell_errors(lambda: commands.run_predict(options)) == 1
    assert "nowhere" in capsys.readouterr().err
    assert not judged
