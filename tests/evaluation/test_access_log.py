"""The access log: one line for the same weights on the same set, also across a renaming."""

import hashlib

import pytest

from detector.core import files
from detector.evaluation.access_log import record_access, was_scored
from detector.models.weights import NATIVE_RELEASED


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ACCESS_LOG", tmp_path / "log.md")
    files.ACCESS_LOG.write_text("")
    return files.ACCESS_LOG


def test_the_same_weights_have_one_line(log, tmp_path):
    weights = tmp_path / "cnn.safetensors"
    for content in (b"one", b"one", b"two"):
        weights.write_bytes(content)
        record_access(weights, "test", 0.98765)
    lines = log.read_text().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("| test | 98.77 |")
    assert was_scored(weights, "test")
    assert not was_scored(weights, "unseen")
    assert not was_scored(weights, "test", name="other")


def test_renamed_weights_are_known_by_their_old_hash(log, tmp_path):
    weights = tmp_path / "new.safetensors"
    weights.write_bytes(b"renamed")
    old, new = "0123456789abcdef", hashlib.sha256(b"renamed").hexdigest()[:16]
    log.write_text(f"| old | `{old}` | new | `{new}` |\n| 2026-11-26 | old | `{old}` | test | 98.00 |\n")
    record_access(weights, "test", 0.98)
    assert log.read_text().count("| test |") == 1
    assert not was_scored(weights, "unseen")


def test_released_weights_are_in_the_committed_log():
    for weights in files.MODELS_DIR.glob("*.safetensors"):
        assert was_scored(weights, "held_out"), weights
        assert was_scored(weights, "test") or weights.stem in NATIVE_RELEASED, weights
