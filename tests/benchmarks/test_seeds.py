"""The study of seeds: weights are trained once, and the first evaluation on the test set is recorded."""

from dataclasses import asdict, replace

import pytest

from benchmarks import seeds
from benchmarks.study import Study
from detector.core import files
from detector.models.cnn import CNN
from detector.models.weights import save_model
from detector.training.recipes import FAST, RELEASES


@pytest.fixture
def trained(monkeypatch, tmp_path, toy) -> list[int]:
    """Write untrained weights instead of training; return the seeds that were asked for."""
    asked = []

    def write(name, data, path, *, seed):
        asked.append(seed)
        save_model(CNN(widths=(16, 16), stem=16), path, recipe=asdict(replace(FAST, seed=seed)), data="toy")

    monkeypatch.setattr(seeds, "train_release", write)
    monkeypatch.setattr(Study, "load_data", lambda study: toy.sample(600))
    for name, folder in {"BUILD_DIR": "build", "STUDIES_DIR": "results", "MODELS_DIR": "models"}.items():
        monkeypatch.setattr(files, name, tmp_path / folder)
    monkeypatch.setattr(files, "ACCESS_LOG", tmp_path / "log.md")
    files.ACCESS_LOG.write_text("| date | model | weights | set | accuracy, % |\n")
    return asked


def test_seeds_are_trained_once_scored_on_three_sets_and_logged(trained, capsys):
    seeds.main(["cnn", "3", "4"])
    seeds.main(["cnn", "3", "4"])
    assert trained == [3, 4]
    table = Study("seeds").results()
    assert table["set"].tolist() == ["validation", "test", "leak_free"] * 2
    assert set(table["metric"]) == {"accuracy"}
    assert table["low"].notna().all() and (table["n"] > 0).all()
    assert "best seed of cnn on validation: " in capsys.readouterr().out
    log = files.ACCESS_LOG.read_text()
    assert log.count("| cnn |") == log.count("| test |") >= 1
    Study("seeds").path.unlink()
    seeds.main(["cnn", "3", "4"])
    assert trained == [3, 4]  # the weights exist
    assert files.ACCESS_LOG.read_text() == log


def test_released_weights_of_a_seed_are_not_trained_again(trained, capsys):
    recipe = asdict(RELEASES["cnn"].recipe)
    save_model(CNN(widths=(16, 16), stem=16), files.MODELS_DIR / "cnn.safetensors", recipe=recipe, data="toy")
    seeds.main(["cnn", str(recipe["seed"])])
    assert trained == []
    assert len(Study("seeds").results()) == 3
    assert not (files.BUILD_DIR / "seeds").exists()
