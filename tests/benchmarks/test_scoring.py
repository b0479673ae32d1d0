"""The study of scoring on Ray: the page follows from the stored rows, and the rate is free of start-up."""

import tarfile

import pytest

from benchmarks import scoring
from benchmarks.study import Study
from detector.core import files
from detector.evaluation.results import read_results


def test_the_page_states_the_stored_rows():
    text = scoring.PAGE.read_text(encoding="utf-8")
    written = text.split(scoring.MARKS[0])[1].split(scoring.MARKS[1])[0].strip()
    assert written == scoring.section(read_results(files.STUDIES_DIR / "scoring.csv"))


def test_the_rate_is_the_slope_and_the_cost_follows_from_it(tmp_path, monkeypatch, capsys):
    """Runs of ten seconds plus an eighth of a second an image: eight images a second, whatever the start-up."""
    monkeypatch.setattr(files, "BUILD_DIR", tmp_path)

    def measure(model: str, side: int, images: int) -> dict[str, float]:
        return {"worker_seconds": 10 + images / 8, "worker_memory": 900.0, "driver_memory": 800.0}

    monkeypatch.setattr(scoring, "measure", measure)
    before = scoring.PAGE.read_bytes()
    scoring.main(["--smoke"])
    assert scoring.PAGE.read_bytes() == before
    table = Study("scoring", smoke=True).results().set_index("metric")
    assert table.loc["images_per_core_second", "value"] == pytest.approx(8)
    hours = 1e8 / 8 / 3600
    assert f"| `cnn` | 8.00 | {hours:,.0f} |" in capsys.readouterr().out


def test_shards_hold_every_image_once(tmp_path):
    scoring.write_shards(tmp_path, 48, 10)
    names = []
    for path in tmp_path.iterdir():
        with tarfile.open(path) as shard:
            names += shard.getnames()
    assert sorted(names) == sorted(f"{number}.jpg" for number in range(10))
