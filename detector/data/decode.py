"""Open any image file safely: upright, in sRGB, whatever its format, its metadata or its damage."""

import io
import re
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, TiffImagePlugin, UnidentifiedImageError

from detector.core.console import UserError
from detector.data.bounds import EXIF_HEADER, MAX_SCANS, has_too_many_scans, is_bounded, jpeg_exif, without_gif_comments
from detector.data.jpeg_bytes import continuation, has_all_scans, without_comments

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # that Pillow opens; pillow-heif opens HEIC
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
OTHER_FORMATS = {  # pattern at the start of a file
    "an archive": rb"PK[\3\5]|Rar!|7z\xbc\xaf|\x1f\x8b|BZh|\xfd7zXZ|.{257}ustar",
    "a PDF": rb".{0,1000}%PDF-",
    "a JPEG XL image": rb"\xff\n|\0{3}\x0cJXL ",
    "a JPEG 2000 image": rb"\xff\x4f\xff\x51|\0{3}\x0cjP  ",
    "an SVG drawing": rb"(\xef\xbb\xbf)?\s*<(svg|[?!].{0,4000}?<svg)",
    "a web page": rb"(\xef\xbb\xbf)?\s*<(?i:html|!doctype html)",
    "a camera raw file": rb"....ftypcrx |FUJIFILMCCD-RAW|II[RU]",
    "a video": rb"....(ftyp|moov|mdat)|\x1a\x45\xdf\xa3|RIFF....AVI |FLV\1|\0\0\1[\xb3\xba]|OggS|0&\xb2u",
    "a Photoshop document": rb"8BPS",
    "a PostScript file": rb"%!PS|\xc5\xd0\xd3\xc6",
}
TIFF_COMPRESSIONS = {33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 50002: "JPEG XL", 52546: "JPEG XL"}
ORIENTATION, SAMPLE_FORMAT, COMPRESSION, SUBFILE_TYPE = ExifTags.Base.Orientation, 339, 259, 254  # tags of TIFF
COLOUR_GRID = np.stack(np.mgrid[0:256:51, 0:256:51, 0:256:51], -1).reshape(36, 6, 3).astype(np.uint8)


def open_image(path: Path) -> Image.Image:
    """Open an image file, upright and in sRGB. Raises UserError as `read_file` and `decode_image` do."""
    return decode_image(read_file(path))


def read_file(path: Path) -> bytes:
    """Return the bytes of an image file. Raises UserError if it is not a file, is too large or cannot be read."""
    try:
        if not path.is_file():  # a named pipe would never end
            raise UserError("There is no such file. Check the path.")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(too_large(path.stat().st_size))
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"The file cannot be read ({error.strerror}). Check that you may read it.") from error


def too_large(size: int) -> str:
    """Return the message for a file of more than MAX_BYTES. `size` is in bytes."""
    return f"The file has {size / 2**20:.0f} MB. Use a file of at most {MAX_BYTES // 2**20} MB."


def decode_image(data: bytes) -> Image.Image:
    """Decode the bytes of an image file, upright and in sRGB. The format is detected from the content.

    Damaged metadata does not matter: an unreadable EXIF block means upright, an unreadable ICC profile means sRGB.

    Raises UserError if the file is too large, is damaged, or is not an image in one of FORMATS or HEIC.
    """
    if len(data) > MAX_BYTES:
        raise UserError(too_large(len(data)))
    if has_too_many_scans(data):
        raise UserError(f"The JPEG file has more than {MAX_SCANS} scans, which would take too long. Save it again.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged metadata, and about sizes: MAX_PIXELS is stricter
            image = _upright(_load(data))  # the decoder, which may hold two more copies of the pixels, is free again
            if image.mode == "F":
                raise UserError(FLOATING_POINT)
            if image.mode == "LAB":
                raise UserError("The image is in the CIELAB colour space, which is not supported. Save it as RGB.")
            return _to_srgb(image)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(f"The image is too large. Use one of at most {MAX_PIXELS // 10**6} million pixels.") from error
    except MemoryError as error:
        raise UserError("The image is too large for this machine's memory. Use a smaller one.") from error
    except UnidentifiedImageError as error:
        raise UserError(_unsupported(data)) from error
    except Exception as error:  # Pillow's decoders raise almost any exception on a damaged file
        raise UserError(DAMAGED) from error


DAMAGED = "The image is damaged and cannot be decoded completely. Use another copy."
FLOATING_POINT = "The image has floating-point values without a known range. Save it with 8 or 16 bits."


def _unsupported(data: bytes) -> str:
    """Return the message for a file that Pillow does not identify."""
    if _brands(data) & {b"avif", b"avis"}:
        return DAMAGED
    if data[:4] in (b"II*\0", b"MM\0*"):
        with suppress(Exception):  # a damaged directory says nothing
            return _unsupported_tiff(data)
    names = [name for name, pattern in OTHER_FORMATS.items() if re.match(pattern, data, re.DOTALL)]
    is_other = f"This is {names[0]}, not an image" if names else "The file is not an image"
    return f"{is_other} in a supported format. Use {', '.join(FORMATS)} or HEIC."


def _unsupported_tiff(data: bytes) -> str:
    stream, tags = io.BytesIO(data), TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    stream.seek(tags.next)
    tags.load(stream)
    if 3 in np.atleast_1d(tags.get(SAMPLE_FORMAT, 1)):
        return FLOATING_POINT
    if (compression := tags.get(COMPRESSION, 1)) not in TiffImagePlugin.COMPRESSION_INFO:
        name = TIFF_COMPRESSIONS.get(compression, f"method {compression}")
        return f"The TIFF file is compressed with {name}, which is not supported. Save it as PNG."
    return "The TIFF file has channels or bits that are not supported. Save it as RGB with 8 or 16 bits."


def _load(data: bytes) -> Image.Image:
    """Decode the pixels. If this fails, decode them again without the metadata that may have caused the failure."""
    try:
        return _load_whole(data)
    except (UserError, Image.DecompressionBombError, MemoryError):
        raise
    except Exception:
        if not data.startswith((b"\xff\xd8\xff", b"\x89PNG")):
            raise
    return _load_jpeg(data) if data[:1] == b"\xff" else _load_png(data)  # the exception, which held the image, is gone


def _load_whole(data: bytes) -> Image.Image:
    brands, exif = _brands(data), b""
    if brands:  # AVIF and HEIC have their orientation elsewhere; as items of another type, EXIF blocks are ignored
        data = re.sub(rb"(infe.{8}(?:..)?)Exif", rb"\1free", data, flags=re.DOTALL)
    if data.startswith(b"\xff\xd8\xff"):  # Pillow would read the EXIF blocks now, and join them in quadratic time
        exif, data = jpeg_exif(data), data.replace(EXIF_HEADER, b"none\0\0")
    if data.startswith(b"GIF"):
        data = without_gif_comments(data)
    if data[:2] in (b"II", b"MM") and {42, 43} & {*data[2:4]} and not is_bounded(data):
        raise UserError(DAMAGED)
    if brands & HEIC_BRANDS and not brands & {b"avif", b"avis"}:
        image = _open_heic(data)
    else:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    if image.format == "TIFF":
        if image.tag_v2.get(SUBFILE_TYPE) == 1 or data[8:10] == b"CR":  # the first image is a preview
            raise UserError("This is a camera raw file, not an image in a supported format. Save the photo as JPEG.")
        orientation, exif = image.tag_v2.get(ORIENTATION), Image.Exif()
        exif.update({ORIENTATION: orientation} if orientation else {})
        image.getexif = lambda: exif  # `load` would also read the rest, which may be damaged
    elif exif:
        image.info["exif"] = exif
    image.load()
    return image


def _brands(data: bytes) -> set[bytes]:
    """Return the brands of an ISO media file (AVIF, HEIC, MP4), or an empty set."""
    box = data[8 : min(int.from_bytes(data[:4]), 256)] if data[4:8] == b"ftyp" else b""
    return {box[start : start + 4] for start in range(0, len(box), 4)}


def _open_heic(data: bytes) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile  # opened without Pillow's registry, which the whole process shares
    except ImportError as error:
        message = "HEIC images need the package pillow-heif. Install it ('pip install pillow-heif') or save as JPEG."
        raise UserError(message) from error
    return HeifImageFile(io.BytesIO(data))


def _load_png(data: bytes) -> Image.Image:
    """Decode a PNG file without its texts, which Pillow limits to 1 MB, and with an ICC profile of any size."""
    kept, others, position = [data[:8]], {}, 8
    while position < len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4])  # length, name, content, checksum
        name = data[position + 4 : position + 8]
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(data[position:end])
        others[name] = data[position + 8 : end - 4]
        position = end
    image = _load_whole(b"".join(kept))
    if b"eXIf" in others:
        image.info["exif"] = others[b"eXIf"]
    with suppress(KeyError, zlib.error):
        profile = others[b"iCCP"].partition(b"\0")[2][1:]
        image.info["icc_profile"] = zlib.decompressobj().decompress(profile, MAX_BYTES)
    return image


def _load_jpeg(data: bytes) -> Image.Image:
    """Decode a JPEG file without its comments. Its last bytes may be absent if all its pixels are there.

    libjpeg fills absent pixels. They differ between a file that is continued by its end, and one by other bytes.
    """
    data = without_comments(data.rstrip(b"\xff"))
    image, continued = (_load_whole(data + tail + b"\xff\xd9") for tail in (b"", continuation(data)))
    strips = [(0, top, image.width, min(top + 64, image.height)) for top in range(0, image.height, 64)]
    changed = (np.not_equal(*(np.atleast_3d(part.crop(strip)) for part in (image, continued))) for strip in strips)
    absent, values = sum(strip.any(-1).sum() for strip in changed), image.width * image.height * len(image.getbands())
    if absent > min(400, values // 300) or not has_all_scans(data):  # 400: one block of 16x16, smoothed
        raise OSError("truncated")
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Rotate an image as its EXIF orientation says. Unreadable EXIF means upright."""
    image.load()
    is_bounded = _has_bounded_exif(image)
    with suppress(Exception):  # Pillow raises almost any exception on unreadable EXIF
        if is_bounded:
            return ImageOps.exif_transpose(image)
    upright, exif = image.copy(), Image.Exif()
    for key in ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"):
        upright.info.pop(key, None)
    if not is_bounded:
        return upright
    with suppress(Exception):  # the orientation may be readable where another tag is not
        exif[ORIENTATION] = image.getexif()[ORIENTATION]
        upright.info["exif"] = exif.tobytes()
        upright = ImageOps.exif_transpose(upright)
    upright.info.pop("exif", None)
    return upright


def _has_bounded_exif(image: Image.Image) -> bool:
    with suppress(Exception):  # on text that is not hexadecimal, which Pillow cannot read either
        text = image.info.get("Raw profile type exif", "")  # of a PNG file: three lines, then the block
        return is_bounded(image.info.get("exif") or bytes.fromhex("".join(text.split("\n")[3:])))
    return True


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert colours from the image's ICC profile to sRGB. An absent or unreadable profile means sRGB.

    A profile that changes no colour by more than two of 255 levels leaves every pixel as it is.
    """
    if not (profile := image.info.pop("icc_profile", None)):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}[source.profile.xcolor_space.strip()]
        if (mode == "CMYK") != (image.mode == "CMYK") or (mode == "L" and image.mode[0] not in "1LI"):
            return image  # the profile is of another image
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
        grid = Image.fromarray(COLOUR_GRID).convert(mode)
        change = np.subtract(ImageCms.applyTransform(grid, transform), grid.convert("RGB"), dtype=np.int16)
        if np.abs(change).max() <= 2:
            return image
        opaque = _to_8_bits(image)
        alpha = opaque.convert("RGBA").getchannel("A") if image.has_transparency_data else None
        opaque = opaque.convert("RGBA").convert("RGB") if alpha else opaque
        converted = ImageCms.applyTransform(opaque.convert(mode), transform)
    except Exception:  # ImageCms raises almost any exception on an unreadable profile
        return image
    converted.info = {key: value for key, value in image.info.items() if key != "transparency"}
    if alpha:
        converted.putalpha(alpha)
    return converted


def _to_8_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith("I"):  # Pillow would clip 16-bit values at 255 instead of scaling them
        return image
    return Image.fromarray((np.asarray(image, np.float32) / 257).clip(0, 255).astype(np.uint8))


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to upright 8-bit sRGB, on white where it is transparent."""
    image = _to_8_bits(_to_srgb(_upright(image)))
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
