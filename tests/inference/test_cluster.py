"""Scoring on Ray: every image has one row, whatever is killed; a wrong option or address is one sentence."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from detector import __main__ as commands
from detector.core import files
from detector.core.console import UserError
from detector.inference import cluster, storage
from detector.inference.files import COLUMNS, predict_files
from detector.models.weights import load_model

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
CNN = files.model_file("cnn")
SHARDS, IN_SHARD = 16, 8
SECONDS = 60


@pytest.fixture(scope="module")
def two_nodes() -> Iterator:
    """Return a cluster of two nodes with a core each; drivers connect to the first."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(files.ROOT))
        options = {"num_cpus": 1, "object_store_memory": cluster.OBJECT_STORE}
        nodes = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **options})
        nodes.add_node(**options)
        yield nodes
        nodes.shutdown()


@pytest.fixture
def shards(tmp_path, png, write_shard) -> Path:
    """Return a folder of SHARDS shards with IN_SHARD images each."""
    (tmp_path / "in").mkdir()
    for shard in range(SHARDS):
        members = {f"{i}.png": png(IN_SHARD * shard + i) for i in range(IN_SHARD)}
        write_shard(tmp_path / "in" / f"{shard:02}.tar", members)
    return tmp_path / "in"


def start(address: str, folder: Path, out: Path) -> subprocess.Popen:
    """Start the command in a process of its own."""
    command = [sys.executable, "-m", "detector", "predict", "--ray", address, str(folder), "--out", str(out)]
    command += ["--weights", str(CNN)]
    return subprocess.Popen(command, cwd=files.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return when the condition holds; fail after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def is_worker(process: psutil.Process) -> bool:
    return "MapWorker" in " ".join(process.cmdline())


def part_files(out: Path) -> dict[Path, int]:
    """Return the time of the last change of each part file."""
    return {path: path.stat().st_mtime_ns for path in out.glob("*.parquet")}


def test_folders_and_shards_on_disk_and_in_s3(two_nodes, s3, tmp_path, png, write_shard, capsys):
    """Every row equals that of `predict_files`, and only a new file is left to score."""
    client, uri = s3
    (tmp_path / "in").mkdir()
    for name, data in {"a.png": png(0), "b.png": png(1), "bad.png": b"no image"}.items():
        (tmp_path / "in" / name).write_bytes(data)
    client.put_object(Bucket="bucket", Key="in/x/s.tar", Body=write_shard(tmp_path / "s.tar", {"0.png": png(2)}))
    client.put_object(Bucket="bucket", Key="in/c d.png", Body=png(3))
    locations = [str(tmp_path / "in"), uri.format("in/")]
    with pytest.raises(UserError, match="1 of 5 images could not be read"):
        cluster.predict_on_ray(two_nodes.address, locations, uri.format("out"), CNN)
    assert capsys.readouterr().out == "5 images scored, 0 inputs scored earlier: s3://bucket/out\n"
    new = tmp_path / "in" / "new.png"
    new.write_bytes(png(4))
    units = cluster.list_units(locations, storage.completed_inputs(uri.format("out")))
    assert units == [{"location": locations[0], "paths": [str(new)]}]
    filesystem, folder = storage.open_location(uri.format("out"))
    table = pd.read_parquet(folder, filesystem=filesystem).sort_values("file", ignore_index=True)
    for seed in (2, 3):
        (tmp_path / f"{seed}.png").write_bytes(png(seed))
    paths = [
        *(tmp_path / "in" / name for name in ("a.png", "b.png", "bad.png")),
        tmp_path / "3.png",
        tmp_path / "2.png",
    ]
    expected = pd.DataFrame(predict_files({"cnn": load_model(CNN)}, paths))
    expected.loc[3:, "file"] = ["s3://bucket/in/c d.png", "s3://bucket/in/x/s.tar/0.png"]
    pd.testing.assert_frame_equal(table, expected[COLUMNS], atol=1e-5, check_dtype=False)


def test_a_killed_run_and_a_killed_node_lose_and_double_nothing(two_nodes, shards, tmp_path):
    """A run on this machine is killed and continued on the cluster, of which a node is killed.

    The last test of the cluster, because it is damaged afterwards.
    """
    out = tmp_path / "out"
    driver = start("local", shards, out)
    wait_for(lambda: len(part_files(out)) >= 2, "no part files")
    workers = [child for child in psutil.Process(driver.pid).children(recursive=True) if is_worker(child)]
    driver.kill()
    driver.communicate()
    assert workers
    assert not psutil.wait_procs(workers, timeout=SECONDS)[1]
    first = part_files(out)
    driver = start(two_nodes.address, shards, out)
    wait_for(lambda: len(part_files(out)) >= len(first) + 2, "no further part files")
    node = next(iter(two_nodes.worker_nodes))
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    assert any(is_worker(child) for child in raylet.children())
    two_nodes.remove_node(node, allow_graceful=False)
    assert len(part_files(out)) < SHARDS
    printed, errors = driver.communicate(timeout=2 * SECONDS)
    assert driver.returncode == 0, errors
    rest = (SHARDS - len(first)) * IN_SHARD
    assert printed == f"{rest} images scored, {len(first)} inputs scored earlier: {out}\n"
    assert all(line.startswith("scoring") for line in errors.splitlines() if line.strip())  # the progress bar alone
    assert first.items() <= part_files(out).items()
    table = pd.read_parquet(out)
    assert table["file"].is_unique
    assert len(table) == SHARDS * IN_SHARD
    assert set(table["label"]) <= {"REAL", "FAKE", "not sure"}


def test_parts_of_a_shard_that_are_written_are_not_scored_again(small_cnn, tmp_path, png, write_shard, monkeypatch):
    monkeypatch.setattr(cluster, "PART", 2)
    shard, out = str(tmp_path / "s.tar"), str(tmp_path / "out")
    write_shard(tmp_path / "s.tar", {f"{i}.png": png(i) for i in range(5)})
    unit, scored = {"location": str(tmp_path), "paths": [shard]}, []
    assert storage.completed_inputs(out) == set()

    def predict_file(models, file, read):
        if len(scored) == 3:
            raise KeyboardInterrupt
        scored.append(file)
        return {"file": file, "label": "REAL", "probability": 0.25, "reason": "", "evidence": "", "model": "cnn"}

    monkeypatch.setattr(cluster, "predict_file", predict_file)
    with pytest.raises(KeyboardInterrupt):
        cluster.score_unit({"cnn": small_cnn}, unit, out)
    assert pd.read_parquet(out)["file"].tolist() == [f"{shard}/{i}.png" for i in (0, 1)]
    assert storage.completed_inputs(out) == set()
    scored.clear()
    assert cluster.score_unit({"cnn": small_cnn}, unit, out) == {"inputs": 1, "images": 3, "errors": 0}
    assert cluster.score_unit({"cnn": small_cnn}, unit, out) == {"inputs": 1, "images": 0, "errors": 0}
    assert pd.read_parquet(out)["file"].tolist() == [f"{shard}/{i}.png" for i in range(5)]
    assert storage.completed_inputs(out) == {shard}


def test_a_shard_without_images_is_complete(small_cnn, tmp_path, write_shard):
    write_shard(tmp_path / "s.tar", {"0.json": b"{}"})
    shard, out = str(tmp_path / "s.tar"), str(tmp_path / "out")
    storage.completed_inputs(out)
    cluster.score_unit({"cnn": small_cnn}, {"location": str(tmp_path), "paths": [shard]}, out)
    assert storage.completed_inputs(out) == {shard}
    assert cluster.list_units([str(tmp_path)], {shard}) == []


def test_units_are_shards_and_groups_of_files_without_repeats(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PART", 2)
    for name in ("a.png", "b.png", "c.png", "d.tar"):
        (tmp_path / name).write_bytes(b"x")
    units = cluster.list_units([str(tmp_path), str(tmp_path / "a.png")], {str(tmp_path / "b.png")})
    paths = [[Path(path).name for path in unit["paths"]] for unit in units]
    assert paths == [["a.png", "c.png"], ["d.tar"]]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="There are no files in"):
        cluster.list_units([str(tmp_path / "empty")], set())


def test_a_failing_storage_stops_the_run_and_is_no_row(tmp_path, monkeypatch):
    """The folder of the part files is gone."""
    (tmp_path / "a.png").write_bytes(b"no image")
    scorer = cluster.Scorer(CNN, str(tmp_path / "gone"))
    counts = scorer({"location": str(tmp_path), "paths": [str(tmp_path / "a.png")]})
    assert counts["images"] == 0 and "No such file" in counts["failure"]


def test_rows_that_another_machine_kept_to_itself_are_missed(tmp_path):
    unit = {"location": str(tmp_path), "paths": [str(tmp_path / "a.png")]}
    with pytest.raises(UserError, match=r"1 inputs have no rows in .*a\.png"):
        cluster._check_complete([unit], str(tmp_path / "out"))


def test_a_cluster_that_does_not_answer_is_one_sentence(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 4)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"No Ray cluster answers at {address} \(no answer within 4 s\)"):
            cluster._check_answers(address)


@pytest.mark.parametrize(
    "options", [["--ray", "local"], ["--out", "{out}"], ["--ray", "local", "--out", "{out}", "--csv", "{out}"]]
)
def test_options_that_do_not_mix_are_refused(options, tmp_path, monkeypatch, capsys):
    options = [option.format(out=tmp_path / "out") for option in options]
    monkeypatch.setattr(sys, "argv", ["detector", "predict", str(tmp_path), *options])
    with pytest.raises(SystemExit) as ended:
        commands.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: --ray ADDRESS and --out DIR go together")
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_one_sentence_before_ray_starts(tmp_path, monkeypatch):
    out = str(tmp_path / "out")
    with pytest.raises(UserError, match="There is nothing at /nowhere"):
        cluster.predict_on_ray("local", ["/nowhere"], out)
    with pytest.raises(UserError, match="There is no model at /nowhere"):
        cluster.predict_on_ray("local", [str(tmp_path)], out, Path("/nowhere"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"The package ray is missing.*pip install -r requirements-scale\.txt"):
        cluster.predict_on_ray("local", [str(tmp_path)], out)
