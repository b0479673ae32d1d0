"""The manifest of sources at native resolution: complete, consistent with its files, and grouped by family."""

import hashlib
import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, JpegImagePlugin

from detector.core import files
from detector.core.console import UserError
from detector.core.labels import CLASSES
from detector.data.native import HELD_OUT, STYLES, family_groups, open_crop, read_manifest


@pytest.fixture(scope="module")
def manifest() -> pd.DataFrame:
    return read_manifest()


def boxes(texts: pd.Series) -> np.ndarray:
    return np.array([list(map(int, text.split())) for text in texts])


def test_the_manifest_is_complete(manifest):
    assert len(manifest) == 5570
    assert manifest.file.is_unique
    assert set(manifest["class"]) == set(CLASSES)
    assert (manifest.file.str.rsplit("/", n=1).str[0] == manifest["class"] + "/" + manifest.source).all()
    assert manifest[["family", "group", "generator", "repository", "path"]].ne("").all(axis=None)
    assert manifest.commit.str.fullmatch("[0-9a-f]{40}").all()
    assert manifest.blob.str.fullmatch("[0-9a-f]{40}").all()
    assert manifest.sha256.str.fullmatch("[0-9a-f]{64}").all()
    assert manifest.sha256.is_unique
    assert (manifest.groupby("blob").repository.nunique() == 1).all()
    versions = manifest.groupby(["repository", "path"]).blob.nunique()
    assert (versions > 1).sum() == 24  # paths with blobs of several commits, although `commit` names one


def test_every_crop_lies_inside_its_image(manifest):
    box = boxes(manifest.box)
    resized = manifest.resized.where(
        manifest.resized != "", manifest.width.astype(str) + " " + manifest.height.astype(str)
    )
    assert (box[:, :2] >= 0).all()
    assert (box[:, 2:] <= boxes(resized)).all()
    assert (box[:, 2:] - box[:, :2] == 256).all()
    parts = manifest[manifest.part != ""]
    corners = boxes(parts.part)
    assert (corners[:, 2:] - corners[:, :2] == parts[["width", "height"]].to_numpy()).all()


def test_each_way_of_cutting_has_its_columns(manifest):
    downscaled = manifest.variant == "downscaled"
    assert set(manifest.variant) == {"native", "downscaled"}
    assert (manifest.resized.ne("") == downscaled).all()
    assert (manifest["filter"].ne("") == downscaled).all()
    assert set(manifest["filter"]) == {"", "1", "2", "3", "4", "5"}
    encoded = manifest.quality != ""
    assert encoded[downscaled].all()
    assert (manifest.subsampling.ne("") == encoded).all()
    lossless = boxes(manifest.box[~encoded])
    assert (lossless[:, :2] % 16 == 0).all()  # corners of blocks at any chroma subsampling
    assert manifest.part[~encoded].eq("").all()


def test_styles(manifest):
    assert set(manifest["style"]) == set(STYLES)
    assert manifest["style"][manifest["class"] == "REAL"].eq("photo").all()
    images = manifest.groupby(["blob", "part"])["style"].nunique()
    assert (images == 1).all()
    assert manifest["style"][manifest.source == "stylegan2_faces"].eq("photo").all()


def test_held_out_sources_exist_in_their_class(manifest):
    for class_name, sources in HELD_OUT.items():
        assert set(sources) <= set(manifest.source[manifest["class"] == class_name])
        assert set(sources) < set(manifest.source)


def test_the_files_are_as_the_manifest_says(manifest):
    """The first file of each source and way of cutting: its bytes, its size and its compression."""
    if not files.SOURCES_DIR.is_dir():
        pytest.skip("data/sources is not on this machine")
    for row in manifest.groupby(["source", "variant", manifest.quality == ""]).head(1).itertuples():
        data = (files.SOURCES_DIR / row.file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row.sha256, row.file
        if row.quality:
            stream = io.BytesIO()
            Image.new("RGB", (16, 16)).save(stream, "JPEG", quality=int(row.quality))
            opened = Image.open(io.BytesIO(data))
            assert opened.quantization == Image.open(stream).quantization, row.file
            assert JpegImagePlugin.get_sampling(opened) == int(row.subsampling), row.file
    crop = open_crop(manifest.iloc[0])
    assert crop.shape == (3, 256, 256)
    assert torch.equal(crop, open_crop(next(manifest.itertuples())))


def test_a_missing_manifest_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "NATIVE", tmp_path / "native.csv")
    with pytest.raises(UserError, match=r"native.csv is missing. Restore it"):
        read_manifest()


def table(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    """Return a manifest of (class, source, family, images), with a native and a downscaled file for each image."""
    records = [
        {"class": class_name, "source": source, "family": family, "blob": f"{source} {i}", "part": ""}
        for class_name, source, family, images in rows
        for i in list(range(images)) * 2
    ]
    return pd.DataFrame(records)


def test_small_families_share_a_group():
    """Images are counted, not files, over all sources of a family; photos are grouped by source at any size."""
    rows = table(
        ("FAKE", "a", "big", 25), ("FAKE", "b", "big", 25), ("FAKE", "c", "small", 49), ("FAKE", "d", "tiny", 1),
        ("REAL", "e", "phone", 3), ("REAL", "f", "phone", 60),
    )  # fmt: skip
    groups = family_groups(rows)
    assert groups.index.equals(rows.index)
    expected = {"a": "big", "b": "big", "c": "small families", "d": "small families", "e": "e", "f": "f"}
    assert dict(zip(rows.source, groups, strict=True)) == expected
    assert set(family_groups(rows[rows.source != "b"])) == {"small families", "e", "f"}


def test_every_group_of_the_manifest_has_one_class(manifest):
    assert (manifest["class"].groupby(family_groups(manifest)).nunique() == 1).all()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_open_crop(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(files, "SOURCES_DIR", tmp_path)
    image = Image.fromarray(np.arange(24 * 40 * 3, dtype=np.uint8).reshape(24, 40, 3)).convert(mode)
    image.save(tmp_path / "a.jpg")
    row = pd.Series({"file": "a.jpg"})
    pixels = open_crop(row)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 24, 40)
    expected = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB"))
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), expected)
    (tmp_path / "a.jpg").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"a\.jpg cannot be used.*rebuild"):
        open_crop(row)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"a\.jpg cannot be used.*no such file"):
        open_crop(row)


def test_importing_is_light():
    code = "import sys, detector.data.rebuild; print('torchvision' in sys.modules, 'pandas' in sys.modules)"
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True, timeout=120, check=True).stdout
    assert printed.split() == ["False", "False"]
