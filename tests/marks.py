"""A reader of marks in picture files that shares no line with the product, nor with Pillow.

Promises to walk the bytes by the formats' own documents (PNG chunks, JPEG segments, RIFF chunks,
TIFF directories) and to read XMP with a parser of XML; what is not there is not made up.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree

MADE_BY_A_MACHINE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF_IN_JPEG = b"Exif\0\0"
_SOFTWARE, _EXIF_PLACE, _COMMENT = 0x0131, 0x8769, 0x9286


@dataclass(slots=True)
class Marks:
    """What a file says: how its source is called, its texts by their names."""

    kind: str
    source_type: str | None = None
    texts: dict[str, str] = field(default_factory=dict)


def read_marks(data: bytes) -> Marks:
    """Read a PNG, JPEG or WebP file; ValueError where it breaks its format."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    raise ValueError(f"no picture: {data[:12]!r}")


def _png(data: bytes) -> Marks:
    marks, place = Marks("PNG"), 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (seal,) = struct.unpack_from(">I", data, place + 8 + length)
        if seal != zlib.crc32(name + body):
            raise ValueError(f"the chunk {name!r} is damaged")
        place += 12 + length
        if name == b"iTXt":
            key, _, rest = body.partition(b"\0")
            packed, rest = rest[0], rest[2:].split(b"\0", 2)[2]
            marks.texts[key.decode("latin-1")] = (
                zlib.decompress(rest) if packed else rest
            ).decode()
        elif name == b"tEXt":
            key, _, rest = body.partition(b"\0")
            marks.texts[key.decode("latin-1")] = rest.decode("latin-1")
    marks.source_type = _source_type(marks.texts.pop("XML:com.adobe.xmp", ""))
    return marks


def _jpeg(data: bytes) -> Marks:
    marks, place = Marks("JPEG"), 2
    while data[place] == 0xFF and data[place + 1] not in (0xDA, 0xD9):
        (length,) = struct.unpack_from(">H", data, place + 2)
        body = data[place + 4 : place + 2 + length]
        if data[place + 1] == 0xE1 and body.startswith(_XMP_IN_JPEG):
            marks.source_type = _source_type(body.removeprefix(_XMP_IN_JPEG).decode())
        elif data[place + 1] == 0xE1 and body.startswith(_EXIF_IN_JPEG):
            marks.texts |= _exif(body.removeprefix(_EXIF_IN_JPEG))
        place += 2 + length
    return marks


def _webp(data: bytes) -> Marks:
    marks, place = Marks("WEBP"), 12
    while place + 8 <= len(data):
        name, (length,) = data[place : place + 4], struct.unpack_from("<I", data, place + 4)
        body = data[place + 8 : place + 8 + length]
        if name == b"XMP ":
            marks.source_type = _source_type(body.decode())
        elif name == b"EXIF":
            marks.texts |= _exif(body.removeprefix(_EXIF_IN_JPEG))
        place += 8 + length + length % 2
    return marks


def _exif(block: bytes) -> dict[str, str]:
    order = {b"II": "<", b"MM": ">"}[block[:2]]
    (first,) = struct.unpack_from(f"{order}I", block, 4)
    texts: dict[str, str] = {}
    entries = dict(_directory(block, order, first))
    if _SOFTWARE in entries:
        texts["Software"] = entries[_SOFTWARE].rstrip(b"\0").decode()
    if _EXIF_PLACE in entries:
        (inner,) = struct.unpack(f"{order}I", entries[_EXIF_PLACE])
        comment = dict(_directory(block, order, inner)).get(_COMMENT, b"")
        if comment.startswith(b"UNICODE\0"):
            coding = "utf-16-be" if order == ">" else "utf-16-le"
            texts["parameters"] = comment.removeprefix(b"UNICODE\0").decode(coding)
    return texts


def _directory(block: bytes, order: str, place: int) -> Iterator[tuple[int, bytes]]:
    (count,) = struct.unpack_from(f"{order}H", block, place)
    for number in range(count):
        at = place + 2 + 12 * number
        tag, kind, length = struct.unpack_from(f"{order}HHI", block, at)
        size = length * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind]
        (elsewhere,) = struct.unpack_from(f"{order}I", block, at + 8)
        start = at + 8 if size <= 4 else elsewhere
        yield tag, block[start : start + size]


def _source_type(packet: str) -> str | None:
    """Return the source type that an XMP packet gives to the picture itself."""
    if not packet:
        return None
    root = ElementTree.fromstring(packet)  # noqa: S314 - our own files, and no entities in them
    for described in root.iter(f"{_RDF}Description"):
        if described.get(f"{_RDF}about") != "":
            continue
        found = described.get(_IPTC)
        element = described.find(_IPTC)
        if found is None and element is not None:
            found = element.get(f"{_RDF}resource") or element.text
        if found is not None:
            return found
    return None
