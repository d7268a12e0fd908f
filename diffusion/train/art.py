"""Which drawings of the packages are used, and under which name.

Promises: one table of names (CLDR, by code points), the same choice on every run, and a reason
for each drawing left out. Never: skin-tone copies, countries' flags, lettering, or trade marks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from diffusion.train.packages import PACKAGES, Package, PackagesError, package_folder
from diffusion.train.rasterise import Svg

Code = tuple[int, ...]

_VARIATION: Final = 0xFE0F
_JOINER: Final = 0x200D
_TONES: Final = range(0x1F3FB, 0x1F400)
_GENDER: Final = frozenset({0x2640, 0x2642})
_MAN_WOMAN: Final = frozenset({0x1F468, 0x1F469})
_KEPT_FLAGS: Final = frozenset(
    {"chequered flag", "triangular flag", "crossed flags", "black flag", "white flag"}
    | {"rainbow flag", "pirate flag"}
)
_COUPLES: Final = frozenset(
    {"family", "kiss", "couple with heart", "people holding hands", "women holding hands"}
    | {"men holding hands", "woman and man holding hands"}
)
# Code points that are lettering and nothing else: trade marks, Japanese words on buttons, letters.
_LETTERING: Final = (
    frozenset({0xA9, 0xAE, 0x2122, 0x2139, 0x24C2, 0x3297, 0x3299, 0x20E3, 0x1F3E7, 0x1F6BE})
    | frozenset({0x1F170, 0x1F171, 0x1F17E, 0x1F17F, 0x1F18E, 0x1F51E, 0x1F51F, 0x1F4A4, 0x1F4B9})
    | frozenset(range(0x1F191, 0x1F19B))
    | frozenset(range(0x1F1E6, 0x1F200))
    | frozenset(range(0x1F201, 0x1F252))
    | frozenset(range(0x1F519, 0x1F51E))
    | frozenset(range(0x1F520, 0x1F525))
)
_CLOCKS: Final = frozenset(range(0x1F550, 0x1F568))
_RUDE: Final = frozenset({0x1F595})
# Names of the streamline set that no table resolves: countries by bare name, couples, numbers.
_STREAMLINE_COUNTRIES: Final = frozenset(
    {"australia", "brazil", "canada", "china", "egypt", "france", "germany", "greece", "india"}
    | {"iran", "iraq", "italy", "japan", "malaysia", "mexico", "nepal", "north-korea", "pakistan"}
    | {"portugal", "russia", "singapore", "south-africa", "south-korea", "spain", "switzerland"}
    | {"syria", "thailand", "united-arab-emirates", "united-kingdom", "united-states"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emoji:
    """What the Unicode tables say about one emoji."""

    code: Code
    name: str
    group: str
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One drawing that is used: who it is, and where its picture comes from."""

    style: str
    emoji: Emoji
    icon: str
    source: Svg | Path


def canonical(code: Code) -> Code:
    """Drop the variation selector, which the packages use or leave out at will."""
    return tuple(point for point in code if point != _VARIATION)


def parse_code(text: str) -> Code:
    """Read code points written as hexadecimal numbers joined by hyphens."""
    return canonical(tuple(int(part, 16) for part in text.split("-")))


def slug(name: str) -> str:
    """Reduce a name to lower-case words joined by hyphens."""
    return "-".join(re.findall(r"[a-z0-9]+", name.lower().replace("’", "").replace("'", "")))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of a package."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PackagesError(f"{path} cannot be read ({error}); fetch the package again.") from error
    if not isinstance(data, dict):
        raise PackagesError(f"{path} holds no JSON object; fetch the package again.")
    return data


def emoji_table(root: Path) -> dict[Code, Emoji]:
    """Return name, group and English keywords of every emoji without skin tone."""
    tables = {package.name: package_folder(root, package) for package in PACKAGES}
    names = read_json(tables["unicode-emoji-json"] / "data-by-emoji.json")
    notes_path = tables["cldr-annotations-full"] / "annotations" / "en" / "annotations.json"
    notes = {
        canonical(tuple(map(ord, text))): note.get("default", ())
        for text, note in read_json(notes_path)["annotations"]["annotations"].items()
    }
    table = {}
    for text, entry in names.items():
        code = canonical(tuple(map(ord, text)))
        name = entry["name"].lower()
        words = (word.lower() for word in notes.get(code, ()))
        keywords = tuple(w for w in dict.fromkeys(words) if w != name and _plain(w))
        table[code] = Emoji(code=code, name=name, group=entry["group"], keywords=keywords)
    return table


def _plain(word: str) -> bool:
    return re.fullmatch(r"[a-z0-9][a-z0-9 '’-]{1,23}", word) is not None


def why_left_out(emoji: Emoji) -> str | None:
    """Return the reason to leave an emoji out, None when it is used."""
    code, name = emoji.code, emoji.name
    points = set(code)
    if points & set(_TONES):
        return "skin tone"
    if name in _COUPLES or name.startswith(("family", "kiss ", "couple with heart ")):
        return None if name == "kiss mark" else "family or couple"
    if _JOINER in points and (points & _GENDER or code[0] in _MAN_WOMAN):
        return "man or woman variant of a role"
    if emoji.group == "Flags" and name not in _KEPT_FLAGS:
        return "flag"
    if points & _CLOCKS:
        return "clock face"
    if points & _LETTERING:
        return "lettering or mark"
    if "facing right" in name:
        return "facing right"
    if points & _RUDE:
        return "rude"
    return None


def lexicon(root: Path, table: Mapping[Code, Emoji]) -> dict[str, Code]:
    """Return code points by slug: Unicode's names first, then the names of the Iconify sets."""
    words: dict[str, Code] = {}
    for code, emoji in table.items():
        words.setdefault(slug(emoji.name), code)
    for package in PACKAGES:
        for icon, code in _chars(package_folder(root, package)).items():
            if code in table:
                words.setdefault(icon, code)
    return words


def _chars(folder: Path) -> dict[str, Code]:
    path = folder / "chars.json"
    if not path.exists():
        return {}
    found: dict[str, Code] = {}
    for text, icon in read_json(path).items():
        found.setdefault(icon, parse_code(text))
    return found


def read_drawings(root: Path, package: Package, table: Mapping[Code, Emoji]) -> Iterator[Drawing]:
    """Yield the drawings of one set that are used, in the order of the package."""
    if not package.style:
        raise ValueError(f"{package.name} holds names, no drawings.")
    folder = package_folder(root, package)
    if (folder / "assets").is_dir():
        return _read_files(folder / "assets", package.style, table)
    return _read_icons(root, folder, package.style, table)


def _read_files(folder: Path, style: str, table: Mapping[Code, Emoji]) -> Iterator[Drawing]:
    used: set[Code] = set()
    for path in sorted(folder.glob("*.webp")):
        emoji = table.get(parse_code(path.stem))
        if emoji is not None and emoji.code not in used and why_left_out(emoji) is None:
            used.add(emoji.code)
            yield Drawing(style=style, emoji=emoji, icon=path.stem, source=path)


def _read_icons(
    root: Path, folder: Path, style: str, table: Mapping[Code, Emoji]
) -> Iterator[Drawing]:
    data = read_json(folder / "icons.json")
    words, chars = lexicon(root, table), _chars(folder)
    for alias, entry in data.get("aliases", {}).items():
        if alias in words and len(entry) == 1:
            words.setdefault(entry["parent"], words[alias])
    if style == "fxemoji":
        words = {word.replace("-", ""): code for word, code in reversed(words.items())}
    several = style == "streamline"
    used_codes: set[Code] = set()
    used_bodies: set[str] = set()
    for icon, entry in data["icons"].items():
        emoji = _identify(icon, style, words, chars, table)
        if emoji is None or entry.get("hidden") or why_left_out(emoji) is not None:
            continue
        if entry["body"] in used_bodies or (emoji.code in used_codes and not several):
            continue
        used_bodies.add(entry["body"])
        used_codes.add(emoji.code)
        yield Drawing(style=style, emoji=emoji, icon=icon, source=_svg(entry, data))


def _identify(
    icon: str,
    style: str,
    words: Mapping[str, Code],
    chars: Mapping[str, Code],
    table: Mapping[Code, Emoji],
) -> Emoji | None:
    code = chars.get(icon)
    if code is not None:
        return table.get(code)
    word = re.sub(r"-\d+$", "", icon) if style == "streamline" else icon
    for known in (word, re.sub("-?face$", "", word), f"{word}-face", f"{word}face"):
        if known in words:
            return table.get(words[known])
    if style != "streamline" or word in _STREAMLINE_COUNTRIES or "holding-hands" in word:
        return None
    if re.fullmatch(r"[a-z-]{3,}", word) is None:
        return None
    return Emoji(code=(), name=word.replace("-", " "), group="", keywords=())


def _svg(entry: Mapping[str, Any], data: Mapping[str, Any]) -> Svg:
    width = float(entry.get("width", data.get("width", 16)))
    height = float(entry.get("height", data.get("height", 16)))
    left = float(entry.get("left", data.get("left", 0)))
    top = float(entry.get("top", data.get("top", 0)))
    return Svg(body=entry["body"], left=left, top=top, width=width, height=height)
