"""Read the structure of a JPEG file from its bytes, without decoding it."""

import re
from collections.abc import Iterator

import numpy as np


def continuation(data: bytes) -> bytes:
    """Return bytes that libjpeg reads as further image data, with the restart markers that would follow."""
    noise = bytes(range(1, 255)) * 16
    markers = re.findall(rb"\xff[\xd0-\xd7]", data[data.rfind(b"\xff\xda") :])
    following = markers[-1][1] + 1 if markers else 0
    return noise + b"".join(bytes((0xFF, 0xD0 + (following + i) % 8)) + noise for i in range(8))


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment of a JPEG file up to its end; image data lies between segments."""
    position, marker = 2, re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
    while (match := marker.search(data, position)) and match[1] != b"\xd9":
        position = match.end() + int.from_bytes(data[match.end() : match.end() + 2])
        yield match[1][0], match.end() - 2, position


def without_comments(data: bytes) -> bytes:
    """Return a JPEG file with EXIF, ICC profile and colour transform as its only metadata."""
    kept = [data[:2]]
    for marker, start, end in segments(data):
        if marker == 0xDA:  # start of a scan
            return b"".join([*kept, data[start:]])
        is_comment = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if not is_comment or data[start + 4 : end].startswith((b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe")):
            kept.append(data[start:end])
    return data


def has_all_scans(data: bytes) -> bool:
    """Return whether the scans of a JPEG file have all bits of all 64 coefficients of each component."""
    absent_bits = {}
    for marker, start, end in segments(data):
        body = data[start + 4 : end]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of the frame
            absent_bits = {component: np.full(64, 99) for component in body[6::3]}
        if marker == 0xDA:
            first, last, bits = body[-3:]
            for component in body[1:-3:2]:
                absent_bits[component][first : last + 1] = bits & 15
    return not any(bits.any() for bits in absent_bits.values())
