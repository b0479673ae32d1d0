"""The commands lose nothing: what cannot be done is told before anything is changed, what was done is kept."""

import argparse
from functools import partial

import pandas as pd
import pytest

from detector import __main__ as commands
from detector import evaluation
from detector.progress import InputError, tell_errors


@pytest.mark.parametrize("same_weights", [True, False])
def test_records_of_unseen_pictures_stay_for_the_same_weights_alone(
    standin, small_cnn, tmp_path, monkeypatch, capsys, same_weights
):
    """Where the pictures are not there, what is on file of them is true as long as the weights are those."""
    records, ledger, weights = tmp_path / "results.json", tmp_path / "ledger.md", tmp_path / "small.safetensors"
    looked = evaluation.metric_rows({"recall": (0.9, 0.8, 0.95, 100)})
    for set_ in ("unseen/FAKE/a", "robustness/jpeg/9"):
        evaluation.record("small", set_, looked, records)
    ledger.write_text("")
    weights.write_bytes(b"weights")
    evaluation.note_first_look(weights, "unseen", 0.9, ledger=ledger)
    weights.write_bytes(b"weights" if same_weights else b"others")
    for name, where in {"forget": records, "record": records, "was_scored": ledger, "note_first_look": ledger}.items():
        given = {"path" if where is records else "ledger": where}
        monkeypatch.setattr(evaluation, name, partial(getattr(evaluation, name), **given))
    monkeypatch.setattr(evaluation, "PREDICTIONS", tmp_path / "predictions.csv")
    monkeypatch.setattr(evaluation, "read_predictions", lambda: pd.DataFrame(index=standin.test.files))
    monkeypatch.setattr(commands, "MODELS_DIR", tmp_path)
    monkeypatch.setattr(commands, "shipped_models", lambda: {"small": small_cnn})
    monkeypatch.setattr(commands, "load_cifake_only", lambda: standin)
    for name in ("load_unseen", "corrupt_all", "robustness_tables", "write_shipped_table", "write_model_card"):
        monkeypatch.setattr(commands, name, lambda *given: {})
    commands.run_evaluate(argparse.Namespace(models=["small"]))
    sets = {row["set"] for row in evaluation.read_records(records)}
    assert sets == {"val", "test", "leak_free", "test/slice"} | ({"unseen/FAKE/a"} if same_weights else set())
    why = "stays, since its weights are the same" if same_weights else "goes, since its weights are others"
    assert why in capsys.readouterr().out


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
