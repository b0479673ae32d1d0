"""Tables of the models at native resolution, from stores that the test writes."""

import pandas as pd
import pytest
import torch

from benchmarks.native import smoke_embeddings
from detector.core import files
from detector.evaluation.results import COLUMNS, slice_of, write_results
from detector.models.native import Native
from detector.report import native
from detector.training.embeddings import read_embeddings


def row(metric: str, value: float, slice_: str = "", model: str = "native", set_: str = "development") -> dict:
    known = {"metric": metric, "value": value, "low": value - 0.1, "high": value + 0.1, "n": 9, "slice": slice_}
    return dict.fromkeys(COLUMNS, "") | known | {"seed": None, "model": model, "set": set_}


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Write rows to the file of a study, or to that of the released models."""
    monkeypatch.setattr(files, "STUDIES_DIR", tmp_path)
    monkeypatch.setattr(files, "RESULTS", tmp_path / "results.csv")

    def write(name: str, rows: list[dict]) -> None:
        write_results(pd.DataFrame(rows), tmp_path / f"{name}.csv")

    return write


def test_sources_models_treatments_and_slices(store):
    store(
        "native",
        [
            *[row(metric, 0.9, model=model) for metric in native.METRICS for model in ("native", "other")],
            row("auc", 0.8, "family=flux"), row("recall", 0.5, "family=flux"),
            row("auc", 0.7, "photos=phones"), row("false_positive_rate", 0.2, "photos=phones"),
            row("auc", 0.6, "variant=JPEG 65"), row("auc", 0.1, "variant=JPEG 65;family=flux"),
            row("auc", 0.75, "style=render"), row("auc", 0.85, "side=0 to 599"),
        ],
    )  # fmt: skip
    assert native.native_models_table().index.tolist() == ["native", "other"]
    table = native.left_out_sources().set_index("name")
    assert table.loc["flux", "recall"] == 0.5 and table.loc["phones", "FPR"] == 0.2
    assert table.loc["phones", "left out"] == "photo source" and table.loc["flux", "value"] == 0.8
    assert native.left_out_table().loc["flux"].tolist() == ["0.8000 (0.7000 – 0.9000)", "–", "50.0%"]
    assert native.treatments_table().index.tolist() == ["JPEG 65"]
    assert native.slices_panels()["AUC"].index.tolist() == ["style render", "long side 0 to 599"]


def test_the_sources_set_aside_have_a_row_for_each_model_and_source(store):
    rows = [
        row("auc", 0.9, slice_, model, "held_out") for model in ("native", "transfer") for slice_ in ("", "source=a")
    ]
    store("results", [*rows, row("auc", 0.5, set_="test")])
    table = native.held_out_table()
    assert table.index.tolist() == [("native", "all"), ("native", "a"), ("transfer", "all"), ("transfer", "a")]


def test_kinds_and_streams(store):
    store("no_photo", [row("recall", 0.9, slice_of(kind="charts"))])
    store("shortcuts", [row("auc", 0.6, "stream=raw files"), row("auc_drop", 0.1, "stream=raw files;property=width")])
    store("edits", [row("called_fake", 0.2, "edit=none")])
    assert native.edits_table().columns.tolist() == ["called FAKE", "photos"]
    assert native.no_photo_table().loc["charts", "value"] == 0.9
    assert native.shortcut_streams().index.tolist() == ["raw files"]


def test_images_are_counted_once_for_each_group():
    counts = native.embedding_counts(smoke_embeddings())
    assert counts.loc[["REAL", "FAKE"]].to_numpy().tolist() == [[3, 36], [3, 36]]


def test_equal_heads_have_no_difference():
    first, second = Native(), Native()
    second.load_state_dict(first.state_dict())
    assert native.compare_heads(first, second).iloc[-1, 0] == 0
    second.head.weight.data *= 2
    second.limits.copy_(torch.tensor([0.2, 0.7]))
    table = native.compare_heads(first, second)
    assert table.iloc[-1, 0] == pytest.approx(0.5)
    assert table.loc["FAKE from", "released"] == pytest.approx(0.7)


@pytest.mark.skipif(not files.ENCODER.exists(), reason="CLIP's encoder is not installed")
def test_features_computed_here_resemble_the_committed_ones():
    table = native.embed_live(read_embeddings(), count=2)
    assert table.index.tolist() == ["rendered/0", "rendered/1"]
    assert (table["cosine similarity"] > 0.95).all()


def test_without_the_encoder_no_features_are_computed(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ENCODER", tmp_path / "none.onnx")
    assert native.embed_live(smoke_embeddings()).empty
