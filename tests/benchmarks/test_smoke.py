"""Every study runs as a whole with `--smoke` and writes rows of the common schema, and nothing else."""

import importlib

import pytest

from benchmarks import study
from detector.core import files
from detector.core.console import run_command
from detector.evaluation.results import COLUMNS, KEY, parse_slice, read_results

EXPECTED = {  # name -> (experiments, metrics, keys of the slice)
    "ablation": ({"recipe components", "training images"}, {"accuracy"}, {"variant", "images"}),
    "faithfulness": ({"faithfulness"}, {"deletion", "insertion", "similarity_to_random_weights"}, {"map"}),
    "gpu_speed": ({"gpu speed"}, {"seconds", "accuracy"}, set()),
    "native": (
        {"native: leave out"},
        {"auc", "false_positive_rate", "recall", "coverage", "selective_accuracy", "calibration_error"},
        {"family", "photos", "variant", "style", "side", "images"},
    ),
    "memory": ({"memory"}, {"peak_memory"}, {"note"}),
    "mistakes": ({"mistakes"}, {"reported", "accuracy", "time relative to none"}, {"mistake"}),
    "edits": ({"edits"}, {"called_fake", "mean_probability"}, {"edit"}),
    "no_photo": ({"no photo"}, {"recall"}, {"kind"}),
    "ood": ({"ood scores"}, {"auc"}, {"score", "images"}),
    "scaling": (
        {"scaling"},
        {
            "rate, 1 process",
            "rate, 2 processes",
            "rate, from shards",
            "rate, reading alone",
            "efficiency of 2 processes",
            "efficiency from shards",
            "reading relative to training",
        },
        set(),
    ),
    "seeds": ({"seeds"}, {"accuracy"}, set()),
    "shortcuts": ({"shortcuts"}, {"auc", "auc_drop"}, {"stream", "property"}),
    "speed": (
        {"speed"},
        {
            "one image",
            "inference rate",
            "one image, PyTorch / ONNX Runtime",
            "batch of 64, PyTorch / ONNX Runtime",
            "test set",
            "share of its convolutions' speed",
            "training rate",
            "share of a large matrix product's speed",
            "large matrix product",
            "accuracy, mean",
            "accuracy, standard deviation",
            "accuracy, lowest",
            "whole training",
            "time relative to cnn",
            "MACs relative to cnn",
        },
        {"stage", "note"},
    ),
    "transfer": (
        {"equal time"},
        {"parameters", "MACs", "images", "seconds", "images_per_second", "accuracy", "loss"},
        {"budget"},
    ),
}


OPTIONAL = {"speed": "onnxscript", "scaling": "webdataset"}  # packages of requirements-scale.txt


@pytest.mark.parametrize("name", EXPECTED)
def test_smoke_run_writes_the_common_schema(name, toy, monkeypatch, tmp_path, capsys):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    monkeypatch.setattr(study, "make_toy_dataset", lambda note: toy)
    monkeypatch.setattr(files, "BUILD_DIR", tmp_path / "build")
    for folder in ("STUDIES_DIR", "MODELS_DIR", "ACCESS_LOG"):
        monkeypatch.setattr(files, folder, tmp_path / "committed")
    module = importlib.import_module(f"benchmarks.{name}")
    assert run_command(lambda: module.main(["--smoke"])) == 0, capsys.readouterr().err
    table = read_results(tmp_path / "build" / "smoke" / f"{name}.csv")
    experiments, metrics, keys = EXPECTED[name]
    assert list(table.columns) == COLUMNS
    assert set(table["experiment"]) == experiments
    assert set(table["metric"]) == metrics
    assert {key for text in table["slice"] for key in parse_slice(text)} == keys
    assert not table.duplicated(KEY).any()
    assert table.loc[table["metric"] != "accuracy, standard deviation", "value"].notna().all()
    assert not (tmp_path / "committed").exists()


@pytest.mark.parametrize("name", EXPECTED)
def test_help_names_the_question_in_one_line(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    printed = capsys.readouterr().out
    assert f"python -m benchmarks.{name}" in printed
    assert "--smoke" in printed
