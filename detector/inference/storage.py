"""Images in folders and WebDataset shards, and Parquet tables of predictions, on a local disk or in S3.

A location is a local path, or a URI that `pyarrow.fs` opens: `s3://bucket/folder`, with `?endpoint_override=URL` for
another server than Amazon's.
"""

import json
import tarfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from detector.core import files
from detector.core.console import UserError
from detector.data.decode import MAX_BYTES, too_large
from detector.inference.files import COLUMNS

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.fs import FileSystem

SHARD = ".tar"
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
INPUTS = b"inputs"  # in a part file's metadata: the files and shards whose rows are complete with it, as JSON
BUFFER = 8 * 2**20  # bytes of a shard that are read at once: without it, S3 gets a request for each 10 kB
READERS = 32  # threads that read metadata, each of which waits for the storage most of the time
Read = Callable[[], bytes]


def absolute(location: str) -> str:
    """Return a location that means the same in every process: a local path is made absolute, a URI stays as it is."""
    return location if "://" in location else str(Path(location).resolve())


@cache  # for S3 each call asks the server for the bucket's region
def open_location(location: str) -> tuple["FileSystem", str]:
    """Return the file system of a location and the path in it. Raises UserError for a URI of no file system."""
    from pyarrow import fs

    if "://" not in location:
        return fs.LocalFileSystem(), location
    try:
        filesystem, path = fs.FileSystem.from_uri(location)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{location} cannot be opened ({error}). Use a path or a URI such as s3://bucket/dir."
        ) from error
    return filesystem, path.rstrip("/")


def name_of(location: str, path: str) -> str:
    """Return the name of a path in a location's file system: a local path, or a URI without credentials and options."""
    scheme, separator, _ = location.partition("://")
    return f"{scheme}://{path}" if separator and scheme != "file" else path


def list_inputs(location: str) -> list[str]:
    """Return the paths of the files at a location, sorted: itself, or all files below a folder.

    Hidden files and an operating system's own are skipped in folders, and so are part files of `write_part`.
    Raises UserError if there is nothing at the location, or if it cannot be listed.
    """
    from pyarrow import fs

    filesystem, root = open_location(location)
    try:
        info = filesystem.get_file_info(root)
        if info.type == fs.FileType.NotFound:
            raise UserError(f"There is nothing at {location}. Check the path.")
        if info.is_file:
            return [root]
        found = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
        return sorted(info.path for info in found if info.is_file and _is_input(info.path.removeprefix(root)))
    except UnicodeDecodeError as error:
        raise UserError(f"A file name in {location} is not UTF-8 ({error.object!r}). Rename the file.") from error
    except OSError as error:
        raise UserError(f"{location} cannot be listed ({error}). Check that you may read it.") from error


def _is_input(path: str) -> bool:
    parts = PurePosixPath(path.lstrip("/")).parts
    return not (any(files.is_litter(part) for part in parts) or _is_part(parts[-1]))


def _is_part(name: str) -> bool:
    return name.startswith("part-") and name.endswith(".parquet")


def read_images(location: str, path: str) -> Iterator[tuple[str, Read]]:
    """Yield the name of each image in a file or shard, with a function that returns its bytes.

    The function of a shard's image must be called before the next image is asked for. It raises UserError if the image
    cannot be read. OSError without `errno` means that the storage does not answer.
    """
    filesystem, _ = open_location(location)
    name = name_of(location, path)
    if path.endswith(SHARD):
        yield from _read_shard(filesystem, path, name)
    else:
        yield name, partial(_read_file, filesystem, path)


def _read_file(filesystem: "FileSystem", path: str) -> bytes:
    try:
        with filesystem.open_input_file(path) as file:
            if file.size() > MAX_BYTES:
                raise UserError(too_large(file.size()))
            return file.read()
    except OSError as error:
        _raise_unless_of_file(error)
        raise UserError(f"The file cannot be read ({error.strerror}). Check that you may read it.") from error


def _raise_unless_of_file(error: OSError) -> None:
    """Raise an error of the storage again, such as a lost connection, which has no `errno`; ignore an error of a file.

    As the row of a file, an error of the storage would be final. A run that stops can be continued.
    """
    if error.errno is None:
        raise error


class _Header(tarfile.TarInfo):
    """The header of a shard's member. It raises ReadError where tarfile would take a damaged header for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Return the next header. Raises EOFHeaderError at the mark of the archive's end."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _read_shard(filesystem: "FileSystem", path: str, name: str) -> Iterator[tuple[str, Read]]:
    """Yield the images of a shard in the order of the archive, then its damage, if it is damaged."""
    try:
        with (
            filesystem.open_input_stream(path, buffer_size=BUFFER) as stream,
            tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive,
        ):
            for member in archive:
                if member.isfile() and _is_image(member.name):
                    yield f"{name}/{member.name}", partial(_read_member, archive, member)
                archive.members.clear()  # tarfile would keep the header of each member
    except (tarfile.TarError, OSError) as error:
        if not isinstance(error, tarfile.TarError):
            _raise_unless_of_file(error)
        yield name, partial(_fail, f"The shard cannot be read to its end ({error}). Use another copy.")


def _is_image(member: str) -> bool:
    path = PurePosixPath(member)
    return path.suffix.lower() in IMAGE_SUFFIXES and not any(files.is_litter(part) for part in path.parts)


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_BYTES:
        raise UserError(too_large(member.size))
    try:
        return archive.extractfile(member).read()
    except tarfile.TarError as error:
        raise UserError("The shard ends within this image. Use another copy.") from error


def _fail(message: str) -> bytes:
    raise UserError(message)


def write_part(out: str, name: str, rows: list[dict], inputs: Sequence[str]) -> None:
    """Write rows of `predict_files` as the Parquet file `name` into the folder `out`, completely or not at all.

    Args:
        inputs: names of the files and shards that have all their rows when this file is written.
    """
    from pyarrow import BufferOutputStream, parquet

    filesystem, folder = open_location(out)
    buffer = BufferOutputStream()
    parquet.write_table(_table(rows, inputs), buffer)
    part = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"  # readers of Parquet folders skip names that start with a dot
    with filesystem.open_output_stream(part) as stream:
        stream.write(buffer.getvalue())
    filesystem.move(part, f"{folder}/{name}")


def _table(rows: list[dict], inputs: Sequence[str]) -> "pyarrow.Table":
    import pyarrow

    types = {name: pyarrow.float64() if name == "probability" else pyarrow.string() for name in COLUMNS}
    return pyarrow.Table.from_pylist(rows, pyarrow.schema(types, {INPUTS: json.dumps(list(inputs))}))


def exists(location: str, name: str) -> bool:
    """Return whether a folder holds a file of that name."""
    filesystem, folder = open_location(location)
    return filesystem.get_file_info(f"{folder}/{name}").is_file


def completed_inputs(out: str) -> set[str]:
    """Create the folder `out` and return the names of the inputs whose rows are complete in its part files.

    Raises UserError if the folder cannot be made or a part file cannot be read.
    """
    from pyarrow import fs

    filesystem, folder = open_location(out)
    try:
        filesystem.create_dir(folder)
        found = filesystem.get_file_info(fs.FileSelector(folder))
    except OSError as error:
        raise UserError(f"{out} cannot be made or listed ({error}). Name another folder after --out.") from error
    parts = [info.path for info in found if info.is_file and _is_part(info.base_name)]
    with ThreadPoolExecutor(READERS) as pool:
        return {name for inputs in pool.map(partial(_inputs_of, filesystem), parts) for name in inputs}


def _inputs_of(filesystem: "FileSystem", path: str) -> list[str]:
    from pyarrow import parquet

    try:
        with filesystem.open_input_file(path) as file:
            return json.loads((parquet.read_schema(file).metadata or {}).get(INPUTS, "[]"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({error}). Delete it and start again.") from error
