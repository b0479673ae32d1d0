"""Files of any format, with any metadata and any damage: opened upright and in sRGB, or rejected by name."""

import io
import os
import re
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, TiffImagePlugin

from detector.core.console import UserError
from detector.data import decode
from detector.data.decode import decode_image, open_image, to_rgb
from detector.data.images import to_cifake_format

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "MPO"]


def encoded(image: Image.Image, format_: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def noise_image(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


@pytest.mark.parametrize("format_", FORMATS)
def test_formats_are_detected_from_the_content(format_):
    assert decode_image(encoded(Image.new("RGB", (50, 40), "red"), format_)).size == (50, 40)


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", bytes(99)])
def test_other_files_are_rejected(data):
    with pytest.raises(UserError, match="is not an image in a supported format"):
        decode_image(data)


OTHER_FILES = {
    "a PDF": [b"%PDF-1.7", b"\n%PDF-1.4"],
    "a JPEG XL image": [b"\xff\n\xfa\x1f", b"\0\0\0\x0cJXL \r\n\x87\n"],
    "a JPEG 2000 image": [b"\0\0\0\x0cjP  \r\n\x87\n"],
    "an SVG drawing": [b"<svg></svg>", b'<?xml version="1.0"?>\n<!-- Inkscape -->\n<svg/>'],
    "a web page": [b"<!DOCTYPE html><html></html>", b"\xef\xbb\xbf\n<html>"],
    "a video": [b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", b"\x1a\x45\xdf\xa3webm", b"RIFF\0\0\0\0AVI LIST"],
    "an archive": [
        b"PK\3\4",
        b"Rar!\x1a\7",
        b"7z\xbc\xaf\x27\x1c",
        b"\x1f\x8b\x08",
        b"name".ljust(257, b"\0") + b"ustar",
    ],
    "a camera raw file": [b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", b"FUJIFILMCCD-RAW 0201"],
    "a Photoshop document": [b"8BPS\0\1"],
}


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, files in OTHER_FILES.items() for data in files])
def test_other_formats_are_named(name, data):
    with pytest.raises(
        UserError, match=f"^This is {name}, not an image in a supported format\\. Use JPEG, .* or HEIC\\.$"
    ):
        decode_image(data)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_truncated_image_is_rejected(format_):
    data = encoded(noise_image(200, 200), format_)
    for length in (len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(UserError, match="damaged"):
            decode_image(data[:length])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:4:4"}, {"restart_marker_rows": 1}])
def test_a_jpeg_without_its_end_is_read(options):
    data = encoded(noise_image(200, 200), "JPEG", **options)
    whole = np.array(decode_image(data), np.int16)
    for length in (1, 2):
        assert np.array_equal(np.array(decode_image(data[:-length])), whole)
    for length in (1000, len(data) // 4, len(data) // 2, len(data) * 3 // 4):
        with pytest.raises(UserError, match="damaged"):
            decode_image(data[:-length])


@pytest.mark.parametrize("blocks", [5, 13, 40])
def test_a_jpeg_cut_before_a_restart_marker_is_rejected(blocks):
    data = encoded(noise_image(200, 200), "JPEG", restart_marker_blocks=blocks)
    markers = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", data)]
    for marker in markers:
        for length in (marker, marker - 2, marker + 2):
            with pytest.raises(UserError, match="damaged"):
                decode_image(data[:length])


def test_a_jpeg_without_bytes_of_its_last_block_is_read():
    data = encoded(noise_image(200, 200), "JPEG")
    opened, whole = decode_image(data[:-4]), decode_image(data)
    assert opened.crop((0, 0, 200, 180)).tobytes() == whole.crop((0, 0, 200, 180)).tobytes()


def tiff(tags: dict[int, object]) -> bytes:
    """Return a TIFF file of 8x8 pixels with these tags."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory.tagtype[700] = 2  # text
    for tag, value in (
        {256: 8, 257: 8, 258: (8, 8, 8), 259: 1, 262: 2, 273: 8, 277: 3, 278: 8, 279: 192} | tags
    ).items():
        directory[tag] = value
    return b"II*\0\x08\0\0\0" + directory.tobytes(8) + bytes(4000)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({258: (32, 32, 32), 339: (3, 3, 3)}, "has floating-point values"),
        ({259: 34712}, "is compressed with JPEG 2000"),
        ({259: 33005, 258: (16, 16, 16)}, "is compressed with JPEG 2000"),
        ({258: (32, 32, 32)}, "has channels or bits that are not supported"),
        ({254: 1}, "is a camera raw file"),
    ],
)
def test_unsupported_tiffs_are_named(tags, message):
    assert decode_image(tiff({})).size == (8, 8)
    with pytest.raises(UserError, match=message):
        decode_image(tiff(tags))


def test_heic_is_opened_without_changing_pillow():
    pillow_heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    image, exif = Image.new("RGB", (64, 48), "red"), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # not that of HEIC, which has its own
    image.info["exif"] = exif.tobytes()
    pillow_heif.from_pillow(image).save(stream, quality=90)
    opened = decode_image(stream.getvalue())
    assert opened.size == (64, 48)
    assert np.abs(np.subtract(to_rgb(opened), (255, 0, 0), dtype=np.int16)).max() <= 8
    assert "HEIF" not in Image.OPEN
    damaged = stream.getvalue().replace(b"MM\0*", bytes(4)).replace(b"II*\0", bytes(4))
    assert decode_image(damaged).width
    with pytest.raises(UserError, match="damaged"):
        decode_image(stream.getvalue()[: len(stream.getvalue()) // 2])


def test_heic_without_its_package_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UserError, match="need the package pillow-heif"):
        decode_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_decompression_bomb_is_rejected_before_it_is_decoded():
    text = PngImagePlugin.PngInfo()
    text.add_text("key", "a" * 2_000_000, zip=True)  # such a file is opened twice
    for options in ({}, {"pnginfo": text}):
        with pytest.raises(UserError, match="50 million"):
            decode_image(encoded(Image.new("1", (20_000, 20_000)), "PNG", **options))


def test_large_file_is_rejected(monkeypatch):
    monkeypatch.setattr(decode, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="at most 0 MB"):
        decode_image(bytes(1001))


def unreadable_exif() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 1, "Camera"
    cut = exif.tobytes()[:12]
    return {"zeros": b"Exif\0\0" + bytes(16), "text": b"Exif\0\0This is no EXIF block.", "cut": cut}


@pytest.mark.parametrize("block", unreadable_exif().values(), ids=unreadable_exif().keys())
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_unreadable_exif_means_upright(format_, block):
    data = encoded(Image.new("RGB", (60, 40), "red"), format_, exif=block)
    opened = decode_image(data)
    assert opened.size == (60, 40)
    assert to_rgb(opened).getpixel((0, 0))[0] > 240
    assert to_rgb(Image.open(io.BytesIO(data))).size == (60, 40)
    assert dict(opened.getexif()) == {}


def test_the_orientation_counts_where_other_metadata_is_unreadable():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(Image.new("RGB", (60, 40)), "AVIF", exif=exif.tobytes())
    assert decode_image(data.replace(b"MM\0*", bytes(4)).replace(b"II*\0", bytes(4))).size in [(60, 40), (40, 60)]
    text = PngImagePlugin.PngInfo()
    text.add_text("key", "a" * 2_000_000, zip=True)
    assert decode_image(encoded(Image.new("RGB", (60, 40)), "PNG", exif=exif.tobytes(), pnginfo=text)).size == (40, 60)
    assert decode_image(tiff({274: 6, 700: "tiff:Orientation=9"})).size == (8, 8)  # a text where Pillow expects bytes


@pytest.mark.parametrize("after", [False, True], ids=["before pixels", "after pixels"])
def test_an_image_with_long_compressed_text_is_read(after):
    text = PngImagePlugin.PngInfo()
    text.add(b"zTXt", b"key\0\0" + zlib.compress(bytes(2_000_000)), after_idat=after)
    image = noise_image(50, 40)
    assert decode_image(encoded(image, "PNG", pnginfo=text)).tobytes() == image.tobytes()


def profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return an ICC profile of version 2 (ICC.1:2001-04) with these tags."""
    table, content = b"", b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(content), len(tag))
        content += tag.ljust(-(-len(tag) // 4) * 4, b"\0")
    head = struct.pack(
        ">I4sI4s4s4s12x4s", 132 + len(table + content), b"", 0x02400000, b"mntr", space, connection, b"acsp"
    )
    illuminant = struct.pack(">28x3i", 0xF6D6, 0x10000, 0xD32D)
    return (head + illuminant).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content


def rgb_profile(gamma: float, *primaries: tuple[float, float, float], **tags: bytes) -> bytes:
    curve = struct.pack(">8sIH", b"curv", 1, round(gamma * 256))
    colours = {
        name: struct.pack(">8s3i", b"XYZ ", *(round(value * 65536) for value in xyz))
        for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
    }
    others = {name.encode(): tag for name, tag in tags.items()}
    return profile(b"RGB ", b"XYZ ", colours | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve) | others)


P3 = (0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)  # adapted to D50


ADOBE = (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)


PROFILES = {
    "Display P3": rgb_profile(2.2, *P3),
    "Adobe RGB": rgb_profile(2.19921875, *ADOBE),
    "1.5 MB": rgb_profile(2.2, *P3, junk=np.random.default_rng(0).bytes(1_500_000)),
}


def colours() -> Image.Image:
    """Return an image of colours inside sRGB, in blocks of 8x8."""
    grid = np.stack(np.meshgrid(*[[40, 90, 140, 190, 220]] * 3), -1).reshape(5, 25, 3).astype(np.uint8)
    return Image.fromarray(grid.repeat(8, 0).repeat(8, 1))


def converted(image: Image.Image, icc: bytes) -> Image.Image:
    other = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), other, outputMode="RGB")


def difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.subtract(one, other, dtype=np.int16)).max())


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF"])
def test_colours_are_converted_from_their_profile(format_, name):
    stored = converted(colours(), PROFILES[name])
    assert difference(stored, colours()) > 25
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
    options["WEBP"] = {"lossless": True}
    data = encoded(stored, format_, icc_profile=PROFILES[name], **options.get(format_, {}))
    opened = decode_image(data)
    assert difference(opened, colours()) <= (20 if format_ in ("JPEG", "AVIF") else 4)
    assert np.abs(np.subtract(opened, colours(), dtype=np.int16)).mean() <= 3
    assert difference(to_rgb(opened), opened) == 0  # once
    if name != "1.5 MB":
        assert difference(to_rgb(Image.open(io.BytesIO(data))), opened) == 0


def test_transparency_and_palettes_are_kept_by_the_conversion():
    image = converted(colours(), PROFILES["Display P3"])
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    opened = decode_image(encoded(image, "PNG", icc_profile=PROFILES["Display P3"]))
    assert opened.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    assert difference(opened.convert("RGB"), colours()) <= 3
    palette = Image.new("RGB", (40, 40), (200, 60, 60)).quantize(4)
    converted_palette = decode_image(encoded(palette, "PNG", icc_profile=PROFILES["Display P3"]))
    assert to_rgb(converted_palette).getpixel((0, 0))[0] > 205


def test_grey_profiles_are_converted():
    gamma = profile(b"GRAY", b"XYZ ", {b"kTRC": struct.pack(">8sIH", b"curv", 1, round(1.8 * 256))})
    for image in (Image.new("L", (40, 40), 128), Image.new("I;16", (40, 40), 128 * 257)):
        grey = to_rgb(decode_image(encoded(image, "PNG", icc_profile=gamma))).getpixel((0, 0))
        assert np.abs(np.subtract(grey, 147)).max() <= 1  # 0.5 ** 1.8 on sRGB's curve


def test_cmyk_profiles_are_converted():
    """The profile maps C, M and Y to the same grey."""
    corners = np.indices((2,) * 4).reshape(4, -1)
    lightness = 255 * (1 - corners[3]) * (1 - corners[:3].mean(0) / 2)
    lut = np.stack([lightness, np.full(16, 128), np.full(16, 128)], -1).astype(np.uint8).tobytes()
    identity = struct.pack(">9i", *(np.eye(3, dtype=int) * 65536).ravel())
    table = bytes(range(256))
    tag = struct.pack(">8s4B", b"mft1", 4, 3, 2, 0) + identity + table * 4 + lut + table * 3
    data = encoded(
        Image.new("CMYK", (40, 40), (255, 0, 0, 0)), "TIFF", icc_profile=profile(b"CMYK", b"Lab ", {b"A2B0": tag})
    )
    red, green, blue = to_rgb(decode_image(data)).getpixel((0, 0))
    assert max(red, green, blue) - min(red, green, blue) <= 3
    assert 195 <= green <= 215
    without = to_rgb(decode_image(encoded(Image.new("CMYK", (40, 40), (255, 0, 0, 0)), "TIFF"))).getpixel((0, 0))
    assert without == (0, 255, 255)


@pytest.mark.parametrize("icc", [b"no profile", PROFILES["Adobe RGB"][:200], profile(b"CMYK", b"Lab ", {})])
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP"])
def test_unusable_profiles_are_ignored(format_, icc):
    image = colours()
    lossless = {"lossless": True} if format_ == "WEBP" else {}
    assert difference(decode_image(encoded(image, format_, icc_profile=icc, **lossless)), image) == 0


def test_a_profile_of_srgb_changes_no_pixel():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = noise_image(60, 40)
    assert difference(decode_image(encoded(image, "PNG", icc_profile=srgb)), image) == 0


@pytest.mark.parametrize("format_", FORMATS)
def test_mutated_files_are_decoded_or_rejected(format_):
    """Of a hundred files with bytes changed, removed or repeated, each gives an image or a UserError."""
    rng, decoded = np.random.default_rng(0), 0
    original = np.frombuffer(encoded(noise_image(48, 40), format_), np.uint8)
    for _ in range(100):
        data = original.copy()
        data[rng.integers(len(data), size=rng.integers(1, 9))] = rng.integers(256)
        first, last = np.sort(rng.integers(len(data), size=2))
        data = (data, np.delete(data, slice(first, last)), np.concatenate([data[:last], data[first:]]))[rng.integers(3)]
        try:
            decoded += to_cifake_format(decode_image(data.tobytes())).shape == (3, 32, 32)
        except UserError as error:
            assert str(error).endswith(".")
    assert decoded < 100


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    red = to_cifake_format(decode_image(stream.getvalue()))
    assert red[0].mean() > 240 and red[2].mean() < 15


def test_a_stereo_photo_gives_its_first_frame():
    data = encoded(Image.new("RGB", (40, 40), "red"), "MPO", save_all=True, append_images=[Image.new("RGB", (40, 40))])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    for opened in (decode_image(data), decode_image(data[: len(data) * 3 // 4])):  # or a part of the second frame
        assert to_rgb(opened).getpixel((20, 20))[0] > 240


def test_paths_are_checked_before_they_are_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none.png", tmp_path, tmp_path / "pipe"):
        with pytest.raises(UserError, match="no such file"):
            open_image(path)
    monkeypatch.setattr(decode, "MAX_BYTES", 10)
    (tmp_path / "large.png").write_bytes(bytes(11))
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(UserError, match="at most"):
        open_image(tmp_path / "large.png")


@pytest.mark.parametrize(("mode", "message"), [("LAB", "CIELAB"), ("F", "floating-point")])
def test_unsupported_values_are_rejected(mode, message):
    with pytest.raises(UserError, match=message):
        decode_image(encoded(Image.new(mode, (40, 40)), "TIFF"))
