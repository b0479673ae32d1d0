"""CIFAKE's JPEG settings, and worker processes that start fast."""

import subprocess
import sys

import numpy as np
from PIL import Image

from detector.data.jpeg import JPEG_SETTINGS, encode_decode


def test_the_default_settings_are_cifakes(tmp_path, tiny_cifake):
    published = Image.open(tiny_cifake / "test/REAL/0000.jpg")
    image = published.convert("RGB")
    image.save(tmp_path / "again.jpg", "JPEG", **JPEG_SETTINGS)
    again = Image.open(tmp_path / "again.jpg")
    assert again.quantization == published.quantization
    assert np.array_equal(np.asarray(encode_decode(image)), np.asarray(again))


def test_worker_processes_do_not_import_pytorch():
    code = "import sys, detector.data.jpeg; print({'torch', 'pandas'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
