"""Pictures in and out, friendly and hostile."""

import io
import struct
import zlib
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageSequence, PngImagePlugin

from diffusion import Params, PictureError
from diffusion.pictures import (
    MAX_PICTURE_BYTES,
    decode_picture,
    encode_film,
    encode_jpeg,
    encode_png,
    encode_webp,
    enlarge,
    make_grid,
    read_parameters,
    withhold,
)
from diffusion.provenance import SOURCE_TYPE, Provenance, parameters_text

ENCODERS = (encode_png, encode_webp, encode_jpeg)
LONGEST = Params(prompt="😀" * 6000, negative_prompt="\u4e00" * 6000)


def plain(colour: str, size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.new("RGB", size, colour)


def noisy(size: tuple[int, int] = (24, 16)) -> Image.Image:
    pixels = bytes((i * 7919 >> 3) % 256 for i in range(size[0] * size[1] * 3))
    return Image.frombytes("RGB", size, pixels)


def provenance(params: Params | None = None) -> Provenance:
    return Provenance(
        params=params or Params(prompt="a red fox, “quoted” 🦊\nsecond line"),
        job_id="abcdefghijklm",
        index=2,
        model_name="emoji",
        model_sha256="ab" * 32,
        software="Easel 0.1.0",
    )


def as_file(picture: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **more)
    return out.getvalue()


def test_a_grid_is_row_first() -> None:
    colours = ["red", "lime", "blue", "white"]
    grid = make_grid([plain(colour) for colour in colours])
    assert (grid.size, grid.mode) == ((16, 12), "RGB")
    corners = [grid.getpixel(at) for at in ((0, 0), (15, 0), (0, 11), (15, 11))]
    assert corners == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]


@pytest.mark.parametrize(
    ("count", "columns", "size"),
    [(1, 2, (8, 6)), (2, 2, (16, 6)), (3, 2, (16, 12)), (5, 3, (24, 12)), (2, 1, (8, 12))],
)
def test_grids_of_other_counts(count: int, columns: int, size: tuple[int, int]) -> None:
    assert make_grid([plain("red")] * count, columns).size == size


def test_what_makes_no_grid() -> None:
    with pytest.raises(ValueError, match="needs pictures"):
        make_grid([])
    with pytest.raises(ValueError, match="columns"):
        make_grid([plain("red")], 0)
    with pytest.raises(ValueError, match="8x6, 8x8"):
        make_grid([plain("red"), plain("red", (8, 8))])


def test_enlarging() -> None:
    small = noisy()
    assert enlarge(small, 1) is small
    big = enlarge(small, 4)
    assert big.size == (96, 64)
    assert big.tobytes() == small.resize((96, 64), Image.Resampling.LANCZOS).tobytes()
    with pytest.raises(ValueError, match="0 times"):
        enlarge(small, 0)


@pytest.mark.parametrize("encode", ENCODERS)
def test_every_file_carries_the_text_and_the_mark(
    encode: Callable[[Image.Image, Provenance], bytes],
) -> None:
    for what in (provenance(), provenance(LONGEST)):
        data = encode(noisy(), what)
        assert read_parameters(data) == parameters_text(what)
        # An independent reader: the bytes themselves, and an XML parser.
        start, end = data.index(b"<x:xmpmeta"), data.index(b"</x:xmpmeta>")
        packet = ElementTree.fromstring(data[start : end + 12].decode())  # noqa: S314 - ours
        marks = [
            value
            for element in packet.iter()
            for name, value in element.attrib.items()
            if name == "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
        ]
        assert marks == [SOURCE_TYPE]
        assert SOURCE_TYPE.endswith("/trainedAlgorithmicMedia")


def test_pillow_sees_the_text_where_a1111_looks() -> None:
    what = provenance()
    png = Image.open(io.BytesIO(encode_png(noisy(), what)))
    assert isinstance(png, PngImagePlugin.PngImageFile)
    assert png.text["parameters"] == parameters_text(what)
    assert png.text["Software"] == "Easel 0.1.0"
    for encode in (encode_webp, encode_jpeg):
        exif = Image.open(io.BytesIO(encode(noisy(), what))).getexif()
        comment = exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
        assert comment == b"UNICODE\0" + parameters_text(what).encode("utf-16-be")
        assert exif[ExifTags.Base.Software] == "Easel 0.1.0"


def test_png_notes_are_international_text_before_the_pixels() -> None:
    data = encode_png(noisy(), provenance(Params(prompt="plain ascii")))
    kinds, place = [], 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kinds.append(data[place + 4 : place + 8])
        place += 12 + length
    assert kinds == [b"IHDR", b"iTXt", b"iTXt", b"iTXt", b"IDAT", b"IEND"]


def test_lossless_encoders_keep_every_pixel() -> None:
    picture = noisy()
    for data in (encode_png(picture, provenance()), encode_webp(picture, provenance())):
        again = decode_picture(data)
        assert (again.mode, again.size) == ("RGB", picture.size)
        assert again.tobytes() == picture.tobytes()


def test_qualities() -> None:
    picture, what = noisy((64, 64)), provenance()
    assert len(encode_webp(picture, what, quality=10)) < len(encode_webp(picture, what, quality=95))
    assert len(encode_jpeg(picture, what, quality=10)) < len(encode_jpeg(picture, what))
    for wrong in (0, 101):
        with pytest.raises(ValueError, match=str(wrong)):
            encode_jpeg(picture, what, quality=wrong)
        with pytest.raises(ValueError, match=str(wrong)):
            encode_webp(picture, what, quality=wrong)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_foreign_pictures_without_notes(kind: str) -> None:
    data = as_file(plain("red", (32, 24)), kind)
    assert read_parameters(data) is None
    picture = decode_picture(data)
    assert (picture.mode, picture.size) == ("RGB", (32, 24))


def test_a1111_s_own_text_chunk_is_read() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", "a fox\nSteps: 20, Sampler: Euler a, Seed: 1")
    text = read_parameters(as_file(plain("red"), "PNG", pnginfo=chunks))
    assert type(text) is str
    assert text == "a fox\nSteps: 20, Sampler: Euler a, Seed: 1"


def test_transparency_lies_on_white() -> None:
    layer = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    layer.putpixel((0, 0), (0, 0, 0, 255))
    picture = decode_picture(as_file(layer, "PNG"))
    assert picture.getpixel((0, 0)) == (0, 0, 0)
    assert picture.getpixel((3, 3)) == (255, 255, 255)
    palette = plain("red").convert("P")
    palette.info["transparency"] = 0
    assert decode_picture(as_file(palette, "PNG", transparency=palette.getpixel((0, 0)))).getpixel(
        (1, 1)
    ) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    picture = Image.new(mode, (5, 5)) if mode == "I;16" else plain("white", (5, 5)).convert(mode)
    assert decode_picture(as_file(picture, kind)).mode == "RGB"


def test_photographs_are_turned_upright() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    assert decode_picture(as_file(plain("red", (8, 4)), "JPEG", exif=exif)).size == (4, 8)


def test_a_film_runs_for_ever_and_says_where_it_comes_from() -> None:
    frames = [noisy((32, 24)), plain("red", (32, 24)), plain("blue", (32, 24))]
    data = encode_film(frames, provenance(), durations=[120, 80, 1500])
    with Image.open(io.BytesIO(data)) as film:
        assert (film.format, film.size, film.info["loop"]) == ("WEBP", (32, 24), 0)
        shown, middles = [], []
        for frame in ImageSequence.Iterator(film):
            frame.load()
            shown.append(frame.info["duration"])
            middles.append(frame.convert("RGB").crop((16, 12, 17, 13)).tobytes())
    assert middles[1][0] > 200 > middles[1][2]
    assert middles[2][2] > 200 > middles[2][0]
    assert shown == [120, 80, 1500]
    assert SOURCE_TYPE.encode() in data
    assert read_parameters(data) == parameters_text(provenance())
    with pytest.raises(PictureError, match="animation of 3 frames"):
        decode_picture(data)


def test_what_makes_no_film() -> None:
    with pytest.raises(ValueError, match="a time for each"):
        encode_film([plain("red")], provenance(), durations=[])
    with pytest.raises(ValueError, match="a time for each"):
        encode_film([plain("red")], provenance(), durations=[0])
    with pytest.raises(ValueError, match="one size"):
        encode_film([plain("red"), plain("red", (8, 8))], provenance(), durations=[1, 1])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind: str) -> None:
    frames = [plain("red"), plain("blue")]
    data = as_file(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(PictureError, match="animation of 2 frames"):
        decode_picture(data)


def test_a_photograph_with_a_second_frame_is_a_photograph() -> None:
    frames = [plain("red", (32, 32)), plain("blue", (32, 32))]
    data = as_file(frames[0], "MPO", save_all=True, append_images=frames[1:])
    colour = decode_picture(data).getpixel((9, 9))
    assert isinstance(colour, tuple)
    assert colour[0] > 200


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM", "TGA"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(PictureError, match="no PNG, JPEG or WebP"):
        decode_picture(as_file(plain("red"), kind))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"<svg/>", b"RIFF\0\0\0\0"])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(PictureError):
        decode_picture(data)
    with pytest.raises(PictureError):
        read_parameters(data)


def test_files_too_large_are_refused_unread() -> None:
    with pytest.raises(PictureError, match=r"10\.0 MiB.*may have 10 MiB"):
        decode_picture(bytes(MAX_PICTURE_BYTES + 1))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *more: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), *more, pixels, chunk(b"IEND", b""))
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("width", "height"),
    [(8193, 8), (8, 8193), (4001, 4000), (12_000, 9_000), (60_000, 60_000), (2**31 - 1, 1)],
)
def test_bombs_are_refused_by_their_header(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(_self: Image.Image) -> None:
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", explode)
    with pytest.raises(PictureError, match="16 million"):
        decode_picture(png_of(width, height))


def test_a_note_that_swells_is_refused() -> None:
    note = zlib.compress(bytes(50_000_000))
    with pytest.raises(PictureError):
        decode_picture(png_of(8, 8, chunk(b"zTXt", b"parameters\0\0" + note)))


def test_truncated_pictures_are_refused() -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        data = as_file(noisy((64, 64)), kind)
        with pytest.raises(PictureError, match=r"damaged|no PNG"):
            decode_picture(data[: len(data) * 2 // 3])


SEEDS = tuple(encode(noisy(), provenance()) for encode in ENCODERS)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=12),
    cut=st.integers(0, 4000),
)
@pytest.mark.filterwarnings("ignore")
def test_damage_is_an_answer_or_a_refusal(
    data: bytes, edits: list[tuple[int, int]], cut: int
) -> None:
    damaged = bytearray(data)
    for place, value in edits:
        damaged[place % len(damaged)] = value
    for read in (decode_picture, read_parameters):
        try:
            read(bytes(damaged[: len(damaged) - cut % 3 * cut]))
        except PictureError as error:
            assert str(error)


def test_flagged_pictures_are_black_and_the_others_untouched() -> None:
    pictures = [Image.new("RGB", (4, 6), colour) for colour in ("red", "blue")]
    red, blue = withhold(pictures, (False, True))
    assert red is pictures[0]
    assert blue.size == (4, 6)
    assert blue.getextrema() == ((0, 0), (0, 0), (0, 0))
    assert withhold(pictures, ()) == tuple(pictures), "nothing judged them"
    with pytest.raises(ValueError, match="zip"):
        withhold(pictures, (True,))
