"""functions.py: its worked example runs as written, and importing it loads nothing that it need not."""

import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from PIL import Image

import functions
from detector.core import files
from detector.training.recipes import BUDGETS

HEAVY = ("gradio", "matplotlib", "timm", "captum", "sklearn", "scipy", "IPython", "kagglehub", "seaborn", "joblib")


def test_the_worked_example_runs(toy, tmp_path, monkeypatch, capsys):
    """On a few toy images: the lines of the docstring, as they are written."""
    code = textwrap.dedent(functions.__doc__.split("\n\n", 1)[1].rsplit("\n\n", 1)[0])
    (tmp_path / "models").symlink_to(files.MODELS_DIR)
    Image.effect_noise((80, 70), 60).convert("RGB").save(tmp_path / "image.jpg")
    monkeypatch.chdir(tmp_path)
    few = replace(toy.sample(300), name="toy")
    monkeypatch.setattr(functions, "load_data", lambda: few)
    monkeypatch.setitem(BUDGETS, "quick", replace(BUDGETS["quick"], cnn=replace(BUDGETS["quick"].cnn, epochs=1)))
    names = {}
    exec(code, names)
    assert names["prediction"].label in ("REAL", "FAKE", None)
    assert 0 <= names["prediction"].probability <= 1
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("code", ["import functions", "import detector.__main__"])
def test_an_import_loads_nothing_heavy(code):
    check = f"{code}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], cwd=files.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_prediction_loads_nothing_that_it_does_not_use(tmp_path):
    Image.effect_noise((80, 70), 60).convert("RGB").save(tmp_path / "image.jpg")
    check = (
        "import sys\nfrom detector.__main__ import parser\n"
        f"options = parser().parse_args(['predict', {str(tmp_path / 'image.jpg')!r}])\n"
        "options.function(options)\n"
        f"print([name for name in {HEAVY} if name in sys.modules and name != 'timm'])"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=files.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_name_is_there_once():
    assert len(set(functions.__all__)) == len(functions.__all__)
    assert all(hasattr(functions, name) for name in functions.__all__)
    assert not hasattr(functions, "no_such_package")
