"""The files that people have: opened or refused in a sentence, and brought to the one form."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from detector import pictures
from detector.decoding import jpeg_round_trip
from detector.pictures import open_file, open_picture, to_cifake, to_views
from detector.progress import InputError


def encoded(image: Image.Image, format_: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_)
    return stream.getvalue()


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_formats_are_told_by_content(format_):
    assert open_picture(encoded(Image.new("RGB", (50, 40), "red"), format_)).size == (50, 40)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7", b"<svg></svg>"])
def test_what_is_no_picture_is_refused_in_a_sentence(data):
    with pytest.raises(InputError, match="picture"):
        open_picture(data)


def test_cut_off_picture_is_refused():
    data = encoded(Image.effect_noise((200, 200), 50).convert("RGB"), "JPEG")
    with pytest.raises(InputError, match="damaged"):
        open_picture(data[: len(data) // 2])


def test_decompression_bomb_is_refused_before_it_is_decoded():
    with pytest.raises(InputError, match="50 million"):
        open_picture(encoded(Image.new("1", (20_000, 20_000)), "PNG"))


def test_large_file_is_refused(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="up to 0 MB are taken"):
        open_picture(bytes(1001))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
def test_any_mode_comes_to_cifakes_form(mode):
    picture = Image.new("L", (100, 60), 200).convert(mode) if mode != "I;16" else Image.new("I;16", (100, 60), 51200)
    pixels = to_cifake(picture)
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.uint8
    expected = 255 if mode == "1" else 200
    if mode != "1":  # dithered
        assert (pixels.float() - expected).abs().max() <= 3


@pytest.mark.parametrize(("size", "views"), [((20, 90), 1), ((63, 200), 1), ((64, 64), 10), ((90, 300), 10)])
def test_a_picture_is_judged_whole_and_from_64_pixels_on_in_nine_parts_too(size, views):
    picture = Image.effect_noise(size, 80).convert("RGB")
    found = to_views(picture)
    assert found.shape == (views, 3, 32, 32)
    assert torch.equal(found[0], to_cifake(picture))


def test_parts_are_squares_of_the_centre_square_at_64_pixels():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    enlarged = np.pad(noise.repeat(3, 0).repeat(3, 1), ((0, 0), (60, 60), (0, 0)))  # what lies beyond the square is cut
    parts = iter(to_views(Image.fromarray(enlarged))[1:])
    for top in (0, 16, 32):
        for left in (0, 16, 32):
            expected = jpeg_round_trip(Image.fromarray(noise[top : top + 32, left : left + 32]))
            assert next(parts).permute(1, 2, 0).tolist() == np.array(expected).tolist()


def test_parts_are_of_the_upright_picture():
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.effect_noise((90, 70), 80).convert("RGB").save(stream, "PNG", exif=exif)
    with Image.open(stream) as turned:
        upright = turned.rotate(-90, expand=True)
        views = to_views(turned)
    assert torch.equal(views, to_views(Image.fromarray(np.array(upright))))


def test_transparent_is_white():
    assert to_cifake(Image.new("RGBA", (40, 40), (0, 0, 0, 0))).min() >= 253


def test_exif_turns_the_picture():
    picture = Image.new("RGB", (64, 64))
    picture.paste((255, 255, 255), (0, 0, 64, 32))  # white above
    exif = Image.Exif()
    exif[274] = 3  # to be turned by 180 degrees
    stream = io.BytesIO()
    picture.save(stream, "JPEG", exif=exif)
    pixels = to_cifake(Image.open(stream))
    assert pixels[:, :12].float().mean() < 20
    assert pixels[:, 20:].float().mean() > 235


def test_wide_picture_gives_its_centre():
    picture = Image.new("RGB", (96, 32))
    picture.paste((255, 0, 0), (32, 0, 64, 32))
    red = to_cifake(picture)
    assert red[0].float().mean() > 245
    assert red[1:].float().mean() < 10


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_mutated_files_are_read_or_refused(format_):
    """A hundred files with bytes changed, left out or repeated: a picture or a sentence, never anything else."""
    rng, read = np.random.default_rng(0), 0
    whole = np.frombuffer(encoded(Image.effect_noise((48, 40), 80).convert("RGB"), format_), np.uint8)
    for _ in range(100):
        data = whole.copy()
        data[rng.integers(len(data), size=rng.integers(1, 9))] = rng.integers(256)
        first, last = np.sort(rng.integers(len(data), size=2))
        data = (data, np.delete(data, slice(first, last)), np.concatenate([data[:last], data[first:]]))[rng.integers(3)]
        try:
            read += to_cifake(open_picture(data.tobytes())).shape == (3, 32, 32)
        except InputError as error:
            assert str(error).endswith(".")
    assert read < 100  # some were broken indeed


def test_an_animation_gives_its_first_picture():
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    red = to_cifake(open_picture(stream.getvalue()))
    assert red[0].float().mean() > 240 and red[2].float().mean() < 15


def test_a_file_is_looked_at_before_it_is_read(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none.png", tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match="no such file"):
            open_file(path)
    monkeypatch.setattr(pictures, "MAX_BYTES", 10)
    (tmp_path / "large.png").write_bytes(bytes(11))
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(InputError, match="are taken"):
        open_file(tmp_path / "large.png")


def test_colours_that_are_not_read_are_told():
    with pytest.raises(InputError, match="CIELAB"):
        open_picture(encoded(Image.new("LAB", (40, 40)), "TIFF"))
