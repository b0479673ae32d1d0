"""The part that studies share: rows that are kept, replaced and skipped."""

import argparse

import pandas as pd
import pytest

from benchmarks.study import Study, median_seconds, open_study, single, timed
from detector.core import files
from detector.core.console import UserError
from detector.data.dataset import Dataset
from detector.evaluation.results import result_rows
from detector.metrics.intervals import metric_table
from detector.training.recipes import FAST


@pytest.fixture
def study(monkeypatch, tmp_path) -> Study:
    monkeypatch.setattr(files, "STUDIES_DIR", tmp_path / "results")
    monkeypatch.setattr(files, "BUILD_DIR", tmp_path / "build")
    return Study("example")


def rows(seed: int | None, value: float, metric: str = "seconds") -> pd.DataFrame:
    key = {"experiment": "example", "model": "cnn", "set": "validation", "seed": seed, "device": "cpu, 1 threads"}
    return result_rows(metric_table({metric: single(value)}), **key)


def test_rows_are_kept_replaced_and_found(study):
    assert study.results().empty
    assert not study.has(seed=0)
    study.add(rows(0, 1.0))
    study.add(rows(1, 2.0))
    study.add(rows(0, 3.0))
    assert sorted(study.results()["value"]) == [2, 3]
    assert study.has(seed=0, model="cnn")
    assert not study.has(seed=2)
    assert not study.has(seed=0, model="transfer")


def test_a_row_without_seed_has_no_seed(study):
    study.add(rows(None, 1.0))
    assert study.has(model="cnn")
    assert not study.has(seed=0)


def test_rows_get_the_unit_of_their_metric(study):
    for metric in ("seconds", "loss", "MACs", "accuracy"):
        study.add(rows(0, 1.0, metric))
    units = study.results().set_index("metric")["unit"]
    assert units.to_dict() == {"seconds": "s", "loss": "nats", "MACs": "", "accuracy": "proportion"}


def test_rows_of_one_device_are_replaced(study):
    study.add(rows(0, 1.0))
    study.add(rows(0, 2.0).assign(device="another"))
    study.add(rows(1, 3.0).assign(device="another"), replaced_device="another")
    assert study.results()["value"].tolist() == [1, 3]


def test_smoke_run_has_small_parts_and_starts_without_rows(study):
    options = argparse.Namespace(smoke=True)
    smoke = open_study("example", options)
    smoke.add(rows(0, 1.0))
    assert smoke.path.parts[-3:] == ("build", "smoke", "example.csv")
    assert not study.path.exists()
    assert open_study("example", options).results().empty
    assert smoke.adapt(FAST).batch_size < FAST.batch_size == study.adapt(FAST).batch_size
    assert (smoke.repeats(5), study.repeats(5)) == (1, 5)
    parameters = [sum(p.numel() for p in one.new_cnn().parameters()) for one in (smoke, study)]
    assert parameters[0] < parameters[1] / 10


def test_a_study_needs_cifake(study):
    with pytest.raises(UserError, match="needs CIFAKE"):
        study.load_data()


def test_a_smoke_run_has_toy_data(toy, monkeypatch):
    monkeypatch.setattr("benchmarks.study.make_toy_dataset", lambda note: toy)
    data = Study("example", smoke=True).load_data()
    assert isinstance(data, Dataset)
    assert data.name == "toy"
    assert len(data.train) == 256


def test_a_timed_call_returns_its_result():
    result, seconds = timed(sorted, [1, 3, 2], reverse=True)
    assert result == [3, 2, 1]
    assert seconds > 0


def test_the_median_ignores_the_first_call():
    calls = []
    median_seconds(lambda: calls.append(1), 3)
    assert len(calls) == 4
