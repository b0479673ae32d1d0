"""From a file to the scored pixels without PyTorch, as exported models need it; images that cannot be scored."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from detector.core import files
from detector.data.decode import decode_image
from detector.data.images import to_cifake_format
from detector.data.scorable import NATIVE_SIDE, prepare
from detector.data.views import overview, scored_crops

CODE = """
import json, sys
from pathlib import Path
from detector.data.decode import decode_image
from detector.data.images import to_array, to_cifake_format
from detector.data.scorable import prepare
from detector.data.views import overview, scored_crops

image, frame, reason = prepare(decode_image(Path(sys.argv[1]).read_bytes()))
arrays = scored_crops(image)[0], to_array(overview(image)), to_cifake_format(image)
others = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(json.dumps([frame, reason, [int(array.sum()) for array in arrays], sorted(others)]))
"""


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_the_scored_pixels_need_numpy_and_pillow_alone(tmp_path):
    framed = Image.new("RGB", (340, 340))
    framed.paste(noise(300, 300), (20, 20))
    framed.save(tmp_path / "image.png")
    command = [sys.executable, "-c", CODE, str(tmp_path / "image.png")]
    done = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True, check=True)
    frame, reason, sums, others = json.loads(done.stdout)
    assert "torch" not in others and {"numpy", "PIL", "detector"} <= set(others)
    assert not {"torchvision", "tqdm", "pandas", "scipy", "psutil", "safetensors"} & set(others)
    assert frame == "A black border of 20 pixels was removed." and reason == ""
    image, *_ = prepare(decode_image((tmp_path / "image.png").read_bytes()))
    assert sums == [int(np.sum(array)) for array in (scored_crops(image)[0], overview(image), to_cifake_format(image))]


def test_the_encoder_needs_no_pytorch():
    code = "import sys, detector.models.encoder; print({'torch', 'torchvision', 'pandas'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=files.ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


@pytest.mark.parametrize(
    ("image", "reason"),
    [(noise(31, 200), "too small"), (Image.new("RGB", (300, 300), "red"), "blank"), (noise(32, 32), "")],
)
def test_why_an_image_cannot_be_scored(image, reason):
    assert prepare(image)[2].startswith(reason) and bool(prepare(image)[2]) == bool(reason)


def test_a_small_image_keeps_its_frame():
    side = NATIVE_SIDE - 1
    framed = Image.new("RGB", (side, side))
    framed.paste(noise(side - 20, side - 20), (10, 10))
    image, frame, _ = prepare(framed)
    assert image.size == (side, side) and frame == ""
