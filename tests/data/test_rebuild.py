"""Rebuilding the sources from a local git repository: bit for bit, resumable, one sentence for each failure."""

import hashlib
import io
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from detector.core import files
from detector.core.console import UserError
from detector.data import rebuild
from detector.data.rebuild import cut, rebuild_sources

COLUMNS = "file class source family group generator camera width height variant part resized filter box quality "
COLUMNS = [*(COLUMNS + "subsampling repository commit path blob sha256 style").split()]
REPOSITORY = "someone/images"


def smooth(width: int = 160, height: int = 120, seed: int = 0) -> Image.Image:
    """Return an image of smooth colours, different for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format_: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def git(folder: Path, *arguments: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, env=clean, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def row(file: str, path: str, original: bytes, crop: bytes | None = None, **columns: str) -> dict[str, str]:
    """Return a row of the manifest. By default, the crop is a corner encoded once at quality 90."""
    values = {
        "class": file.split("/")[0], "source": file.split("/")[1], "family": "f", "group": file, "generator": "g",
        "width": "160", "height": "120", "variant": "native", "box": "0 0 32 32", "quality": "90", "subsampling": "2",
        "repository": REPOSITORY, "path": path, "style": "photo",
        "blob": hashlib.sha1(b"blob %d\0" % len(original) + original).hexdigest(),
    }  # fmt: skip
    values = dict.fromkeys(COLUMNS, "") | values | {"file": file} | columns
    if crop is None:
        crop = cut(next(pd.DataFrame([values]).itertuples()), original)
    return values | {"sha256": hashlib.sha256(crop).hexdigest()}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Return the root of an empty project."""
    monkeypatch.setattr(files, "DATA_DIR", tmp_path / "data")
    monkeypatch.setattr(files, "NATIVE", tmp_path / "data" / "native.csv")
    monkeypatch.setattr(files, "SOURCES_DIR", tmp_path / "data" / "sources")
    monkeypatch.setattr(files, "BUILD_DIR", tmp_path / "build")
    return tmp_path


@pytest.fixture
def mirror(project) -> Path:
    """Return a folder with one repository, whose second commit removes the files of the first."""
    folder = project / "mirror" / REPOSITORY
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    for name, data in originals().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=images")
    git(folder, "rm", "--quiet", "-r", ".")
    git(folder, "commit", "--quiet", "--message=nothing", "--allow-empty")
    return project / "mirror"


def originals() -> dict[str, bytes]:
    return {
        "images/a b.png": encoded(smooth(seed=1), "PNG"),
        "images/größe.webp": encoded(smooth(seed=2), "WEBP", lossless=True),
        "c.jpg": encoded(smooth(seed=3), quality=95, subsampling=0, comment=b"by someone"),
        "d.txt": b"no image",
    }


def commit_of(mirror: Path) -> str:
    return git(mirror / REPOSITORY, "rev-parse", "HEAD~1")


def rows_of(mirror: Path) -> list[dict[str, str]]:
    """Return four rows of three originals, each cut in another way."""
    data, commit = originals(), commit_of(mirror)
    small = {"variant": "downscaled", "resized": "80 60", "filter": "5"}
    return [
        row("FAKE/one/0.jpg", "images/a b.png", data["images/a b.png"], commit=commit, box="7 5 39 37"),
        row("FAKE/one/0d.jpg", "images/a b.png", data["images/a b.png"], commit=commit, quality="75", **small),
        row("FAKE/two/0.jpg", "images/größe.webp", data["images/größe.webp"], commit=commit, part="80 0 160 120"),
        row("REAL/three/0d.jpg", "c.jpg", data["c.jpg"], commit=commit, subsampling="0", **small),
    ]


def write(rows: list[dict[str, str]]) -> list[Path]:
    """Write the manifest and return the paths of the files that it describes."""
    files.DATA_DIR.mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(files.NATIVE, index=False)
    return [files.SOURCES_DIR / values["file"] for values in rows]


def hashes(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "" for path in paths]


def failure(mirror: Path, capsys, **options) -> tuple[str, list[str]]:
    """Return the final error and the sentences before it."""
    with pytest.raises(UserError) as caught:
        rebuild_sources(mirror=mirror, **options)
    printed = capsys.readouterr().err.replace("\r", "\n").splitlines()
    sentences = [line.strip() for line in printed if line.strip() and "rebuilding data/sources" not in line]
    assert all(sentence.endswith(".") for sentence in sentences)
    return str(caught.value), sentences


def assert_nothing_left(project: Path) -> None:
    assert not list((project / "build").glob("*"))
    assert not list((project / "data").rglob("*.part"))


def install(folder: Path, script: str, monkeypatch, name: str = "jpegtran") -> None:
    """Put a shell script first on the path."""
    folder.mkdir()
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_files_are_rebuilt_bit_for_bit(project, mirror, capsys):
    rows = rows_of(mirror)
    paths = write(rows)
    rebuild_sources(mirror=mirror)
    assert hashes(paths) == [values["sha256"] for values in rows]
    assert "all 4 files" in capsys.readouterr().out
    assert_nothing_left(project)


def test_each_step_is_what_the_manifest_says():
    """Part, size, filter, box, quality and subsampling, against Pillow's own steps."""
    image = smooth()
    columns = {"part": "10 20 150 110", "resized": "70 45", "filter": "4", "box": "3 4 35 36", "quality": "83"}
    values = row("FAKE/one/0.jpg", "a.png", b"", b"", subsampling="0", **columns)
    made = cut(next(pd.DataFrame([values]).itertuples()), encoded(image, "PNG"))
    resized = image.crop((10, 20, 150, 110)).resize((70, 45), Image.Resampling.BOX)
    assert made == encoded(resized.crop((3, 4, 35, 36)), quality=83, subsampling=0)


def test_transparency_is_dropped():
    clear = Image.merge("RGBA", [*smooth().split(), Image.new("L", (160, 120))])
    values = row("FAKE/one/0.jpg", "a.png", encoded(clear, "PNG"))
    assert values["sha256"] == row("FAKE/one/0.jpg", "a.png", encoded(smooth(), "PNG"))["sha256"]


def test_only_the_chosen_sources(mirror):
    paths = write(rows_of(mirror))
    rebuild_sources(mirror=mirror, only=["two"])
    assert [path.exists() for path in paths] == [False, False, True, False]
    with pytest.raises(UserError, match=r"There is no source four\. Choose from one, three, two\."):
        rebuild_sources(mirror=mirror, only=["two", "four"])


def test_a_finished_folder_needs_no_repository(mirror, capsys):
    paths = write(rows_of(mirror))
    rebuild_sources(mirror=mirror)
    times = [path.stat().st_mtime_ns for path in paths]
    rebuild_sources(mirror=mirror / "absent")
    assert [path.stat().st_mtime_ns for path in paths] == times
    paths[1].write_bytes(b"damaged")
    rebuild_sources(mirror=mirror)
    assert paths[1].stat().st_size > 100
    assert paths[0].stat().st_mtime_ns == times[0]


def test_wrong_blobs_are_named_and_the_rest_goes_on(project, mirror, capsys):
    rows = rows_of(mirror)
    rows[0]["blob"] = "1" * 40
    rows.append(rows[2] | {"file": "FAKE/two/1.jpg", "blob": "2" * 40})
    paths = write(rows)
    message, sentences = failure(mirror, capsys)
    assert message.startswith("2 of 5 files")
    assert len(sentences) == 2
    for values in (rows[0], rows[4]):
        sentence = next(sentence for sentence in sentences if f"so {values['file']} is missing" in sentence)
        assert sentence.startswith(f"{mirror / REPOSITORY} gave no original (")
        assert f"not our ref {values['blob']})" in sentence
    assert [path.exists() for path in paths] == [False, True, True, True, False]
    assert_nothing_left(project)


def test_other_bytes_are_not_kept(mirror, capsys):
    rows = rows_of(mirror)
    rows[3]["sha256"] = "0" * 64
    paths = write(rows)
    _, sentences = failure(mirror, capsys)
    assert len(sentences) == 1
    assert sentences[0].startswith("REAL/three/0d.jpg was not rebuilt: Pillow")
    assert [path.exists() for path in paths] == [True, True, True, False]


def test_an_original_that_is_no_image_is_named(mirror, capsys):
    rows = rows_of(mirror)
    rows.append(row("FAKE/one/1.jpg", "d.txt", b"no image", b"", commit=commit_of(mirror)))
    paths = write(rows)
    _, sentences = failure(mirror, capsys)
    assert len(sentences) == 1
    assert "d.txt cannot be decoded" in sentences[0]
    assert [path.exists() for path in paths] == [True] * 4 + [False]


def test_a_missing_repository_takes_one_sentence(project, mirror, capsys):
    rows = rows_of(mirror)
    for values in rows[:3]:
        values["repository"] = "someone/absent"
    paths = write(rows)
    message, sentences = failure(mirror, capsys)
    assert message.startswith("3 of 4 files")
    assert len(sentences) == 1
    assert sentences[0].startswith(f"{mirror / 'someone/absent'} gave no original (")
    assert "so FAKE/one/0.jpg and 2 more are missing" in sentences[0]
    assert [path.exists() for path in paths] == [False, False, False, True]
    assert_nothing_left(project)


def test_the_commit_may_be_another(mirror):
    """The blob says what the original is, because the manifest names one commit for all versions of a path."""
    rows = [values | {"commit": "1" * 40} for values in rows_of(mirror)]
    paths = write(rows)
    rebuild_sources(mirror=mirror)
    assert hashes(paths) == [values["sha256"] for values in rows]


def test_an_interruption_loses_no_finished_file(project, mirror, monkeypatch):
    rows = rows_of(mirror)
    paths = write(rows)
    calls = []

    def interrupted(values: tuple, original: bytes) -> bytes:
        calls.append(values.file)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return cut(values, original)

    monkeypatch.setattr(rebuild, "cut", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rebuild_sources(mirror=mirror)
    assert [path.exists() for path in paths].count(True) == 2
    calls.append("resumed")
    rebuild_sources(mirror=mirror)
    assert len(calls) == 3 + 1 + 2
    assert hashes(paths) == [values["sha256"] for values in rows]
    assert_nothing_left(project)


def test_batches_fetch_everything(mirror, monkeypatch):
    monkeypatch.setattr(rebuild, "BATCH", 1)
    rows = rows_of(mirror)
    paths = write(rows)
    rebuild_sources(mirror=mirror)
    assert hashes(paths) == [values["sha256"] for values in rows]


def test_only_the_needed_files_are_fetched(mirror, monkeypatch):
    """No commit, no tree, and no other blob."""
    write(rows_of(mirror))
    kept = []

    def listed(values: tuple, original: bytes) -> bytes:
        folder = next(files.BUILD_DIR.glob("rebuild-*"))
        kept.append(git(folder, "cat-file", "--batch-check", "--batch-all-objects"))
        return cut(values, original)

    monkeypatch.setattr(rebuild, "cut", listed)
    rebuild_sources(host=mirror.as_uri() + "/", only=["two"])
    assert [line.split()[1] for line in kept[0].splitlines()] == ["blob"]


def test_git_has_a_time_limit(project, mirror, monkeypatch, capsys):
    """A process that git started may outlive the limit, but nobody waits for it."""
    write(rows_of(mirror))
    slow = f'case "$*" in *" fetch "*) sleep 5 ;; *) exec "{shutil.which("git")}" "$@" ;; esac'
    install(project / "bin", slow, monkeypatch, name="git")
    monkeypatch.setattr(rebuild, "LIMIT_S", 1)
    start = time.monotonic()
    _, sentences = failure(mirror, capsys)
    assert time.monotonic() - start < 4
    assert len(sentences) == 1
    assert "git took more than 1 seconds" in sentences[0]
    assert_nothing_left(project)


def test_git_is_needed(mirror, monkeypatch):
    write(rows_of(mirror))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="git was not found"):
        rebuild_sources(mirror=mirror)


def test_without_jpegtran_one_sentence_names_it(mirror, monkeypatch, capsys):
    rows = rows_of(mirror)
    lossless = {"quality": "", "subsampling": "", "commit": commit_of(mirror)}
    rows += [row(f"REAL/three/{i}.jpg", "c.jpg", originals()["c.jpg"], b"", **lossless) for i in range(2)]
    paths = write(rows)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "jpegtran" else "git")
    message, sentences = failure(mirror, capsys)
    assert message.startswith("2 of 6 files")
    assert len(sentences) == 1
    assert sentences[0].startswith("jpegtran was not found, and 2 files are lossless crops")
    assert [path.exists() for path in paths] == [True] * 4 + [False] * 2


def test_jpegtran_gets_the_box_and_the_original(project, mirror, monkeypatch):
    install(project / "bin", 'printf "%s|" "$@"; cat', monkeypatch)
    data = originals()["c.jpg"]
    lossless = {"quality": "", "subsampling": "", "box": "16 32 80 96", "commit": commit_of(mirror)}
    paths = write([row("REAL/three/0.jpg", "c.jpg", data, b"-copy|none|-crop|64x64+16+32|" + data, **lossless)])
    rebuild_sources(mirror=mirror)
    assert paths[0].read_bytes().endswith(data)


def test_a_failing_jpegtran_is_named(project, mirror, monkeypatch, capsys):
    install(project / "bin", "echo 'Premature end of input' >&2; exit 1", monkeypatch)
    lossless = {"quality": "", "subsampling": "", "commit": commit_of(mirror)}
    write([row("REAL/three/0.jpg", "c.jpg", originals()["c.jpg"], b"", **lossless)])
    _, sentences = failure(mirror, capsys)
    assert sentences == ["REAL/three/0.jpg was not rebuilt: jpegtran failed (Premature end of input)."]


@pytest.mark.skipif(shutil.which("jpegtran") is None, reason="jpegtran is not on this machine")
def test_a_lossless_crop_keeps_the_first_compression():
    """Without chroma subsampling, the crop's pixels are those of the original, and cropping again changes no byte."""
    original = originals()["c.jpg"]
    values = row("REAL/three/0.jpg", "c.jpg", original, b"", quality="", subsampling="", box="16 32 80 96")
    cropped = cut(next(pd.DataFrame([values]).itertuples()), original)
    expected = np.asarray(Image.open(io.BytesIO(original)))[32:96, 16:80]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(cropped))), expected)
    again = cut(next(pd.DataFrame([values | {"box": "0 0 64 64"}]).itertuples()), cropped)
    assert again == cropped
