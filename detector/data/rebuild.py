"""Rebuild `data/sources` bit for bit from the public repositories that `data/native.csv` names.

Git fetches only the needed originals of a repository. Each is requested by its git blob hash, which git checks, because
some are not at their `path` in `commit` but at another commit. A crop is written only if its SHA-256 is the manifest's.
There are two ways to cut:

- Rows without `quality` are JPEG files cropped losslessly by jpegtran. Their first compression stays intact.
- The others are decoded as stored, without transparency. They are cut to `part`, resized to `resized` by Pillow's
  `filter`, cut to `box`, and encoded once with `quality` and `subsampling`; each step only where the manifest has it.
"""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, features

from detector.core import files
from detector.core.console import UserError, progress
from detector.data.native import read_manifest

if TYPE_CHECKING:
    import pandas as pd

Made = tuple[list[tuple], bytes | UserError]  # a row and its file, or rows and the error that concerns them
LIMIT_S = 1800  # seconds that one call of git or jpegtran may take
BATCH = 32  # originals that one call of git fetches; the number bounds what an interruption loses
# Never ask for a password, give up a stalled transfer after a minute, start no housekeeping in the background
GIT = ("git", "-c", "credential.helper=", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60")
GIT += ("-c", "gc.auto=0", "-c", "fetch.negotiationAlgorithm=noop")
ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}


def rebuild_sources(host: str = "https://github.com", mirror: Path | None = None, only: Sequence[str] = ()) -> None:
    """Make every file of the manifest that `data/sources` lacks, and print one sentence for each failure.

    Finished files are kept, so an interrupted call goes on where it stopped.

    Args:
        host: The address that the names of the repositories are appended to.
        mirror: A folder of clones of the repositories, as <owner>/<name>, used instead of the host.
        only: The sources to rebuild; none for all.

    Raises UserError if git is missing, a source is unknown, a file cannot be written, or some files failed.
    """
    manifest = _choose(read_manifest(), only)
    if shutil.which("git") is None:
        raise UserError("git was not found, and it fetches the originals. Install it and run again.")
    address = str(mirror.resolve() if mirror else host.rstrip("/"))
    fill_folder(files.SOURCES_DIR, manifest, lambda rows: _rebuild(rows, address))


def fill_folder(folder: Path, manifest: "pd.DataFrame", make: Callable[["pd.DataFrame"], Iterator[Made]]) -> None:
    """Write every file of a manifest that `folder` lacks, and print one sentence for each failure.

    Args:
        folder: The folder that the paths in the manifest's column `file` are relative to.
        manifest: One row for each file, with its `file` and its `sha256`.
        make: Yields each given row with the bytes of its file, or the rows that one error concerns with the error.

    Raises UserError if a file cannot be written or some files failed.
    """
    failed = 0
    with progress(total=len(manifest), desc=f"rebuilding data/{folder.name}", unit=" files") as bar:
        rows = manifest[[not _is_made(folder / row.file, row.sha256) for row in manifest.itertuples()]]
        bar.update(len(manifest) - len(rows))
        for made_rows, data in make(rows):
            bar.update(len(made_rows))
            if isinstance(data, UserError):
                failed += len(made_rows)
                bar.write(str(data), file=sys.stderr)
            else:
                with files.atomic_write(folder / made_rows[0].file) as part:
                    part.write_bytes(data)
    if failed:
        raise UserError(
            f"{failed:,} of {len(manifest):,} files could not be rebuilt, for the reasons above. Run again to try only "
            "those."
        )
    print(f"{folder} has all {len(manifest):,} files that were requested.")


def _choose(manifest: "pd.DataFrame", only: Sequence[str]) -> "pd.DataFrame":
    sources = sorted(set(manifest.source))
    if unknown := sorted(set(only) - set(sources)):
        raise UserError(f"There is no source {unknown[0]}. Choose from {', '.join(sources)}.")
    return manifest[manifest.source.isin(list(only))] if only else manifest


def _is_made(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _rebuild(rows: "pd.DataFrame", address: str) -> Iterator[Made]:
    """Yield each row with its crop, or the rows that one error concerns with the error."""
    lossless = rows.quality == ""
    if lossless.any() and shutil.which("jpegtran") is None:
        error = UserError(
            f"jpegtran was not found, and {lossless.sum():,} files are lossless crops that only it makes. Install "
            "libjpeg-turbo's tools (Debian and Ubuntu: libjpeg-turbo-progs, macOS: jpeg-turbo) and run again."
        )
        yield list(rows[lossless].itertuples()), error
        rows = rows[~lossless]
    files.BUILD_DIR.mkdir(parents=True, exist_ok=True)
    for repository, group in rows.groupby("repository", sort=False):
        with tempfile.TemporaryDirectory(prefix="rebuild-", dir=files.BUILD_DIR) as folder:
            yield from _rebuild_repository(list(group.itertuples()), f"{address}/{repository}", Path(folder))


def _rebuild_repository(rows: list[tuple], url: str, folder: Path) -> Iterator[Made]:
    by_blob = {}
    for row in rows:
        by_blob.setdefault(row.blob, []).append(row)
    _git(folder, "init", "--quiet", "--bare")
    waiting = list(by_blob)
    while waiting:
        batch = waiting[:BATCH]
        try:
            _git(folder, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--filter=blob:none", url, *batch)
        except UserError as error:
            absent = [blob for blob in batch if blob in str(error)]  # git names one of the blobs that do not exist
            lost = [row for blob in absent or waiting for row in by_blob[blob]]
            reason = f"{url} gave no original ({error}), so {count_files(lost)} missing."
            yield lost, UserError(f"{reason} Check the connection and the manifest, or use a mirror.")
            waiting = [blob for blob in waiting if absent and blob not in absent]
        else:
            yield from (([row], _checked_crop(row, folder)) for blob in batch for row in by_blob[blob])
            waiting = waiting[BATCH:]


def count_files(rows: list[tuple]) -> str:
    """Return the number of rows with the first file's name, as the subject of a sentence."""
    return f"{rows[0].file} is" if len(rows) == 1 else f"{rows[0].file} and {len(rows) - 1:,} more are"


def _git(folder: Path, *arguments: str) -> bytes:
    """Return the output of a git command in the repository `folder`.

    Raises UserError with git's own reason, without a remedy, if the command fails or takes too long.
    """
    # Files instead of pipes: a helper process of git that outlives its time limit cannot keep this one waiting
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(
                [*GIT, f"--git-dir={folder}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                timeout=LIMIT_S,
                env=os.environ | ENVIRONMENT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(f"git took more than {LIMIT_S} seconds") from error
        output.seek(0)
        errors.seek(0)
        if done.returncode:
            lines = errors.read().decode("utf-8", "replace").splitlines()
            reasons = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
            raise UserError(reasons[0] if reasons else f"git ended with status {done.returncode}")
        return output.read()


def _checked_crop(row: tuple, folder: Path) -> bytes | UserError:
    try:
        crop = cut(row, _git(folder, "cat-file", "blob", row.blob))
    except UserError as error:
        return UserError(f"{row.file} was not rebuilt: {error}")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return UserError(f"{row.file} was not rebuilt: {row.path} cannot be decoded ({error}). Install a newer Pillow.")
    if hashlib.sha256(crop).hexdigest() != row.sha256:
        tool = f"Pillow {features.version('pil')} with libjpeg-turbo {features.version('libjpeg_turbo')}"
        return UserError(
            f"{row.file} was not rebuilt: {tool if row.quality else 'jpegtran'} gives other bytes than the published "
            f"file. Use another version{'' if row.quality else ', of libjpeg-turbo'}."
        )
    return crop


def cut(row: tuple, original: bytes) -> bytes:
    """Cut the crop of one row of the manifest out of its original file, and return it as the bytes of a JPEG file.

    Raises UserError if jpegtran fails, and Pillow's errors if the original cannot be decoded.
    """
    box = _numbers(row.box)  # left, top, right, bottom
    if not row.quality:
        return _crop_losslessly(original, box)
    with Image.open(io.BytesIO(original)) as opened:
        image = opened.convert("RGB")
    if row.part:
        image = image.crop(_numbers(row.part))
    if row.resized:
        image = image.resize(_numbers(row.resized), Image.Resampling(int(row.filter)))
    stream = io.BytesIO()
    image.crop(box).save(stream, "JPEG", quality=int(row.quality), subsampling=int(row.subsampling))
    return stream.getvalue()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _crop_losslessly(original: bytes, box: tuple[int, ...]) -> bytes:
    """Crop a JPEG file without decoding its coefficients. The box starts at a corner of its blocks."""
    left, top, right, bottom = box
    command = ["jpegtran", "-copy", "none", "-crop", f"{right - left}x{bottom - top}+{left}+{top}"]
    try:
        done = subprocess.run(command, input=original, capture_output=True, timeout=LIMIT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error).encode()
        raise UserError(f"jpegtran failed ({reason.decode('utf-8', 'replace').strip()}).") from error
    return done.stdout
