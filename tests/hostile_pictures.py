"""Pictures that mean harm, and a process of its own in which they are opened and measured.

`python -m tests.hostile_pictures BOMBS MUTATED` opens so many of each as the bot opens an upload,
and prints one line of JSON: how far the memory rose, how long the slowest kept the processor, and
what came out.
Promises that every figure is of the whole process, and that a crash of it is not hidden.
"""

import io
import json
import random
import struct
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from PIL import Image, PngImagePlugin

from diffusion.errors import PictureError
from diffusion.pictures import MAX_PICTURE_BYTES, decode_picture, read_parameters

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
# Width and height: just allowed, just not, absurd, and long and thin.
SIZES = ((4000, 4000), (3840, 2160), (4001, 4000), (8193, 8), (8192, 1953), (13_000, 13_000))
_COLOUR_TYPES = {"1": (1, 0), "L": (8, 0), "LA": (8, 4), "P": (8, 3), "RGB": (8, 2),
                 "RGBA": (8, 6), "I;16": (16, 0)}  # fmt: skip
_WIDTHS = {"1": 0.125, "L": 1, "LA": 2, "P": 1, "RGB": 3, "RGBA": 4, "I;16": 2}


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(mode: str, width: int, height: int, *more: bytes, interlaced: bool = False) -> bytes:
    """Return a PNG of one value whose pixels are all there, without holding them in memory."""
    depth, colour = _COLOUR_TYPES[mode]
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    row = b"\0" * (1 + -(-int(width * _WIDTHS[mode] * 8) // 8))
    packer = zlib.compressobj(1)
    # Interlaced rows are shorter and more; what is too much is left alone.
    rows = [packer.compress(row) for _ in range(height + (height if interlaced else 0))]
    table = [chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(256))] if mode == "P" else []
    parts = [chunk(b"IHDR", head), *table, *more]
    parts += [chunk(b"IDAT", b"".join(rows) + packer.flush()), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(kind: str, mode: str, size: tuple[int, int], **how: object) -> bytes:
    """Return a picture as Pillow writes it."""
    out = io.BytesIO()
    Image.new(mode, size, "white").save(out, kind, **how)
    return out.getvalue()


def swollen(kind: bytes, megabytes: int) -> bytes:
    """Return a small PNG with a note that swells."""
    packed = zlib.compress(bytes(megabytes << 20), 9)
    fronts = {b"zTXt": b"parameters\0\0", b"iTXt": b"parameters\0\1\0\0\0", b"iCCP": b"icc\0\0"}
    return png("RGB", 8, 8, chunk(kind, fronts[kind] + packed))


def animated(kind: str, frames: int, size: tuple[int, int]) -> bytes:
    """Return a picture that moves."""
    out = io.BytesIO()
    first, *others = (Image.new("RGB", size, (number % 256, 0, 0)) for number in range(frames))
    first.save(out, kind, save_all=True, append_images=others, duration=10)
    return out.getvalue()


def lying(width: int, height: int) -> bytes:
    """Return a PNG whose head promises far more than follows."""
    data = bytearray(png("RGB", 8, 8))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def bombs() -> Iterator[Callable[[], bytes]]:
    """Yield makers of pictures that are small as files and large as pictures, for ever."""
    chance = random.Random(13)  # noqa: S311 - faults of a test
    # Those that take the most memory of all that is let in come first.
    yield lambda: png("RGBA", *SIZES[0])
    yield lambda: png("LA", *SIZES[0])
    yield lambda: saved("WEBP", "RGBA", SIZES[1], lossless=True)
    # And some that would take more if they were.
    yield lambda: saved("WEBP", "RGB", SIZES[0])
    yield lambda: png("1", 13_000, 13_000)
    yield lambda: lying(60_000, 60_000)
    yield lambda: swollen(b"zTXt", 64)
    while True:
        for size in SIZES:
            for mode in MODES:
                yield lambda mode=mode, size=size: png(mode, *size)  # type: ignore[misc]
        for kind, mode, how in (
            ("JPEG", "RGB", {}),
            ("JPEG", "CMYK", {}),
            ("JPEG", "L", {"progressive": True}),
            ("WEBP", "RGB", {"lossless": True}),
            ("WEBP", "RGBA", {"lossless": True}),
            ("WEBP", "RGBA", {"quality": 90}),
        ):
            for size in ((4000, 4000), (3840, 2160), (5000, 4000)):
                yield lambda k=kind, m=mode, s=size, h=how: saved(k, m, s, **h)  # type: ignore[misc]
        for note in (b"zTXt", b"iTXt", b"iCCP"):
            yield lambda note=note: swollen(note, 64)  # type: ignore[misc]
        for moving in ("PNG", "WEBP", "GIF"):
            yield lambda moving=moving: animated(moving, 200, (64, 64))  # type: ignore[misc]
        for other in ("TIFF", "BMP", "GIF", "PPM", "ICO", "TGA", "PCX"):
            yield lambda other=other: saved(other, "RGB", (256, 256))  # type: ignore[misc]
        yield lambda: png("RGBA", 4000, 4000, interlaced=True)
        yield lambda: b"SIMPLE  =                    T" + zlib.compress(bytes(1 << 20), 9)
        yield lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30_000, 30_000, 8, 3)
        yield lambda: bytes(MAX_PICTURE_BYTES + 1)
        for _ in range(8):
            size = (chance.randrange(1, 2**31), chance.randrange(1, 2**31))
            yield lambda size=size: lying(*size)  # type: ignore[misc]


def mutated() -> Iterator[Callable[[], bytes]]:
    """Yield makers of damaged pictures, for ever."""
    chance = random.Random(17)  # noqa: S311 - faults of a test
    seeds = [saved(kind, mode, (64, 48)) for kind, mode in (
        ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1"), ("JPEG", "RGB"),
        ("JPEG", "CMYK"), ("WEBP", "RGB"), ("WEBP", "RGBA"),
    )]  # fmt: skip
    seeds.append(saved("JPEG", "RGB", (64, 48), progressive=True, exif=_turned()))
    seeds.append(_noted())
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 8)):
            # The head is where sizes and formats stand.
            place = chance.randrange(min(len(data), chance.choice((40, len(data)))))
            match chance.randrange(4):
                case 0:
                    data[place] ^= 1 << chance.randrange(8)
                case 1:
                    data[place] = chance.choice((0, 1, 127, 128, 255))
                case 2:
                    data[place : place + 4] = chance.randbytes(4)
                case _:
                    data[place:place] = data[place : place + chance.randrange(1, 64)]
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        if chance.random() < 0.5:
            _mend_png(data)
        yield lambda data=data: bytes(data)  # type: ignore[misc]


def _mend_png(data: bytearray) -> None:
    """Make the checksum of a PNG's head right again, so that the damage behind it is reached."""
    if len(data) > 33 and data[12:16] == b"IHDR":
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def _noted() -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("parameters", "a fox\nSteps: 4", zip=True)
    out = io.BytesIO()
    Image.new("RGBA", (32, 32)).save(out, "PNG", pnginfo=notes)
    return out.getvalue()


def _memory(field: str) -> float:
    """Return a field of this process's status in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def open_all(makers: Iterator[Callable[[], bytes]], count: int) -> dict[str, float]:
    """Open pictures as uploads are opened; anything but a picture or a PictureError is raised."""
    found = {"decoded": 0.0, "refused": 0.0, "most MiB": 0.0, "most seconds": 0.0}
    for make in islice(makers, count):
        data = make()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before, started = _memory("VmRSS"), time.process_time()
        for read in (decode_picture, read_parameters):
            try:
                read(data)
            except PictureError as error:
                if not str(error):
                    raise ValueError("a refusal without a sentence") from error
                found["refused"] += read is decode_picture
            else:
                found["decoded"] += read is decode_picture
        found["most seconds"] = max(found["most seconds"], time.process_time() - started)
        found["most MiB"] = max(found["most MiB"], _memory("VmHWM") - before)
    return found


def main(bomb_count: str, mutated_count: str) -> None:
    """Open everything and print the figures."""
    # The product takes Pillow's warnings for what they are; here they would only be noise.
    warnings.simplefilter("ignore")
    # What the parsers load once is no picture's doing.
    for kind in ("PNG", "JPEG", "WEBP"):
        decode_picture(saved(kind, "RGB", (64, 64)))
    figures = {
        "bombs": open_all(bombs(), int(bomb_count)),
        "mutated": open_all(mutated(), int(mutated_count)),
    }
    print(json.dumps(figures))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
