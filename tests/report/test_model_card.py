"""The card and README's table are those of the committed results and weights."""

from functools import partial

import pandas as pd
import pytest

from detector.core import files
from detector.core.console import UserError
from detector.evaluation.results import read_results
from detector.metrics import summary
from detector.models.weights import NATIVE_RELEASED, RELEASED
from detector.report.model_card import model_card, source_limits
from detector.report.update import MARKS, update_results, write_released_table


def test_the_card_and_the_readme_have_the_stored_results(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(files.README.read_text(encoding="utf-8"), encoding="utf-8")
    write_released_table(page)
    assert page.read_text(encoding="utf-8") == files.README.read_text(encoding="utf-8")
    assert files.MODEL_CARD.read_text(encoding="utf-8") == model_card()


def test_the_card_reads_few_files(monkeypatch):
    read, paths = pd.read_csv, []
    monkeypatch.setattr(pd, "read_csv", lambda path, **options: (paths.append(path), read(path, **options))[1])
    model_card()
    assert sorted(paths) == sorted(
        [files.RESULTS, files.RESULTS, files.STUDIES_DIR / "native.csv", files.STUDIES_DIR / "not_released.csv"]
    )


def test_the_results_are_of_the_released_models_and_whole_sets():
    results = read_results().query("metric == 'accuracy' and slice == ''")
    assert set(results["model"]) == set(RELEASED)
    assert {path.stem for path in files.MODELS_DIR.glob("*.safetensors")} == {*RELEASED, *NATIVE_RELEASED}
    counts = results.groupby("set")["n"].unique().to_dict()
    assert counts["test"].tolist() == [20_000]
    assert counts["leak_free"].tolist() == [20_000 - len(pd.read_csv(files.LEAKS))]


def test_the_limits_of_a_model_are_its_own_and_empty_without_results():
    assert "REAL/tiny_imagenet" in source_limits("transfer")
    assert source_limits("cnn").splitlines()[2:] != source_limits("transfer").splitlines()[2:]
    assert source_limits("a model of one's own") == ""


def test_a_page_without_marks_is_refused(tmp_path):
    (tmp_path / "page.md").write_text("# Page\n")
    with pytest.raises(UserError, match="no place for the results"):
        write_released_table(tmp_path / "page.md")
    assert all(mark in files.README.read_text(encoding="utf-8") for mark in MARKS)


def test_an_unknown_model_is_refused_before_anything_is_scored():
    with pytest.raises(UserError, match="There is no model nobody"):
        update_results(["nobody"])


def test_a_smoke_evaluation_writes_only_into_build(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BUILD_DIR", tmp_path)
    monkeypatch.setattr(summary, "bootstrap_metrics", partial(summary.bootstrap_metrics, draws=20))
    before = files.RESULTS.read_bytes()
    assert update_results(smoke=True) == tmp_path / "smoke" / "results.csv"
    assert set(read_results(tmp_path / "smoke" / "results.csv")["model"]) == {"cnn"}
    assert files.RESULTS.read_bytes() == before
