"""Training reads shards as it reads images in memory, and needs no more memory for more images."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from detector.core import files
from detector.core.console import UserError
from detector.data.shards import LANES, MANIFEST, Shards, open_shards, write_shards
from detector.models.cnn import CNN
from detector.training import batches, loop
from detector.training.recipes import Recipe

webdataset = pytest.importorskip("webdataset")
RECIPE = Recipe(epochs=2, evaluations_per_epoch=2, batch_size=LANES)
LIMITED = Path(__file__).with_name("limited.py")


@pytest.fixture(scope="module")
def shards(toy, tmp_path_factory) -> Shards:
    """Return the first 400 training images of the toy dataset in shards."""
    root = tmp_path_factory.mktemp("toy")
    for row, (pixels, label) in enumerate(zip(toy.train.pixels[:400], toy.train.labels, strict=False)):
        path = root / "images" / ("REAL", "FAKE")[label] / "toy" / f"{row:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        TF.to_pil_image(pixels).save(path)
    return open_shards(write_shards(root / "images", root / "shards").parent)


def network() -> CNN:
    torch.manual_seed(0)
    return CNN(widths=(16,), stem=16)


def test_an_interrupted_training_on_shards_ends_as_an_uninterrupted_one(shards, toy, monkeypatch):
    whole, history = loop.train(network(), shards, toy.validation[:50], RECIPE)
    train_steps, started = loop._train_steps, []

    def interrupted(state, *arguments):
        started.append(len(state.history))
        if started == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return train_steps(state, *arguments)

    monkeypatch.setattr(loop, "_train_steps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.train(network(), shards, toy.validation[:50], RECIPE)
    resumed, resumed_history = loop.train(network(), shards, toy.validation[:50], RECIPE)
    assert started == [0, 1, 2, 3, 3]
    assert all(torch.equal(tensor, resumed.state_dict()[key]) for key, tensor in whole.state_dict().items())
    pd.testing.assert_series_equal(history["loss"], resumed_history["loss"])


def test_other_shards_have_another_checkpoint(shards, toy):
    other = replace(shards, counts={f"other-{name}": count for name, count in shards.counts.items()})
    names = {loop._fingerprint(network(), each, toy.validation, RECIPE) for each in (shards, other)}
    assert len(names) == 2


def test_what_does_not_fit_is_an_error(shards):
    with pytest.raises(UserError, match="400 images do not fill a batch of 640"):
        batches.steps_per_epoch(shards, 640)
    with pytest.raises(UserError, match="the recipe takes 100 images"):
        batches.sample(shards, replace(RECIPE, images=100))


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is the Linux kernel's")
def test_a_set_larger_than_the_memory_trains_as_a_stream_only(toy, tmp_path):
    """The limit is lower than the decoded set. All its shards are links to one."""
    first, *others = [f"{number:05}.tar" for number in range(LANES)]
    with webdataset.TarWriter(str(tmp_path / first)) as tar:
        for row, (pixels, label) in enumerate(zip(toy.train.pixels[:400], toy.train.labels, strict=False)):
            tar.write({"__key__": f"{row:03}-{label}", "png": TF.to_pil_image(pixels)})
    for name in others:
        os.link(tmp_path / first, tmp_path / name)
    (tmp_path / MANIFEST).write_text(json.dumps({"shards": dict.fromkeys([first, *others], 400)}))
    environment = os.environ | {"PYTHONPATH": str(files.ROOT), "OMP_NUM_THREADS": "1"}
    ends = {
        mode: subprocess.run(
            [sys.executable, LIMITED, tmp_path, mode], env=environment, capture_output=True, text=True, timeout=300
        )
        for mode in ("stream", "memory")
    }
    assert ends["stream"].returncode == 0, ends["stream"].stderr
    assert float(ends["stream"].stdout) > 0
    assert ends["memory"].returncode != 0
    assert re.search("MemoryError|bad_alloc|can't allocate memory", ends["memory"].stderr), ends["memory"].stderr
