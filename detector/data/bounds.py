"""Small files that would take hours or gigabytes: recognised before they are decoded, or freed of the cause."""

import re
import struct
from contextlib import suppress
from itertools import islice

from detector.data.jpeg_bytes import segments

MAX_SCANS = 100  # of a progressive JPEG file, where encoders write about ten; each takes time and few bytes
SCAN = re.compile(rb"\xff\xda\0(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")  # the start of one, with 1 to 4 components
EXIF_HEADER, EXIF_DIRECTORIES = b"Exif\0\0", (0x8769, 0x8825, 0xA005)  # tags of directories inside the first one
TYPE_SIZES = bytes((0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8))  # bytes of a value of each type of TIFF


def has_too_many_scans(data: bytes) -> bool:
    """Return whether a JPEG file has more than MAX_SCANS scans."""
    return data.startswith(b"\xff\xd8\xff") and len(SCAN.findall(data)) > MAX_SCANS


def jpeg_exif(data: bytes) -> bytes:
    """Return the first EXIF block of a JPEG file, or an empty block. It lies between the first segments."""
    for marker, start, end in islice(segments(data), 1000):
        if marker == 0xE1 and data[start + 4 : start + 10] == EXIF_HEADER:
            return data[start + 4 : end]
        if marker == 0xDA:  # start of a scan
            break
    return b""


def without_gif_comments(data: bytes) -> bytes:
    """Return a GIF file without the comments before its first image, which Pillow would join in quadratic time."""
    at = 13 + (3 * 2 ** (1 + (data[10] & 7)) if data[10] & 128 else 0)  # after the palette
    kept = [data[:at]]
    while data[at : at + 1] == b"!":  # an extension: its kind, then blocks after their lengths, until an empty one
        start, at = at, at + 2
        while length := data[at]:
            at += 1 + length
        at += 1
        if data[start + 1] != 0xFE:
            kept.append(data[start:at])
    return b"".join([*kept, data[at:]])


def is_bounded(block: bytes) -> bool:
    """Return whether the entries of a TIFF file or an EXIF block have about as many bytes as it has.

    Pillow reads every entry into memory. They may overlap, so that a file of 2 MB would take gigabytes.
    """
    block, total = block.removeprefix(EXIF_HEADER).ljust(16, b"\0"), 0
    order, is_big = "<" if block[:2] == b"II" else ">", block[2] == 43  # BigTIFF has longer fields
    head, entry = (struct.Struct(order + fields) for fields in (("Q", "HHQQ") if is_big else ("H", "HHII")))
    directories = list(struct.unpack_from(f"{order}Q" if is_big else f"{order}I", block, 8 if is_big else 4))
    for directory in directories:
        with suppress(struct.error, OverflowError, IndexError):  # the block ends
            first, (count,) = directory + head.size, head.unpack_from(block, directory)
            for at in range(first, first + count * entry.size, entry.size):
                tag, type_, values, place = entry.unpack_from(block, at)
                total += min(values * (TYPE_SIZES[type_] if type_ < len(TYPE_SIZES) else 0), len(block))
                if total > 4 * len(block):
                    return False
                if tag in EXIF_DIRECTORIES and len(directories) <= len(EXIF_DIRECTORIES):
                    directories.append(place)
    return True
