"""Read metadata that tells an image's origin: EXIF, XMP with IPTC's DigitalSourceType, and PNG texts by generators.

Damaged metadata counts as absent. Every block is read up to MAX_TEXT bytes. XMP is searched with bounded regular
expressions instead of an XML parser, so that no entity is expanded.
"""

import html
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from detector.provenance.evidence import Evidence, clean, source_type

MAX_TEXT = 2**20  # bytes of one block, after decompression
MAX_BLOCKS = 20_000  # chunks or segments of one file
MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"RIFF": "WEBP", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
EXIF_TAGS = {0x10F: "EXIF Make", 0x110: "EXIF Model", 0x131: "EXIF Software", 0x2BC: "XMP", 0x9286: "EXIF UserComment"}
EXIF_IFD = 0x8769
EXIF_HEADER, JPEG_XMP, PNG_XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"XML:com.adobe.xmp"
XMP_PROPERTIES = ("DigitalSourceType", "CreatorTool", "Credit")
JSON = r"\A\s*\{"
SETTINGS = {  # entry: the generator that writes its settings there, and a pattern of them
    "PNG parameters": ("Stable Diffusion", rf"Steps: \d|{JSON}"),
    "EXIF UserComment": ("Stable Diffusion", r"Steps: \d"),
    "PNG prompt": ("ComfyUI", JSON),
    "PNG workflow": ("ComfyUI", JSON),
    "EXIF Make": ("ComfyUI", r"\Aworkflow:\s*\{"),  # of a WebP file
    "EXIF Model": ("ComfyUI", r"\Aprompt:\s*\{"),
    "PNG invokeai_metadata": ("InvokeAI", JSON),
    "PNG sd-metadata": ("InvokeAI", JSON),
    "PNG Dream": ("InvokeAI", r" -s ?\d"),
    "PNG Comment": ("NovelAI", r'"(?:uc|noise_schedule|request_type)" ?:'),
    "PNG Description": ("Midjourney", r"\bJob ID: [0-9a-f]{8}-"),
}
PROGRAM = "This entry names a program that created or saved the image."
NAMES = {  # entry: its statement where it does not name a generator
    "EXIF Make": "This entry names the camera's manufacturer.",
    "EXIF Model": "This entry names a camera.",
    "EXIF Software": PROGRAM,
    "PNG Software": PROGRAM,
    "PNG Source": None,
    "XMP CreatorTool": PROGRAM,
    "XMP Credit": None,
}
GENERATOR = re.compile(
    r"stable.?diffusion|midjourney|dall.?e\b|novelai|invokeai|comfyui|fooocus|adobe firefly|made with google ai|"
    r"google gemini|\bflux\.?[12]|ideogram|openai|chatgpt|gpt-image|draw things|leonardo\.ai|bing image creator",
    re.I,
)


def image_format(data: bytes) -> str | None:
    """Return 'JPEG', 'PNG', 'WEBP' or 'TIFF' by the first bytes of a file, or None."""
    found = next((name for magic, name in MAGIC.items() if data.startswith(magic)), None)
    return None if found == "WEBP" and data[8:12] != b"WEBP" else found


def read_metadata(data: bytes) -> list[Evidence]:
    """Return the evidence in a file's metadata; damaged metadata counts as absent."""
    found = []
    for kind, text in _entries(data).items():
        shown = clean(text)
        if not shown or "\N{REPLACEMENT CHARACTER}" in shown:  # absent, or damaged
            continue
        if kind == "XMP DigitalSourceType":
            found.append(source_type("XMP source type", "IPTC's DigitalSourceType", shown))
        elif statement := _statement(kind, text):
            found.append(Evidence(kind, statement, shown))
    return found


def _statement(kind: str, text: str) -> str | None:
    """Return the meaning of an entry, or None where it does not tell the image's origin."""
    generator, pattern = SETTINGS.get(kind, (None, r"\Z."))
    if re.search(pattern, text):
        return f"This entry has the format of settings that {generator} saves with an image."
    named = kind in NAMES and GENERATOR.search(text[:1000])
    return "This entry names an image generator." if named else NAMES.get(kind)


def _entries(data: bytes) -> dict[str, str]:
    """Return the texts of a file's metadata by SETTINGS' and NAMES' names, as many as can be read."""
    readers = {"JPEG": _jpeg_blocks, "PNG": _png_blocks, "WEBP": _webp_blocks, "TIFF": lambda data: [("EXIF", data)]}
    blocks, entries = {}, {}
    with suppress(KeyError, struct.error):
        for name, block in readers[image_format(data)](data):
            blocks.setdefault(name, block)  # the first of several
    exif = _exif_values(blocks.pop("EXIF", b""))
    xmp = (blocks.pop("XMP", b"") or exif.pop("XMP", b""))[:MAX_TEXT].decode("utf-8", "replace")
    for name in XMP_PROPERTIES:
        entries[f"XMP {name}"] = _xmp_property(xmp, name)
    for name, raw in (exif | blocks).items():
        entries[name] = _decode(name, raw)
    return entries


def _jpeg_blocks(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 2
    for _ in range(MAX_BLOCKS):
        mark, marker, length = struct.unpack_from(">BBH", data, at)
        segment = data[at + 4 : at + 2 + length]
        if mark != 0xFF or marker == 0xDA or length < 2 or len(segment) < length - 2:  # 0xDA: the pixels begin
            return
        if marker == 0xE1 and segment.startswith((EXIF_HEADER, JPEG_XMP)):
            yield "EXIF" if segment.startswith(EXIF_HEADER) else "XMP", segment.removeprefix(JPEG_XMP)
        at += 2 + length


def _webp_blocks(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 12
    for _ in range(MAX_BLOCKS):
        name, length = struct.unpack_from("<4sI", data, at)
        if name in (b"EXIF", b"XMP ") and at + 8 + length <= len(data):
            yield name.decode().strip(), data[at + 8 : at + 8 + min(length, MAX_TEXT)]
        at += 8 + length + length % 2


def _png_blocks(data: bytes) -> Iterator[tuple[str, bytes]]:
    at, seen = 8, set()
    for _ in range(MAX_BLOCKS):
        length, name = struct.unpack_from(">I4s", data, at)
        start, end = at + 8, at + 8 + length
        at = end + 4
        if name not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            continue
        if zlib.crc32(memoryview(data)[start - 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            continue
        chunk = data[start : min(end, start + MAX_TEXT)]
        keyword, _, rest = chunk.partition(b"\0")
        key = "XMP" if keyword == PNG_XMP else "EXIF" if name == b"eXIf" else f"PNG {keyword.decode('latin-1')}"
        if key in seen or key not in {"XMP", "EXIF", *SETTINGS, *NAMES}:
            continue
        seen.add(key)  # each keyword is decompressed once
        with suppress(zlib.error):
            yield key, chunk if key == "EXIF" else _png_text(name, rest)


def _png_text(name: bytes, rest: bytes) -> bytes:
    """Return the text after a chunk's keyword in UTF-8, decompressed up to MAX_TEXT bytes. Raises zlib.error."""
    compressed = name == b"zTXt" or (name == b"iTXt" and rest[:1] == b"\1")
    if name == b"zTXt":
        rest = rest[1:]  # the compression method, of which there is one
    elif name == b"iTXt":
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # after the language and the translated keyword
    text = zlib.decompressobj().decompress(rest, MAX_TEXT) if compressed else rest
    return text if name == b"iTXt" else text.decode("latin-1").encode()


def _exif_values(block: bytes) -> dict[str, bytes]:
    """Return the raw values of EXIF_TAGS in the first image directory and its EXIF directory, until damage begins.

    Pillow would read every entry into memory, and entries may overlap. This function reads each listed entry once.
    """
    block, values = block.removeprefix(EXIF_HEADER), {}
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    with suppress(struct.error):
        directories = list(struct.unpack_from(f"{order}I", block, 4)) if order else []
        for directory in directories:
            (count,) = struct.unpack_from(f"{order}H", block, directory)
            for at in range(directory + 2, directory + 2 + 12 * count, 12):
                tag, type_, size, place = struct.unpack_from(f"{order}HHII", block, at)
                name = EXIF_TAGS.get(tag)
                if tag == EXIF_IFD and len(directories) == 1:
                    directories.append(place)
                elif name and name not in values and type_ in (1, 2, 7):  # these types have one byte a value
                    start = at + 8 if size <= 4 else place
                    values[name] = block[start : start + min(size, MAX_TEXT)]
    return values


def _decode(name: str, raw: bytes) -> str:
    """Return an entry as text, up to its first NUL. An EXIF UserComment begins with the name of its encoding."""
    encoding = "utf-8"
    if name == "EXIF UserComment":
        kind, raw = raw[:8], raw[8:]
        if kind == b"UNICODE\0":
            encoding = "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"
    return raw.decode(encoding, "replace").partition("\0")[0].strip()


def _xmp_property(xmp: str, name: str) -> str:
    """Return a simple property of an XMP packet, written as an attribute or as an element; empty if there is none."""
    attribute = r"\s{0,9}=\s{0,9}[\"']([^\"'<]{1,300}+)[\"']"  # {m,n}+ never tries a shorter match, so it stays fast
    element = r"(?:\s[^<>]{0,300}+)?>([^<]{1,300}+)<"
    match = re.search(rf":{name}(?:{attribute}|\s{{1,9}}rdf:resource{attribute}|{element})", xmp)
    return html.unescape(next(filter(None, match.groups()))).strip() if match else ""
