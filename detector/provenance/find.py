"""Find every piece of evidence in one image file."""

from contextlib import suppress
from functools import partial
from pathlib import Path

from detector.data.decode import MAX_BYTES
from detector.provenance.c2pa import read_manifest
from detector.provenance.evidence import Evidence
from detector.provenance.metadata import read_metadata


def find_evidence(path_or_bytes: str | Path | bytes, trust_list: str | None = None) -> list[Evidence]:
    """Return the evidence of an image's origin in its file: the C2PA manifest first, then metadata. It never raises.

    Args:
        path_or_bytes: a JPEG, PNG, WebP or TIFF file, or its bytes. Any other file, a file that cannot be read and one
            that is larger than `MAX_BYTES` give no evidence.
        trust_list: PEM certificates of trusted signers' roots; the bundled list by default.
    """
    found = []
    with suppress(Exception):
        data = path_or_bytes if isinstance(path_or_bytes, bytes) else _read(Path(path_or_bytes))
        readers = [partial(read_manifest, trust_list=trust_list), read_metadata] if len(data) <= MAX_BYTES else []
        for reader in readers:
            with suppress(Exception):
                found += reader(data)
    return found


def _read(path: Path) -> bytes:
    if not path.is_file():  # a named pipe would never end
        return b""
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)
