"""Several processes train as one does, and a killed one ends the run without losing its checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from detector.core import files
from detector.core.console import UserError
from detector.data.shards import write_shards
from detector.metrics.intervals import wilson
from detector.models.cnn import CNN
from detector.models.transfer import Transfer
from detector.training import batches, distributed, loop
from detector.training.recipes import Recipe

WORKER = Path(__file__).with_name("worker.py")


def start(processes: int, job: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a job of worker.py in several processes, or in one without torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(torchrun if processes > 1 else []), WORKER, job, folder]
    environment = os.environ | {"PYTHONPATH": str(files.ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def compared(toy, tmp_path_factory):
    """Return a function that gives the results of the job `compared` in so many processes."""
    pytest.importorskip("webdataset")
    folder = tmp_path_factory.mktemp("compared")
    (folder / "images" / "REAL" / "toy").mkdir(parents=True)
    for row, pixels in enumerate(toy.train.pixels[:300]):
        TF.to_pil_image(pixels).save(folder / "images" / "REAL" / "toy" / f"{row:03}.png")
    write_shards(folder / "images", folder / "shards")

    def compare(processes: int) -> dict[str, torch.Tensor]:
        path = folder / f"{processes}.safetensors"
        if not path.exists():
            result = start(processes, "compared", folder)
            assert result.returncode == 0, result.stderr
        return files.read_tensors(path)[0]

    return compare


def counts() -> list:
    long = pytest.mark.skipif("TORTURE" not in os.environ, reason="`make torture` runs it")
    return [2, pytest.param(4, marks=long)]


@pytest.mark.parametrize("processes", counts())
def test_gradients_do_not_depend_on_the_number_of_processes(compared, processes):
    one, several = dict(compared(1)), dict(compared(processes))
    assert one.keys() == several.keys()
    for name in one.keys() - {"accuracy", "stream"}:
        assert one[name].abs().max() > 1e-4, name
        assert (one[name] - several[name]).abs().max() < 1e-5, name


@pytest.mark.parametrize("processes", counts())
def test_a_batch_of_a_stream_does_not_depend_on_the_number_of_processes(compared, processes):
    assert torch.equal(compared(1)["stream"], compared(processes)["stream"])


@pytest.mark.parametrize("processes", counts())
def test_the_accuracy_is_that_of_one_process(compared, toy, processes):
    """The weights differ: on the CPU, each process normalises its own rows."""
    n, accuracy = len(toy.validation), float(compared(1)["accuracy"])
    low, high = wilson(round(accuracy * n), n)
    assert 0.9 < accuracy < 0.99
    assert low <= float(compared(processes)["accuracy"]) <= high


def test_a_killed_process_ends_the_run_and_one_process_resumes_it(tmp_path, toy, monkeypatch):
    result = start(4, "killed", tmp_path)
    assert result.returncode != 0
    assert "training resumes from its last checkpoint" in result.stderr
    assert result.stderr.count("error: ") <= 1  # torchrun may stop the first process before it speaks
    monkeypatch.setattr(files, "CHECKPOINTS_DIR", tmp_path)
    train_steps, started = loop._train_steps, []

    def note(state, *arguments):
        started.append(len(state.history))
        return train_steps(state, *arguments)

    monkeypatch.setattr(loop, "_train_steps", note)
    torch.manual_seed(0)
    recipe = Recipe(epochs=2, evaluations_per_epoch=2, batch_size=32)
    _, history = loop.train(CNN(widths=(16, 16), stem=16), toy.train[:1280], toy.validation, recipe)
    assert started == [2, 3]
    assert len(history) == 4


@pytest.mark.skipif("TORTURE" not in os.environ, reason="`make torture` runs it")
def test_a_process_that_hangs_ends_the_run(tmp_path):
    result = start(2, "hanging", tmp_path)
    assert result.returncode != 0
    assert "Another process of this training ended or hangs." in result.stderr


def test_a_batch_that_the_processes_cannot_divide_is_an_error(toy, monkeypatch):
    monkeypatch.setattr(batches, "processes", lambda: 3)
    with pytest.raises(UserError, match="3 processes cannot divide a batch of 32"):
        loop.train(CNN(widths=(16,), stem=16), toy.train[:64], toy.validation[:8], Recipe(epochs=1, batch_size=32))


@pytest.mark.parametrize("count", [0, 1, 7, 32])
def test_the_processes_share_all_rows(count, monkeypatch):
    monkeypatch.setattr(distributed, "processes", lambda: 4)
    rows = []
    for number in range(4):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        rows += range(count)[distributed.own_rows(count)]
    assert rows == list(range(count))


def test_only_the_first_process_shows_progress(monkeypatch, capsys):
    from detector.core.console import progress

    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        with progress(total=3, desc=f"process {rank}") as bar:
            bar.update()
    assert "process 0" in (shown := capsys.readouterr().err)
    assert "process 1" not in shown


def test_batch_norms_for_gpus_keep_the_network_and_can_be_frozen(monkeypatch):
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(distributed, "DistributedDataParallel", lambda network, **_: network)
    torch.manual_seed(0)
    network, pixels = Transfer(size=32), torch.rand(2, 3, 32, 32)
    expected, parameters = network.eval()(pixels), list(network.parameters())
    distributed.parallel(network, all_used=True)
    norms = [module for module in network.train().modules() if isinstance(module, torch.nn.SyncBatchNorm)]
    assert norms and not any(norm.training for norm in norms)
    assert torch.equal(network.eval()(pixels), expected)
    assert all(one is other for one, other in zip(network.parameters(), parameters, strict=True))
