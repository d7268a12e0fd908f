"""Pictures in and out: grids, enlargement, encoding with provenance, and reading foreign files.

Promises: the encoders are the only way to file bytes and every file they write carries the A1111
text and the machine-made mark; a foreign file is opened as PNG, JPEG or WebP only, and its size is
checked before a pixel is decoded. Never loads torch. Encoding and decoding take CPU seconds for
large pictures: call them in a thread.

## Why the first frame of a JPEG
Phones append depth maps and gain maps to photographs as further frames; those are still
photographs. A PNG or WebP with several frames is an animation and is refused.
"""

import io
from collections.abc import Sequence
from typing import Final

from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from diffusion.errors import PictureError
from diffusion.provenance import Provenance, parameters_text, xmp_packet

MAX_PICTURE_BYTES: Final = 10 * 2**20
MAX_PICTURE_PIXELS: Final = 16_000_000
# The decoder of WebP holds a picture four times.
MAX_WEBP_PIXELS: Final = 9_000_000
MAX_PICTURE_SIDE: Final = 8192
PICTURE_FORMATS: Final = ("PNG", "JPEG", "WEBP")

_XMP_KEYWORD: Final = "XML:com.adobe.xmp"
# Marks the encoding of an EXIF user comment (EXIF 2.3, table 9).
_UNICODE: Final = b"UNICODE\0"


def make_grid(pictures: Sequence[Image.Image], columns: int = 2) -> Image.Image:
    """Lay pictures of one size side by side, row first, at most `columns` in a row (RGB)."""
    if not pictures or columns < 1:
        raise ValueError(f"a grid needs pictures and columns, not {len(pictures)} and {columns}")
    width, height = pictures[0].size
    if any(picture.size != (width, height) for picture in pictures):
        sizes = ", ".join(f"{picture.width}x{picture.height}" for picture in pictures)
        raise ValueError(f"a grid needs pictures of one size, not {sizes}")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    grid = Image.new("RGB", (columns * width, rows * height))
    for place, picture in enumerate(pictures):
        grid.paste(picture.convert("RGB"), (place % columns * width, place // columns * height))
    return grid


def enlarge(picture: Image.Image, factor: int) -> Image.Image:
    """Return the picture `factor` times as wide and high (Lanczos); unchanged for 1."""
    if factor < 1:
        raise ValueError(f"cannot enlarge {factor} times; 1 or more is needed")
    if factor == 1:
        return picture
    size = picture.width * factor, picture.height * factor
    return picture.resize(size, Image.Resampling.LANCZOS)


def encode_png(picture: Image.Image, provenance: Provenance) -> bytes:
    """Return the picture as PNG; text in iTXt, which holds any Unicode."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("parameters", parameters_text(provenance))
    chunks.add_itxt("Software", provenance.software)
    chunks.add_itxt(_XMP_KEYWORD, xmp_packet(provenance))
    out = io.BytesIO()
    picture.convert("RGB").save(out, "PNG", pnginfo=chunks)
    return out.getvalue()


def encode_webp(
    picture: Image.Image, provenance: Provenance, *, quality: int | None = None
) -> bytes:
    """Return the picture as WebP, lossless unless a quality (1 to 100) is given."""
    out = io.BytesIO()
    picture.convert("RGB").save(
        out,
        "WEBP",
        lossless=quality is None,
        quality=_quality(75 if quality is None else quality),
        exif=_exif(provenance),
        xmp=xmp_packet(provenance).encode(),
    )
    return out.getvalue()


def encode_jpeg(picture: Image.Image, provenance: Provenance, *, quality: int = 92) -> bytes:
    """Return the picture as JPEG at a quality of 1 to 100."""
    out = io.BytesIO()
    picture.convert("RGB").save(
        out,
        "JPEG",
        quality=_quality(quality),
        optimize=True,
        exif=_exif(provenance),
        xmp=xmp_packet(provenance).encode(),
    )
    return out.getvalue()


def encode_film(
    frames: Sequence[Image.Image],
    provenance: Provenance,
    *,
    durations: Sequence[int],
    quality: int = 80,
) -> bytes:
    """Return frames of one size as an animated WebP that runs for ever, each shown for its
    `durations` in milliseconds.
    """
    if not frames or len(frames) != len(durations) or min(durations) < 1:
        raise ValueError(f"a film needs frames and a time for each: {len(frames)}, {durations}")
    if len({frame.size for frame in frames}) > 1:
        raise ValueError("the frames of a film have one size")
    first, *others = (frame.convert("RGB") for frame in frames)
    out = io.BytesIO()
    first.save(
        out,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=list(durations),
        loop=0,
        quality=_quality(quality),
        exif=_exif(provenance),
        xmp=xmp_packet(provenance).encode(),
    )
    return out.getvalue()


def decode_picture(data: bytes) -> Image.Image:
    """Read a foreign PNG, JPEG or WebP as RGB, upright, transparency laid on white.

    Raises PictureError with a sentence for the sender when the file is refused.
    """
    picture = _open(data)
    try:
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        # A small file can hold a picture of 64 MiB: never more than two of them are in memory.
        if not picture.has_transparency_data:
            return picture.convert("RGB")
        if picture.mode != "RGBA":
            picture = picture.convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture)
        return white
    # Pillow's parsers raise whatever damaged bytes lead them to.
    except Exception as error:
        raise PictureError(f"this picture is damaged and cannot be read ({error})") from error


def read_parameters(data: bytes) -> str | None:
    """Return the A1111 text that a picture or film carries, or None. Decodes no pixel."""
    picture = _open(data, still=False)
    try:
        text = picture.info.get("parameters")
        if isinstance(text, str):
            # iTXt comes as a subclass of str that remembers its language.
            return str.__str__(text)
        comment = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
        if isinstance(comment, bytes) and comment.startswith(_UNICODE):
            return comment.removeprefix(_UNICODE).decode("utf-16-be")
    except Exception as error:
        raise PictureError(f"the notes in this picture are damaged ({error})") from error
    return None


def _open(data: bytes, *, still: bool = True) -> Image.Image:
    """Parse the header of a foreign file and check everything that can be checked before pixels."""
    if len(data) > MAX_PICTURE_BYTES:
        raise PictureError(
            f"this file has {len(data) / 2**20:.1f} MiB; "
            f"pictures may have {MAX_PICTURE_BYTES / 2**20:.0f} MiB"
        )
    try:
        picture = Image.open(io.BytesIO(data), formats=PICTURE_FORMATS)
        frames = getattr(picture, "n_frames", 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(_too_large("far too many pixels")) from error
    except UnidentifiedImageError as error:
        raise PictureError("this file is no PNG, JPEG or WebP picture") from error
    except Exception as error:
        raise PictureError(f"this picture is damaged and cannot be read ({error})") from error
    width, height = picture.size
    most = MAX_WEBP_PIXELS if still and picture.format == "WEBP" else MAX_PICTURE_PIXELS
    if width * height > most or max(width, height) > MAX_PICTURE_SIDE:
        raise PictureError(_too_large(f"{width}x{height} pixels", most))
    if min(width, height) < 1:
        raise PictureError(f"this picture has {width}x{height} pixels: there is nothing to see")
    if still and frames > 1 and picture.format in ("PNG", "WEBP"):
        raise PictureError(f"this is an animation of {frames} frames; send a still picture")
    return picture


def _too_large(what: str, most: int = MAX_PICTURE_PIXELS) -> str:
    return (
        f"this picture has {what}; at most {most / 1e6:.0f} million are taken, "
        f"and {MAX_PICTURE_SIDE} a side"
    )


def _quality(value: int) -> int:
    if not 1 <= value <= 100:
        raise ValueError(f"quality is {value}; it goes from 1 to 100")
    return value


def _exif(provenance: Provenance) -> Image.Exif:
    exif = Image.Exif()
    # Readers take the byte order of the file for that of the UTF-16 comment.
    exif.endian = ">"
    exif[ExifTags.Base.Software] = provenance.software
    comment = _UNICODE + parameters_text(provenance).encode("utf-16-be")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return exif


def withhold(pictures: Sequence[Image.Image], flagged: Sequence[bool]) -> tuple[Image.Image, ...]:
    """Return the pictures with a black one in the place of each that is flagged.

    `flagged` is empty where nothing judged them.
    """
    if not flagged:
        return tuple(pictures)
    return tuple(
        Image.new("RGB", picture.size) if bad else picture
        for picture, bad in zip(pictures, flagged, strict=True)
    )
