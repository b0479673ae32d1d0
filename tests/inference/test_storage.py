"""Inputs and part files: folders, shards and S3; damage is a row, and a failing storage is none."""

import tarfile

import numpy as np
import pandas as pd
import pytest

from detector.core.console import UserError
from detector.data.decode import MAX_BYTES
from detector.inference import storage

pytest.importorskip("pyarrow")


def test_a_folder_is_listed_without_litter_and_part_files(tmp_path):
    for name in ("b.png", "a/c.tar", ".hidden/d.png", "a/Thumbs.db", "part-0-0.parquet", "a/table.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    expected = [str(tmp_path / name) for name in ("a/c.tar", "a/table.parquet", "b.png")]
    assert storage.list_inputs(str(tmp_path)) == expected
    assert storage.list_inputs(str(tmp_path / "b.png")) == [str(tmp_path / "b.png")]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/nowhere", "There is nothing at /nowhere"),
        ("foo://bucket/x", "foo://bucket/x cannot be opened"),
        ("s3:///x", "s3:///x cannot be opened"),
    ],
)
def test_a_location_that_is_none_is_one_sentence(location, message):
    with pytest.raises(UserError, match=message):
        storage.list_inputs(location)


def test_a_file_name_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "caf\udce9.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"caf\\xe9\.png"):
        storage.list_inputs(str(tmp_path))


def test_a_shard_yields_its_images_and_not_their_sidecars(tmp_path, png, write_shard):
    members = {"0.json": b"{}", "0.png": png(0), "below/1.JPG": b"one", "1.cls": b"3", "._1.jpg": b"litter"}
    write_shard(tmp_path / "s.tar", members)
    read = [(name, read()) for name, read in storage.read_images(str(tmp_path), str(tmp_path / "s.tar"))]
    assert read == [(f"{tmp_path}/s.tar/{name}", members[name]) for name in ("0.png", "below/1.JPG")]


def test_a_shard_in_s3_is_read_by_few_requests(s3, tmp_path, write_shard, caplog):
    client, uri = s3
    members = {f"{i}.png": bytes(100_000) for i in range(5)}
    client.put_object(Bucket="bucket", Key="in/s.tar", Body=write_shard(tmp_path / "s.tar", members))
    caplog.clear()
    with caplog.at_level("INFO", "werkzeug"):
        read = {name: read() for name, read in storage.read_images(uri.format("in/"), "bucket/in/s.tar")}
    assert read == {f"s3://bucket/in/s.tar/{name}": data for name, data in members.items()}
    assert 1 <= sum("/bucket/in/s.tar" in record.getMessage() for record in caplog.records) <= 2


def read_all(path) -> list[tuple[str, str]]:
    """Return the name of each image with what its reading raised, or 'read'."""
    results = []
    for name, read in storage.read_images(str(path.parent), str(path)):
        try:
            read()
            results.append((name.removeprefix(str(path)), "read"))
        except UserError as error:
            results.append((name.removeprefix(str(path)), str(error)))
    return results


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (2560, {"/0.png": "read", "": "The shard cannot be read to its end"}),  # between two images
        (3000, {"/0.png": "read", "": "The shard cannot be read to its end"}),  # within a header
        (4000, {"/0.png": "read", "/1.png": "The shard ends within this image", "": "The shard cannot be read"}),
        (0, {"": "The shard cannot be read to its end"}),
    ],
)
def test_a_shard_that_is_cut_is_one_more_row(length, expected, tmp_path, write_shard):
    whole = write_shard(tmp_path / "s.tar", {f"{i}.png": bytes(2000) for i in range(3)})
    (tmp_path / "s.tar").write_bytes(whole[:length])
    results = read_all(tmp_path / "s.tar")
    assert [name for name, _ in results] == list(expected)
    assert all(text.startswith(start) for (_, text), start in zip(results, expected.values(), strict=True))


def test_a_file_that_is_no_archive_is_one_row(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"no archive" * 1000)
    ((name, text),) = read_all(tmp_path / "s.tar")
    assert name == "" and text.startswith("The shard cannot be read to its end")


def test_files_that_are_too_large_are_not_read(tmp_path):
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        archive.add(tmp_path / "large.png", "large.png")
    for path in ("large.png", "s.tar"):
        ((_, text),) = read_all(tmp_path / path)
        assert text == "The file has 20 MB. Use a file of at most 20 MB."


def test_a_storage_that_does_not_answer_is_no_row(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("AWS Error NETWORK_CONNECTION")

    class Broken:
        open_input_file = open_input_stream = fail

    monkeypatch.setattr(storage, "open_location", lambda location: (Broken(), location))
    with pytest.raises(OSError, match="NETWORK"):
        next(storage.read_images("x", "x/a.png"))[1]()
    with pytest.raises(OSError, match="NETWORK"):
        list(storage.read_images("x", "x/s.tar"))


ROW = {"file": "a.png", "label": "REAL", "probability": 0.25, "reason": "", "evidence": "", "model": "cnn"}


def test_part_files_tell_which_inputs_are_complete(tmp_path):
    out = str(tmp_path / "out")
    assert storage.completed_inputs(out) == set()
    storage.write_part(out, "part-0-0.parquet", [ROW, ROW | {"file": "b.png", "probability": np.nan}], ())
    storage.write_part(out, "part-0-1.parquet", [], ["s.tar"])
    assert storage.completed_inputs(out) == {"s.tar"}
    table = pd.read_parquet(out)
    assert table.columns.tolist() == storage.COLUMNS
    assert table["file"].tolist() == ["a.png", "b.png"]
    assert table["probability"].tolist() == pytest.approx([0.25, np.nan], nan_ok=True)


def test_a_write_that_ends_half_way_leaves_no_part_file(tmp_path, monkeypatch):
    pyarrow_fs = pytest.importorskip("pyarrow.fs")

    class Interrupted(pyarrow_fs.LocalFileSystem):
        def move(self, source, target):
            raise KeyboardInterrupt

    monkeypatch.setattr(storage, "open_location", lambda location: (Interrupted(), location))
    with pytest.raises(KeyboardInterrupt):
        storage.write_part(str(tmp_path), "part-0-0.parquet", [ROW], ["a.png"])
    assert not storage.exists(str(tmp_path), "part-0-0.parquet")
    assert storage.completed_inputs(str(tmp_path)) == set()


def test_a_damaged_part_file_is_named(tmp_path):
    (tmp_path / "part-0-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"part-0-0\.parquet cannot be read as Parquet .* Delete it"):
        storage.completed_inputs(str(tmp_path))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Name another folder after --out"):
        storage.completed_inputs(str(tmp_path / "file"))


def test_names_of_uris_have_no_options():
    location = "s3://key:secret@bucket/dir?endpoint_override=http://127.0.0.1:1"
    assert storage.name_of(location, "bucket/dir/a.png") == "s3://bucket/dir/a.png"
    assert storage.name_of("file:///dir", "/dir/a.png") == storage.name_of("/dir", "/dir/a.png") == "/dir/a.png"
