"""Damaged and foreign weight files: the model that was saved, or one sentence that names the file."""

import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from detector.core import files
from detector.core.console import UserError
from detector.models import weights
from detector.models.base import Detector
from detector.models.weights import load_model

KEYS = ("architecture", "config", "recipe", "data", "reproducible", "versions")
HEADER_LIMIT = 100_000_000  # bytes: the longest header of the format
TYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
SEARCH = {"deadline": None, "derandomize": True, "database": None}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 40) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def contents(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a released model."""
    with safe_open(files.model_file(name), "pt") as file:
        metadata = {key: file.metadata()[key] for key in KEYS}
        return {key: file.get_tensor(key) for key in file.keys()}, metadata  # noqa: SIM118 - not a dict


@pytest.fixture(scope="module", params=["cnn", "native-small"])
def released(request, tmp_path_factory) -> tuple[bytes, dict[str, torch.Tensor]]:
    """Return the bytes of a released model's file, and the weights that it gives."""
    path = tmp_path_factory.mktemp("released") / "model.safetensors"
    tensors, metadata = contents(request.param)
    files.write_tensors(tensors, path, metadata)
    return path.read_bytes(), load_model(path).state_dict()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def built(monkeypatch) -> list:
    """Return a list that gets an entry whenever a model is built from a file."""
    calls, build = [], weights._build
    monkeypatch.setattr(weights, "_build", lambda *arguments: calls.append(1) or build(*arguments))
    return calls


def outcome(path: Path) -> Detector | str:
    """Return the model of a file, or the error's message, one line that names the file."""
    try:
        model = load_model(path)
    except UserError as error:
        message = str(error)
        assert message.startswith((f"{path} is ", f"There is no model at {path}")), message
        assert message.endswith(".") and "\n" not in message, message
        return message
    assert not model.training
    assert all(tensor.dtype != torch.float16 for tensor in model.state_dict().values())
    return model


def has_valid_header(data: bytes) -> bool:
    """Return whether a file begins as a safetensors file does, read without its library."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        assert length <= min(HEADER_LIMIT, len(data) - 8)
        header = json.loads(data[8 : 8 + length].decode())
        texts = header.pop("__metadata__", {})
        assert all(isinstance(value, str) for value in texts.values())
        position = 0
        for entry in sorted(header.values(), key=lambda entry: entry["data_offsets"]):
            start, end = entry["data_offsets"]
            assert start == position and end - start == TYPES[entry["dtype"]] * int(np.prod(entry["shape"]))
            position = end
        return position == len(data) - 8 - length
    except (AssertionError, AttributeError, KeyError, RecursionError, TypeError, ValueError, struct.error):
        return False


def check(path: Path, data: bytes, built: list, saved: dict[str, torch.Tensor]) -> Detector | str:
    """Load a damaged file: nothing is built where the header is invalid, and a model is the one that was saved."""
    path.write_bytes(data)
    built.clear()
    result = outcome(path)
    if not has_valid_header(data):
        assert isinstance(result, str) and not built
    if isinstance(result, Detector):
        assert all(torch.equal(tensor, saved[name]) for name, tensor in result.state_dict().items())
    return result


def test_the_undamaged_file_is_loaded(released, path, built):
    data, saved = released
    assert isinstance(check(path, data, built, saved), Detector)
    assert has_valid_header(data) and built


def test_flipped_bytes_never_give_another_model(released, path, built, effort):
    data, saved = released
    header = 8 + int.from_bytes(data[:8], "little")
    metadata = data.index(b"__metadata__")
    regions = {"length": (0, 8), "header": (8, header), "metadata": (metadata, metadata + 600), "all": (0, len(data))}
    regions["tensors"] = (header, len(data))

    @settings(max_examples=effort(40, 3000), **SEARCH)
    @given(st.sampled_from(sorted(regions)), st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1))
    def flip(region: str, changes: list[tuple[float, int]]) -> None:
        changed, (first, last) = bytearray(data), regions[region]
        for place, mask in changes:
            changed[first + int(place * (last - 1 - first))] ^= mask
        check(path, bytes(changed), built, saved)

    flip()


def test_absent_and_additional_bytes_never_give_a_model(released, path, built, effort):
    data, saved = released

    @settings(max_examples=effort(25, 1000), **SEARCH)
    @given(st.integers(0, len(data) - 1), st.integers(0, 20_000), st.binary(max_size=50))
    def cut(first: int, count: int, inserted: bytes) -> None:
        changed = data[:first] + inserted + data[first + count :]
        assume(len(changed) != len(data))
        assert isinstance(check(path, changed, built, saved), str)

    cut()
    for length in (0, 1, 7, 8, 9, len(data) - 1):
        assert isinstance(check(path, data[:length], built, saved), str)


def with_header(header: object, content: bytes = bytes(8), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def entry(dtype: str = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict:
    return {"weight": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


INVALID = {
    "longer than the file": with_header(entry(), length=10**6),
    "the longest length": with_header(entry(), length=2**64 - 1),
    "a negative length": with_header(entry(), length=2**63),
    "over the limit": with_header(entry(), length=HEADER_LIMIT + 1),
    "no length": with_header(entry(), length=0),
    "no JSON": with_header(b"weights"),
    "no UTF-8": with_header(b'{"\xff\xfe": 1}'),
    "a list": with_header([entry()]),
    "nested": with_header(b"[" * 100_000 + b"]" * 100_000),
    "nested metadata": with_header(b'{"__metadata__": ' + b'{"a":' * 100_000),
    "metadata of numbers": with_header({"__metadata__": {"config": 1}, **entry()}),
    "metadata in a list": with_header({"__metadata__": ["config"], **entry()}),
    "an unknown type": with_header(entry("F7")),
    "a shape of another size": with_header(entry(shape=(3,))),
    "a negative shape": with_header(entry(shape=(-2,))),
    "a shape over 64 bits": with_header(entry(shape=(2**32, 2**32, 2))),
    "a shape in text": with_header(entry(shape="2")),
    "values outside the file": with_header(entry(offsets=(8, 16))),
    "values in reverse": with_header(entry(offsets=(8, 0))),
    "values with a gap": with_header(entry(offsets=(4, 12)), bytes(12)),
    "bytes without a name": with_header(entry(), bytes(16)),
    "overlapping values": with_header({"other": entry()["weight"], **entry()}),
}


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
def test_nothing_is_built_from_an_invalid_header(path, built, data):
    assert not has_valid_header(data) and has_valid_header(with_header(entry()))
    path.write_bytes(data)
    assert "is not a model of this project" in outcome(path)
    assert not built


def other_files() -> dict[str, Callable[[Path], object]]:
    """Return functions that write files which no `save_model` wrote."""
    tensors, stream = {"weight": torch.zeros(2)}, io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model.safetensors", b"")
    return {
        "safetensors without metadata": lambda path: save_file(tensors, path),
        "safetensors of another project": lambda path: save_file(tensors, path, {"format": "pt"}),
        "safetensors with a checksum": lambda path: files.write_tensors(tensors, path, {"format": "pt"}),
        "checkpoint of torch": lambda path: torch.save(tensors, path),
        "pickle": lambda path: path.write_bytes(pickle.dumps({"weight": [0.0] * 99})),
        "archive": lambda path: path.write_bytes(stream.getvalue()),
        "text": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "empty": lambda path: path.touch(),
        "directory": lambda path: path.mkdir(),
        "link to nothing": lambda path: path.symlink_to(path.with_name("absent")),
        "absent": lambda path: None,
    }


@pytest.mark.parametrize("write", other_files().values(), ids=other_files())
def test_other_files_are_no_models(path, built, write):
    write(path)
    assert isinstance(outcome(path), str)
    assert not built


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Callable[..., Path]:
    """Return a function that writes a small CNN's file with other metadata and a correct checksum."""
    torch.manual_seed(0)
    model = weights.CNN(widths=(16,), stem=16)
    metadata = dict.fromkeys(KEYS, "") | {"architecture": "CNN", "recipe": "{}", "config": json.dumps(model.config)}

    def write(path: Path, **changed: str) -> Path:
        files.write_tensors(model.state_dict(), path, metadata | changed)
        return path

    return write


FUTURE = {
    "architecture": [
        {"architecture": name} for name in ("CNN2", "", "cnn", "Detector", "__init__", "[]", "\0", "é" * 99)
    ],
    "entry": [
        {"config": text} for text in ('{"depth": 2}', '{"": 1}', '{"self": 1}', '{"widths": [16], "stem": 16, "x": 0}')
    ],
    "value": [{"config": text} for text in ("[]", "null", "5", "NaN", '"x"', "{", "", "1" * 5000, '{"stem": 1.5}')],
    "recipe": [{"recipe": text} for text in ("", "{", "\0", "[1,]")],
}


@pytest.mark.parametrize("changed", [changed for group in FUTURE.values() for changed in group], ids=repr)
def test_a_future_format_is_an_error(small, path, changed):
    assert isinstance(outcome(small(path)), Detector)
    assert "is not a model of this project" in outcome(small(path, **changed))


def test_any_configuration_gives_a_model_or_an_error(small, path, effort):
    @settings(max_examples=effort(60, 2000), **SEARCH)
    @given(
        st.dictionaries(st.sampled_from(["widths", "stem", "residuals", "flip_tta", "depth"]), JSON)
        | st.fixed_dictionaries({"widths": st.lists(st.integers(-1, 20), min_size=1, max_size=3)})
        | JSON
    )
    def load(config: object) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about layers of no width
            outcome(small(path, config=json.dumps(config)))

    load()


MISFITS = {
    "no widths": {"config": '{"widths": []}'},
    "widths in no text": {"config": '{"widths": ""}'},
    "a nested configuration": {"config": "[" * 200_000},
    "a nested recipe": {"recipe": "[" * 200_000},
    "tensors of another shape": {"config": '{"widths": [32], "stem": 16}'},
    "tensors of another network": {"architecture": "Transfer", "config": "{}"},
}


@pytest.mark.parametrize("changed", MISFITS.values(), ids=MISFITS)
def test_misfits(small, path, changed):
    assert "is not a model of this project" in outcome(small(path, **changed))
