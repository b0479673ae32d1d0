"""Paths of a checkout and of an installed package, and files that are written completely or not at all."""

import subprocess
import sys

import pytest
import torch

from detector.core import files
from detector.core.console import UserError
from detector.core.files import atomic_write, read_tensors, write_tensors


def test_root_is_the_checkout_or_inside_the_installed_package(tmp_path):
    package = tmp_path / "detector"
    assert files._project_root(package) == package / "_project"
    (tmp_path / "report.ipynb").touch()
    assert files._project_root(package) == tmp_path
    assert files.NOTEBOOK.is_file() and files.LEAKS.is_file() and files.TRAIN_DUPLICATES.is_file()


def test_atomic_write_creates_folders_and_replaces_the_file(tmp_path):
    path = tmp_path / "new" / "table.csv"
    for text in ("first", "second"):
        with atomic_write(path) as part:
            part.write_text(text)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt), atomic_write(path) as part:
        part.write_text("incomplete")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_error_names_the_file_and_the_remedy(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "table.csv"
    with pytest.raises(UserError, match=r"table\.csv could not be written .* Free some disk space"), atomic_write(path):
        pass


def test_tensors_are_read_back_with_their_metadata(tmp_path):
    tensor = torch.arange(6.0).view(2, 3).T  # not contiguous
    write_tensors({"weight": tensor}, tmp_path / "a.safetensors", {"recipe": "none"})
    tensors, metadata = read_tensors(tmp_path / "a.safetensors")
    assert metadata == {"recipe": "none"}
    assert torch.equal(tensors["weight"], tensor)


def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors({"one": torch.ones(2, 3), "two": torch.tensor(True)}, path, {"recipe": "none"})
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(files.UNREADABLE):
            read_tensors(path)


LIMITED = """
import resource, sys, torch
from pathlib import Path
from detector.core.console import UserError
from detector.core.files import atomic_write, write_tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
def write_text():
    with atomic_write(folder / "b") as part:
        part.write_text("b" * 10_000)
for write in (lambda: write_tensors({"a": torch.ones(10_000)}, folder / "a"), write_text):
    try:
        write()
    except UserError as error:
        print("refused:", error)
"""


def test_a_write_that_ends_half_way_leaves_the_old_file(tmp_path):
    """The system refuses to write more than 1,000 bytes, as on a full disk."""
    for name in "ab":
        (tmp_path / name).write_text("old")
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, cwd=files.ROOT)
    assert done.stdout.count("refused: ") == done.stdout.count("could not be written") == 2, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}
