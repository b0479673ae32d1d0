"""README and CONTRIBUTING: their Python runs, their commands exist, their files are there."""

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from detector.__main__ import parser
from detector.core import files
from detector.inference.decision import predict_image
from detector.models.weights import load_model

README = files.README.read_text(encoding="utf-8")
CONTRIBUTING = (files.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"python -m ((?:detector|benchmarks)[\w. ]*)", README + CONTRIBUTING)))


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


@pytest.mark.skipif(not files.ENCODER.exists(), reason="CLIP's encoder is not installed")
def test_the_readmes_python_runs(tmp_path, monkeypatch, capsys):
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "functions as fn" in block]
    (tmp_path / "models").symlink_to(files.MODELS_DIR)
    Image.effect_noise((80, 70), 60).convert("RGB").save(tmp_path / "image.jpg")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert re.match(r"(REAL|FAKE|None) [01]\.\d+", capsys.readouterr().out)


ONNX_ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] not in allowed:
            raise ImportError(f"{name} is neither onnxruntime nor numpy nor Pillow")

allowed = {*sys.stdlib_module_names, "detector", "numpy", "PIL", "onnxruntime", "flatbuffers", "google", "packaging"}
sys.meta_path.insert(0, Refuse())
"""


def test_the_readmes_onnx_example_needs_no_pytorch(exported, tmp_path):
    """It runs where ONNX_PYTHON points to: an environment without PyTorch. By default its packages are refused here."""
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "onnxruntime" in block]
    assert len(code.splitlines()) <= 10
    (tmp_path / "build").mkdir()
    (tmp_path / "build/native-small.onnx").symlink_to(exported("native-small"))
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(noise).resize((800, 600)).save(tmp_path / "image.jpg")
    python = os.environ.get("ONNX_PYTHON")
    code = code if python else ONNX_ALONE + code
    code += "\nassert 'torch' not in __import__('sys').modules"
    environment = os.environ | {"PYTHONPATH": str(files.ROOT)}
    command = [python or sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    prediction = predict_image(load_model(files.model_file("native-small")), tmp_path / "image.jpg")
    label, probability = re.fullmatch(r"(REAL|FAKE|not sure) (\S+)\n", done.stdout).groups()
    assert float(probability) == pytest.approx(prediction.probability, abs=1e-4)
    assert prediction.label in (label, None)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command):
    module, *arguments = command.split()
    assert importlib.util.find_spec(module)
    if module == "detector":
        names = next(action for action in parser()._actions if action.choices).choices
        assert arguments[0] in names


def test_every_make_target_exists():
    targets = re.findall(r"^(\w+):", (files.ROOT / "Makefile").read_text(), re.M)
    named = set(re.findall(r"(?:^|`)make (\w+)", README + CONTRIBUTING, re.M))
    assert {"report", "test"} <= named <= set(targets)


def test_every_linked_file_exists():
    for text in (README, files.MODEL_CARD.read_text(encoding="utf-8")):
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (files.ROOT / link).exists(), link


def test_the_readme_counts_the_leaks():
    omitted = len(files.LEAKS.read_text().splitlines()) - 1
    assert f"omits {omitted:,} of the 20,000 test images" in " ".join(README.split())


def test_modules_named_by_contributing_exist():
    for name in re.findall(r"`(?:data/)?(\w+/\w+\.py)`", CONTRIBUTING):
        assert (files.ROOT / "detector" / name).exists() or (files.ROOT / name).exists(), name


def test_the_tests_that_security_names_exist():
    named = re.findall(r"`(tests/[\w/.]*)`", (files.ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    assert not [name for name in named if not (files.ROOT / name).exists()]
