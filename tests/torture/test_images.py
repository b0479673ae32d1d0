"""Mutated image files and files that are made to exhaust the machine: each is decoded, or rejected in one sentence.

Files are opened in a child process that prints the name of each file first, so that a crash names its file. This
module is also the child's program: `python test_images.py FOLDER FIRST LAST`.
"""

import gzip
import io
import os
import random
import re
import resource
import runpy
import signal
import struct
import subprocess
import sys
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from detector.core import files
from detector.core.console import UserError
from detector.data import decode
from detector.data.decode import decode_image, to_rgb
from detector.inference.files import COLUMNS, find_files, predict_files
from detector.provenance.c2pa import read_manifest
from detector.provenance.evidence import MAX_SHOWN
from detector.provenance.metadata import read_metadata

CPU_SECONDS, MEMORY = 20, 2**30  # of one file: the most processor time, and the most memory above the idle state
ORIENTATIONS = {  # EXIF type and value of an orientation: whether the image is turned by 90 degrees
    **{(3, value): value in (5, 6, 7, 8) for value in (*range(12), 255, 65535)},
    **{(4, value): value in (5, 6, 7, 8) for value in (0, 6, 9, 2**32 - 1)},
}
REJECTED = {  # suffix of an original: the beginning of the error's message
    ".pdf": "This is a PDF, not",
    ".jp2": "This is a JPEG 2000 image, not",
    ".eps": "This is a PostScript file, not",
    ".ico": "The file is not",
    ".zip": "This is an archive, not",
    ".gz": "This is an archive, not",
    ".svg": "This is an SVG drawing, not",
    ".html": "This is a web page, not",
    ".mp4": "This is a video, not",
    ".psd": "This is a Photoshop document, not",
}


# Files to mutate


def encoded(image: Image.Image, format_: str, **options) -> bytes:
    stream = io.BytesIO()
    copies = [frame.copy() for frame in (image, *options.pop("append_images", ()))]
    animation = {"append_images": copies[1:]} if copies[1:] else {}
    copies[0].save(stream, format_, **animation, **options)  # an image that was saved keeps options of its format
    return stream.getvalue()


def originals() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of a file of each format and coding that is decoded, and of others."""
    noise = Image.effect_noise((48, 40), 80)
    image = Image.merge(
        "RGB", [noise, noise.transpose(Image.Transpose.ROTATE_180), Image.linear_gradient("L").resize(noise.size)]
    )
    alpha, large = image.convert("RGBA"), image.resize((160, 130))
    alpha.putalpha(noise)
    deep, palette = Image.fromarray(np.asarray(noise, np.uint16) * 257), alpha.quantize(16)
    exif = Image.Exif()
    exif.update({ExifTags.Base.Make: "Canon", ExifTags.Base.Software: "Firmware", ExifTags.Base.Orientation: 6})
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:D xmlns:r="r" xmp:CreatorTool="x" tiff:Orientation="3"/></x:xmpmeta>'
    rich = {"exif": exif, "icc_profile": srgb}
    frames = {"save_all": True, "append_images": [image.rotate(angle) for angle in (90, 180)]}
    yield "baseline.jpg", encoded(image, "JPEG")
    yield "restarts.jpg", encoded(image, "JPEG", restart_marker_blocks=2)
    yield "progressive.jpg", encoded(large, "JPEG", progressive=True, xmp=xmp, **rich)
    yield "cmyk.jpg", encoded(image.convert("CMYK"), "JPEG", icc_profile=srgb)
    yield "grey.jpg", encoded(noise, "JPEG", exif=exif)
    yield "stereo.jpg", encoded(image, "MPO", **frames)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a cat\nSteps: 20, " + "x" * 300, zip=True)
    yield "rgb.png", encoded(large, "PNG", pnginfo=texts, **rich)
    yield "16bit.png", encoded(deep, "PNG")
    yield "palette.png", encoded(palette, "PNG", transparency=bytes(range(0, 256, 16)))
    yield "bits.png", encoded(noise.convert("1"), "PNG")
    yield "animated.png", encoded(alpha, "PNG", **frames)
    yield "lossy.webp", encoded(large, "WEBP", xmp=xmp, **rich)
    yield "lossless.webp", encoded(alpha, "WEBP", lossless=True)
    yield "animated.webp", encoded(alpha, "WEBP", **frames)
    yield "animated.gif", encoded(image.quantize(32), "GIF", comment=b"text", loop=0, **frames)
    yield "rgb.bmp", encoded(image, "BMP")
    yield "palette.bmp", encoded(image.quantize(16), "BMP")
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"{compression}.tif", encoded(image, "TIFF", compression=compression, **rich)
    yield "16bit.tif", encoded(deep, "TIFF")
    yield "pages.tif", encoded(image.convert("CMYK"), "TIFF", compression="tiff_lzw", **frames)
    yield "rgb.avif", encoded(image, "AVIF", speed=10, **rich)
    yield "alpha.avif", encoded(alpha, "AVIF", speed=10)
    if not pytest.importorskip("pillow_heif"):
        return
    from pillow_heif import from_pillow

    for name, content in {"rgb": large, "alpha": alpha}.items():
        stream = io.BytesIO()
        from_pillow(content).save(stream, quality=50)
        yield f"{name}.heic", stream.getvalue()
    # Formats that are rejected by their names
    for name, format_ in {"text.pdf": "PDF", "rgb.jp2": "JPEG2000", "rgb.eps": "EPS", "rgb.ico": "ICO"}.items():
        yield name, encoded(image, format_)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("image.png", encoded(image, "PNG"))
    yield "images.zip", archive.getvalue()
    yield "image.png.gz", gzip.compress(encoded(image, "PNG"), mtime=0)
    yield "drawing.svg", b'<?xml version="1.0"?>\n<!-- Inkscape -->\n<svg width="9" height="9"/>' + b" " * 200
    yield "page.html", b"<!DOCTYPE html><html><img src='x'></html>" + b" " * 200
    yield "film.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(range(256))
    yield "layers.psd", b"8BPS\0\1" + bytes(range(256))


def signed_originals() -> Iterator[tuple[str, bytes]]:
    """Yield files with a C2PA manifest. Their keys, and so their bytes, differ from run to run."""
    tests = runpy.run_path(str(files.ROOT / "tests/provenance/test_c2pa.py"))
    chain = tests["Chain"]()
    for format_ in tests["FORMATS"]:
        yield f"signed.{format_.lower()}", chain.sign(tests["plain"](format_), tests["CREATED"])


# Mutations: bytes, a source of random numbers and another original to the mutated bytes


def flip_bytes(data: bytes, rng: random.Random, _: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        changed[rng.randrange(len(changed))] ^= rng.randrange(1, 256)
    return bytes(changed)


def flip_header(data: bytes, rng: random.Random, _: bytes) -> bytes:
    at = rng.randrange(min(len(data), 200))
    return data[:at] + rng.choice((b"\0", b"\x7f", b"\xff", rng.randbytes(1))) + data[at + 1 :]


def truncate(data: bytes, rng: random.Random, _: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def insert_run(data: bytes, rng: random.Random, _: bytes) -> bytes:
    at, count = rng.randrange(len(data)), rng.choice((1, 2, 16, 300, 70_000))
    return data[:at] + (rng.randbytes(count) if rng.random() < 0.5 else rng.randbytes(1) * count) + data[at:]


def delete_run(data: bytes, rng: random.Random, _: bytes) -> bytes:
    first, last = run_of(data, rng)
    return data[:first] + data[last:]


def zero_block(data: bytes, rng: random.Random, _: bytes) -> bytes:
    first, last = run_of(data, rng)
    return data[:first] + bytes(last - first) + data[last:]


def duplicate_block(data: bytes, rng: random.Random, _: bytes) -> bytes:
    first, last = run_of(data, rng)
    return data[:last] + data[first:last] * rng.choice((1, 1, 50)) + data[last:]


def swap_headers(data: bytes, rng: random.Random, other: bytes) -> bytes:
    length = rng.choice((4, 12, 16, 64, 500))
    return other[:length] + data[length:]


def huge_dimensions(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """Write large numbers where the format has width and height."""
    wide, tall = (rng.choice((0, 1, 7000, 16383, 32767, 65535, 2**31 - 1, 2**32 - 1)) for _ in range(2))
    changed, short = bytearray(data), struct.pack(">HH", wide & 65535, tall & 65535)
    if data.startswith(b"\x89PNG"):
        changed[16:24] = struct.pack(">II", wide, tall)
    elif data.startswith(b"GIF"):
        changed[6:10] = short
    elif data.startswith(b"BM"):
        changed[18:26] = struct.pack("<II", wide, tall)
    elif data.startswith(b"RIFF"):
        changed[24:30] = struct.pack("<II", wide & 2**24 - 1, tall)[:6]
    elif data.startswith((b"II", b"MM")):
        for tag in (256, 257):
            at = data.find(struct.pack("<H" if data[:1] == b"I" else ">H", tag), 4)
            changed[at + 2 : at + 12] = struct.pack("<HII", 4, 1, wide if tag == 256 else tall)
    elif found := re.search(rb"\xff[\xc0-\xc2]\0.\x08", data, re.DOTALL):
        changed[found.end() : found.end() + 4] = short
    elif (at := data.find(b"ispe")) >= 0:  # of AVIF and HEIC
        changed[at + 8 : at + 16] = struct.pack(">II", wide, tall)
    return bytes(changed)


def splice_metadata(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Insert a block of EXIF, an ICC profile or XMP: damaged, or bytes of another file."""
    content = rng.choice((other[:60_000], rng.randbytes(200), b"II*\0\x08\0\0\0\xff\xff" + rng.randbytes(3000), b""))
    if data.startswith(b"\xff\xd8"):
        names = b"Exif\0\0", b"ICC_PROFILE\0\1\1", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0", b"Photoshop 3.0\0"
        name = rng.choice(names)
        marker = b"\xff\xe2" if name[:3] in (b"ICC", b"MPF") else b"\xff\xed" if name[:1] == b"P" else b"\xff\xe1"
        return data[:2] + marker + struct.pack(">H", 2 + len(name + content)) + name + content + data[2:]
    if data.startswith(b"\x89PNG"):
        texts = b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0", b"zTXt", b"Raw profile type exif\0\0", b"tEXt", b"parameters\0"
        kinds = [(b"eXIf", b""), (b"iCCP", b"x\0\0"), *zip(texts[::2], texts[1::2], strict=True)]
        name, start = rng.choice(kinds)
        content = zlib.compress(content) if name in (b"iCCP", b"zTXt") else content
        return data[:33] + png_chunk(name, start + content) + data[33:]
    if data.startswith(b"RIFF"):
        content += b"\0" * (len(content) % 2)
        data += rng.choice((b"EXIF", b"ICCP", b"XMP ")) + struct.pack("<I", len(content)) + content
        return data[:4] + struct.pack("<I", len(data) - 8) + data[8:20] + b"\x2c" + data[21:]
    at = rng.randrange(len(data))
    return data[:at] + content + data[at:]


MUTATIONS = [flip_bytes, flip_header, truncate, insert_run, delete_run, zero_block, duplicate_block]
MUTATIONS += [swap_headers, huge_dimensions, splice_metadata]


def run_of(data: bytes, rng: random.Random) -> tuple[int, int]:
    first = rng.randrange(len(data))
    return first, min(len(data), first + rng.choice((1, 4, 64, 1000, len(data))))


def mutated(data: list[bytes], seed: int) -> bytes:
    """Return one of these files after one to three mutations; never empty."""
    rng = random.Random(seed)
    changed = rng.choice(data)
    for mutation in rng.choices(MUTATIONS, k=rng.choice((1, 1, 2, 3))):
        changed = mutation(changed, rng, rng.choice(data)) or b"\0"
    return with_checksums(changed) if rng.random() < 0.7 else changed


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_checksums(data: bytes) -> bytes:
    """Correct the checksums of a PNG file: a wrong one would hide the damage before it from the decoder."""
    if not data.startswith(b"\x89PNG"):
        return data
    changed, at = bytearray(data), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        changed[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(changed[: len(data)])


# Files that are made to exhaust the machine


def exif_block(type_: int, value: int) -> bytes:
    """Return an EXIF block with nothing but an orientation."""
    packed = struct.pack("<HH", value, 0) if type_ == 3 else struct.pack("<I", value)
    return b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHI", 0x112, type_, 1) + packed + bytes(4)


def blank_png(width: int, height: int, colour: int, channels: int, *chunks: bytes) -> bytes:
    """Return a PNG file of zeros with eight bits a channel, or with one bit a pixel where `channels` is 0."""
    header = struct.pack(">IIBBBBB", width, height, 8 if channels else 1, colour, 0, 0, 0)
    row = 1 + (width * channels if channels else -(-width // 8))
    pixels = zlib.compressobj(1)
    content = b"".join(pixels.compress(bytes(row)) for _ in range(height)) + pixels.flush()
    parts = png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", content), png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def progressive_bomb(scans: int, side: int = 7000) -> bytes:
    """Return a grey progressive JPEG file whose scans change nothing and have about 80 bytes each."""
    blocks = (-(-side // 8)) ** 2
    tables = b"\xff\xdb\0\x43\0" + bytes([1] * 64)
    for kind, symbol in ((0, 0), (0x10, 0xE0)):  # one code each: no difference, and 'the next 2^14 blocks or more end'
        tables += b"\xff\xc4" + struct.pack(">HB", 20, kind) + bytes([1] + [0] * 15 + [symbol])
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + b"\1\x11\0"
    bits = f"0{2**14 - 1:014b}" * -(-blocks // (2**15 - 1))
    skipped = int(bits + "1" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8)).replace(b"\xff", b"\xff\0")
    start = b"\xff\xda\0\x08\1\1\0"
    first = start + b"\0\0\0" + bytes(-(-blocks // 8)) + start + b"\1\x3f\1" + skipped
    return b"\xff\xd8" + tables + frame + first + (start + b"\1\x3f\x10" + skipped) * scans + b"\xff\xd9"


def many_pages(count: int) -> bytes:
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64}
    data, size = b"II*\0" + struct.pack("<I", 72) + bytes(64), 6 + 12 * len(tags)
    for page in range(count):
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        following = 72 + size * (page + 1) if page + 1 < count else 0
        data += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return data


def many_frames(count: int) -> bytes:
    gif = encoded(Image.effect_noise((16, 16), 80).quantize(2), "GIF")
    start = 13 + 3 * 2 ** (1 + (gif[10] & 7))  # after the palette
    return gif[:start] + gif[start:-1] * count + b";"


def nested_profile(depth: int) -> bytes:
    """Return a chunk whose ICC profile is compressed `depth` times; it has 100 MB in the end."""
    content = bytes(100 * 2**20)
    for _ in range(depth):
        content = zlib.compress(content, 1)
    return png_chunk(b"iCCP", b"x\0\0" + content)


def overlapping_exif(entries: int, size: int) -> bytes:
    """Return an EXIF block whose entries all have the same `size` bytes."""
    tags = [struct.pack("<HHII", 0x112, 3, 1, 6)]
    tags += [struct.pack("<HHII", 0x8000 + tag, 1, size, 8) for tag in range(entries)]
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(tags) + bytes(4)
    return block.ljust(size + 8, b"\0")


def nested_manifest(depth: int) -> bytes:
    """Return a chunk with a C2PA manifest whose boxes contain each other (JUMBF, ISO 19566-5)."""

    def description(name: bytes, label: bytes) -> bytes:
        content = name + bytes.fromhex("00110010800000AA00389B71") + b"\3" + label + b"\0"
        return struct.pack(">I4s", 8 + len(content), b"jumd") + content

    inner, outer = description(b"c2ma", b"a"), description(b"c2pa", b"c2pa")
    boxes = [struct.pack(">I4s", (8 + len(inner)) * (depth - level), b"jumb") + inner for level in range(depth)]
    content = outer + b"".join(boxes)
    return png_chunk(b"caBX", struct.pack(">I4s", 8 + len(content), b"jumb") + content)


def bombs(large: bool) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield names, and functions that return files; with `large`, also images of nearly MAX_PIXELS pixels."""
    noise = Image.effect_noise((64, 48), 80).convert("RGB")
    for format_ in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        length = 16_383 if format_ == "WEBP" else 20_000  # WebP has no longer images
        for size in ((1, 1), (1, length), (length, 1)):
            yield (
                f"{size[0]}x{size[1]}.{format_}",
                lambda size=size, f=format_: encoded(Image.new("RGB", size, "red"), f),
            )
    yield "zeros.png", lambda: blank_png(30_000, 30_000, 0, 0)
    palette = png_chunk(b"PLTE", bytes(6)), png_chunk(b"tRNS", b"\x80\xff")
    yield "palette.png", lambda: blank_png(13_000, 13_000, 3, 0, *palette)  # below Pillow's own limit
    yield "frames.gif", lambda: many_frames(10_000)
    yield "pages.tif", lambda: many_pages(10_000)
    text = zlib.compress(bytes(100 * 2**20), 1)
    yield "text.png", lambda: blank_png(64, 64, 2, 3, png_chunk(b"zTXt", b"parameters\0\0" + text))
    yield "utf8.png", lambda: blank_png(64, 64, 2, 3, png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + text))
    texts = png_chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(10**6))) * 100
    yield "texts.png", lambda: blank_png(64, 64, 2, 3, texts)
    for depth in (1, 3) if not large else (1, 2, 3, 10):
        yield f"profile{depth}.png", lambda depth=depth: blank_png(64, 64, 2, 3, nested_profile(depth))
    yield "manifest.png", lambda: blank_png(64, 64, 2, 3, nested_manifest(100_000))
    yield "scans.jpg", lambda: progressive_bomb(20_000)
    yield "most_scans.jpg", lambda: progressive_bomb(decode.MAX_SCANS - 2, 7000 if large else 2000)
    yield "exif.jpg", lambda: encoded(noise, "JPEG", exif=b"Exif\0\0" + overlapping_exif(5000, 65_000))
    yield "exif.png", lambda: blank_png(64, 64, 2, 3, png_chunk(b"eXIf", overlapping_exif(900, 2 * 10**6)))
    grey = encoded(noise.quantize(8), "GIF")
    comments = {"comment.gif": b"!\xfe" + (b"\xff" + b"x" * 255) * 75_000 + b"\0"}
    comments |= {"comments.gif": b"!\xfe\1x\0" * 3_900_000} if large else {}
    for name, comment in comments.items():
        yield name, lambda comment=comment: grey[: 13 + 3 * 8] + comment + grey[13 + 3 * 8 :]
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64}
    directory = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    directory += [struct.pack("<HHII", 40_000 + tag, 1, 2 * 10**6, 8) for tag in range(900)]
    yield "directory.tif", lambda: many_pages(1)[:72] + struct.pack("<H", 909) + b"".join(directory) + bytes(2 * 10**6)
    if large:
        jpeg = encoded(noise, "JPEG")
        for name, segment in {"exif_blocks": b"\xff\xe1\0\x09Exif\0\0X", "texts": b"\xff\xfe\0\2"}.items():
            for cut in (0, 2):
                many = jpeg[:2] + segment * (20_000_000 // len(segment)) + jpeg[2 : len(jpeg) - cut]
                yield f"{name}{cut}.jpg", lambda many=many: many
        for chunk in (png_chunk(b"tEXt", b"x\0y"), png_chunk(b"abCd", b""), png_chunk(b"IDAT", b"")):
            many = chunk * (20_000_000 // len(chunk))
            yield f"many{chunk[4:8].decode()}.png", lambda many=many: blank_png(64, 64, 2, 3, many)
        adobe = runpy.run_path(str(files.ROOT / "tests/data/test_decode.py"))["PROFILES"]["Adobe RGB"]
        rich = {"icc_profile": adobe, "exif": b"Exif\0\0" + exif_block(3, 6)}
        modes = [("PNG", "RGBA"), ("PNG", "I;16"), ("PNG", "P"), ("WEBP", "RGBA"), ("TIFF", "I"), ("TIFF", "CMYK")]
        for format_, mode in [*modes, ("JPEG", "CMYK"), ("AVIF", "RGBA"), ("GIF", "P"), ("BMP", "RGB")]:
            options = {"GIF": {}, "BMP": {}, "AVIF": rich | {"speed": 10}}.get(format_, rich)
            options |= {"compression": "tiff_adobe_deflate"} if format_ == "TIFF" else {}
            yield (
                f"large {mode}.{format_}",
                lambda f=format_, m=mode, o=options: encoded(Image.new(m, (7000, 7000)), f, **o),
            )
        for options in ({}, {"progressive": True}):
            for mode in ("RGB", "CMYK"):
                blank = Image.new(mode, (7000, 7000))
                name = f"large cut {mode} {len(options)}.jpg"
                yield name, lambda blank=blank, o=options: encoded(blank, "JPEG", **rich, **o)[:-2]


# The child


def violation(data: bytes) -> str:
    """Return how this file violates the properties of the decoder and the readers of evidence; empty if it does not."""
    try:
        image = to_rgb(decode_image(data))
        if image.mode != "RGB" or len(image.tobytes()) != 3 * image.width * image.height:
            return f"its mode is {image.mode}"
    except UserError as error:
        if not is_sentence(str(error)):
            return f"its message is {error}"
    for item in [*read_manifest(data), *read_metadata(data)]:
        if not (0 < len(item.value) <= MAX_SHOWN and item.value.isprintable()):
            return f"its evidence is {item}"
    return ""


def is_sentence(message: str) -> bool:
    return message.isprintable() and message.endswith(".") and len(message) < 300


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes. On Linux getrusage would include its parent's."""
    if (status := Path("/proc/self/status")).exists():
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def limit_time() -> None:
    """End this process by SIGXCPU after CPU_SECONDS more of processor time."""
    limit = int(time.process_time()) + CPU_SECONDS + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def main(folder: Path, first: int, last: int) -> None:
    """Print the number of each file, and below it how it violates a property.

    The files are those of the folder; where it has a subfolder `originals`, they are mutations of these, by seed.
    """
    paths = sorted(path for path in folder.glob("originals/*" if (folder / "originals").exists() else "*"))
    data = [path.read_bytes() for path in paths] if paths[0].parent.name == "originals" else []
    for original in data:  # what is imported and allocated once belongs to the idle state
        limit_time()
        violation(original)
    idle = peak_memory()
    for number in range(first, last):
        print(number, flush=True)
        content = mutated(data, number) if data else paths[number].read_bytes()
        limit_time()
        try:
            found = violation(content)
        except BaseException:  # a Rust library's panic is no Exception
            found = f"it raises {traceback.format_exc()}"
        if peak_memory() > idle + MEMORY:
            found = f"it takes {(peak_memory() - idle) / 2**30:.1f} GB. {found}"
            idle = peak_memory()
        if found:
            print(f"violation: {found}", flush=True)


def violations(folder: Path, count: int) -> list[str]:
    """Try `count` files in children. After a crash another child goes on with the next file."""
    found, first = [], 0
    while first < count:
        command = [sys.executable, __file__, str(folder), str(first), str(count)]
        environment = os.environ | {"PYTHONPATH": str(files.ROOT)}
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300 + count)
            output, status = done.stdout, done.returncode
        except subprocess.TimeoutExpired as error:
            output, status = (error.stdout or b"").decode(), "a timeout"
        lines, number = output.splitlines(), "none"
        for line in lines:
            number = line if line.isdigit() else number
            found += [] if line.isdigit() else [f"file {number}: {line}"]
        if status == 0:
            break
        reason = {-signal.SIGXCPU: f"{CPU_SECONDS} s of CPU time", -signal.SIGSEGV: "a segmentation fault"}
        found.append(f"file {number}: the child ended by {reason.get(status, status)}")
        if number == "none":
            return [*found, done.stderr]
        first = int(number) + 1
    return found


# The tests


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("mutated")
    (root / "originals").mkdir()
    for name, data in [*originals(), *signed_originals()]:
        (root / "originals" / name).write_bytes(data)
    return root


def test_each_original_is_decoded_or_rejected_by_its_name(folder):
    """The mutations start from files that the decoder handles."""
    for path in (folder / "originals").iterdir():
        if name := REJECTED.get(path.suffix):
            with pytest.raises(UserError, match=f"{name}.* in a supported format"):
                decode_image(path.read_bytes())
        else:
            assert decode_image(path.read_bytes()).width >= 40, path.name
        assert bool(read_manifest(path.read_bytes())) == (path.stem == "signed"), path.name


def test_mutated_files_are_decoded_or_rejected(folder, effort):
    assert violations(folder, effort(300, 10_000)) == []


def test_files_that_exhaust_the_machine_are_decoded_or_rejected(tmp_path, effort):
    for name, make in bombs(large=effort(False, True)):
        (tmp_path / name).write_bytes(make())
    names = sorted(path.name for path in tmp_path.iterdir())
    found = violations(tmp_path, len(names))
    assert [re.sub(r"file (\d+)", lambda match: names[int(match[1])], line) for line in found] == []


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("type_", "value"), ORIENTATIONS)
def test_any_orientation_is_applied_or_ignored(format_, type_, value):
    image = Image.new("RGB", (60, 40), "red")
    if format_ == "TIFF":
        data = encoded(image, "TIFF", tiffinfo={ExifTags.Base.Orientation: 1})
        entry = struct.pack("<HHII", ExifTags.Base.Orientation, 3, 1, 1)
        assert data.count(entry) == 1
        data = data.replace(entry, exif_block(type_, value)[10:22])
    else:
        data = encoded(image, format_, exif=b"Exif\0\0" + exif_block(type_, value))
    assert to_rgb(decode_image(data)).size == ((40, 60) if ORIENTATIONS[type_, value] else (60, 40))


def test_each_file_of_a_folder_is_one_row(small_cnn, folder, tmp_path, effort):
    data = [path.read_bytes() for path in sorted((folder / "originals").iterdir())]
    for seed in range(effort(25, 500)):
        (tmp_path / f"{seed:04}.png").write_bytes(mutated(data, seed))
    (tmp_path / "line.png").write_bytes(encoded(Image.effect_noise((20_000, 40), 80), "PNG"))
    (tmp_path / "frames.gif").write_bytes(many_frames(100))
    paths = find_files([tmp_path])
    rows = list(predict_files({"transfer": small_cnn}, paths))
    assert [row["file"] for row in rows] == list(map(str, paths))
    assert {row["label"] for row in rows} <= {"REAL", "FAKE", "not sure", "error"}
    for row in rows:
        assert list(row) == COLUMNS
        assert np.isnan(row["probability"]) or 0 <= row["probability"] <= 1
        assert (row["label"] == "error") <= is_sentence(row["reason"]), row
    assert 0.1 < np.mean([row["label"] == "error" for row in rows]) < 0.9


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
