"""The package: a wheel holds the code, the released models and the lists that the code reads."""

import subprocess
import sys
import zipfile

import pytest

import detector
from detector.core import files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


def test_the_wheel_holds_what_the_code_reads(wheel):
    names = set(wheel.namelist())
    project = {f"detector/_project/{path.relative_to(files.ROOT)}" for path in (
        files.NOTEBOOK, files.RESULTS, files.PREDICTIONS, files.LEAKS, files.TRAIN_DUPLICATES, files.CIFAKE_CHECKSUMS,
        *files.MODELS_DIR.glob("*.safetensors"), *files.STUDIES_DIR.glob("*.csv"),
    )}  # fmt: skip
    assert project <= names
    assert {"functions.py", "detector/__main__.py", "detector/data/cifake.py"} <= names
    assert not [name for name in names if name.startswith(("tests/", "data/", "models/")) or "unseen" in name]


def test_the_wheel_has_the_version_and_the_command(wheel):
    (metadata,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    text = wheel.read(metadata).decode()
    assert f"Version: {detector.__version__}" in text
    assert "Requires-Dist: torch>=2.11" in text
    entry = wheel.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    assert "detector = detector.__main__:main" in entry
