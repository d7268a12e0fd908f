"""The data set: packages, choice of drawings, pixels, splits. No npm and no real art needed."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffusion.train import art, data, packages, rasterise
from diffusion.train.packages import PACKAGES, STYLES, PackagesError
from tests.workbench import make_row

SQUARE = '<path fill="{}" d="M0 0h{}v{}H0z"/>'
# text: (name, group)
EMOJI = {
    "❤️": ("red heart", "Smileys & Emotion"),
    "☺️": ("smiling face", "Smileys & Emotion"),
    "🐱": ("cat face", "Animals & Nature"),
    "🍎": ("red apple", "Food & Drink"),
    "🦄": ("unicorn", "Animals & Nature"),
    "💌": ("love letter", "Smileys & Emotion"),
    "➡️": ("right arrow", "Symbols"),
    "🎅": ("Santa Claus", "People & Body"),
    "👪": ("family", "People & Body"),
    "👨‍🍳": ("man cook", "People & Body"),
    "🇫🇷": ("flag France", "Flags"),
    "🏁": ("chequered flag", "Flags"),
    "🕐": ("one o’clock", "Travel & Places"),
    "🚶‍➡️": ("person walking facing right", "People & Body"),
    "🅰️": ("A button (blood type)", "Symbols"),
    "🖕": ("middle finger", "People & Body"),
    "💋": ("kiss mark", "Smileys & Emotion"),
}
GOOD = {
    "red heart",
    "smiling face",
    "cat face",
    "red apple",
    "unicorn",
    "love letter",
    "right arrow",
    "santa claus",
    "chequered flag",
    "kiss mark",
}


def code(text: str) -> str:
    return "-".join(f"{ord(letter):x}" for letter in text)


def write_package(root: Path, name: str, files: Mapping[str, Any]) -> Path:
    folder = root / "node_modules" / name
    version = next(p.version for p in PACKAGES if p.name == name)
    for path, content in {"package.json": {"version": version}, **files}.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content), encoding="utf-8")
    return folder


def icons(
    *names: str, size: float = 36, aliases: dict[str, dict[str, str]] | None = None
) -> dict[str, Any]:
    bodies = {
        name: {"body": SQUARE.format(f"#{20 + i:02x}0000", size, size)}
        for i, name in enumerate(names)
    }
    return {"icons": bodies, "aliases": aliases or {}, "width": size, "height": size}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make small packages of the same shape as the real ones."""
    root = tmp_path / "packages"
    table = {text: {"name": name, "group": group} for text, (name, group) in EMOJI.items()}
    write_package(root, "unicode-emoji-json", {"data-by-emoji.json": table})
    notes = {
        "❤": {"default": ["Love", "red heart", "red", "♥", "heart"], "tts": ["red heart"]},
        "🍎": {"default": ["fruit", "red", "apple"], "tts": ["red apple"]},
    }
    write_package(
        root,
        "cldr-annotations-full",
        {"annotations/en/annotations.json": {"annotations": {"annotations": notes}}},
    )
    three_d = write_package(root, "@lobehub/fluent-emoji-3d", {})
    (three_d / "assets").mkdir()
    for text, size in {"❤️": (256, 264), "🍎": (256, 256), "👪": (256, 256)}.items():
        picture = Image.new("RGBA", size, (200, 10, 20, 255))
        picture.save(three_d / "assets" / f"{code(text)}.webp", lossless=True)
    plain = [art.slug(name) for name, _ in EMOJI.values()]
    chars = {code(text.replace("️", "")): art.slug(name) for text, (name, _) in EMOJI.items()}
    tones = {"1f385-1f3ff": "santa-claus-dark-skin-tone"}
    for name in ("twemoji", "noto", "fluent-emoji-flat"):
        files = {
            "icons.json": icons(*plain, "santa-claus-dark-skin-tone", "unknown-thing"),
            "chars.json": {**chars, **tones},
        }
        write_package(root, f"@iconify-json/{name}", files)
    write_package(
        root,
        "@iconify-json/noto-v1",
        {
            "icons.json": icons(
                "old-heart",
                "cat-face",
                "cat-face-2",
                aliases={"red-heart": {"parent": "old-heart"}},
            )
        },
    )
    write_package(
        root, "@iconify-json/emojione", {"icons.json": icons("unicorn-face", "love-letter")}
    )
    write_package(
        root, "@iconify-json/fxemoji", {"icons.json": icons("loveletter", "redapple", "xyz")}
    )
    write_package(
        root,
        "@iconify-json/streamline-emojis",
        {"icons.json": icons("cat-face-1", "cat-face-2", "france", "2", "wobbly-thing")},
    )
    return root


def names_of(root: Path, style: str) -> list[str]:
    package = next(package for package in PACKAGES if package.style == style)
    table = art.emoji_table(root)
    return [drawing.emoji.name for drawing in art.read_drawings(root, package, table)]


def test_sets_with_code_points_keep_exactly_the_good_names(root: Path) -> None:
    for style in ("twemoji", "noto", "fluent flat"):
        names = names_of(root, style)
        assert len(names) == len(set(names))
        assert set(names) == GOOD


def test_files_are_named_by_code_points(root: Path) -> None:
    assert sorted(names_of(root, "3d")) == ["red apple", "red heart"]


def test_names_resolve_by_alias_glued_word_and_number(root: Path) -> None:
    assert names_of(root, "blob") == ["red heart", "cat face"]
    assert names_of(root, "emojitwo") == ["unicorn", "love letter"]
    assert names_of(root, "fxemoji") == ["love letter", "red apple"]
    # Streamline draws a name several times and has plain names of its own; countries are left out.
    assert names_of(root, "streamline") == ["cat face", "cat face", "wobbly thing"]


def test_equal_bodies_and_hidden_icons_are_left_out(root: Path) -> None:
    path = root / "node_modules/@iconify-json/noto-v1/icons.json"
    content = json.loads(path.read_text())
    content["icons"] = {
        "red-apple": {"body": "<g/>"},
        "unicorn": {"body": "<g/>"},
        "cat-face": {"body": "<path/>", "hidden": True},
    }
    path.write_text(json.dumps(content))
    assert names_of(root, "blob") == ["red apple"]


@pytest.mark.parametrize(
    ("text", "name", "group", "reason"),
    [
        ("👋🏽", "waving hand medium skin tone", "People & Body", "skin tone"),
        ("👩‍🚒", "woman firefighter", "People & Body", "man or woman variant of a role"),
        ("🏃‍♀️", "woman running", "People & Body", "man or woman variant of a role"),
        ("👩‍❤️‍👨", "couple with heart woman, man", "People & Body", "family or couple"),
        ("💏", "kiss", "People & Body", "family or couple"),
        ("💋", "kiss mark", "Smileys & Emotion", None),
        ("🇯🇵", "flag japan", "Flags", "flag"),
        ("🏴‍☠️", "pirate flag", "Flags", None),
        ("🕧", "twelve-thirty", "Travel & Places", "clock face"),
        ("5️⃣", "keycap 5", "Symbols", "lettering or mark"),
        ("™️", "trade mark", "Symbols", "lettering or mark"),
        ("🔙", "back arrow", "Symbols", "lettering or mark"),
        ("👩", "woman", "People & Body", None),
        ("🧑‍🚒", "firefighter", "People & Body", None),
    ],
)
def test_why_left_out(text: str, name: str, group: str, reason: str | None) -> None:
    emoji = art.Emoji(
        code=art.canonical(tuple(map(ord, text))), name=name, group=group, keywords=()
    )
    assert art.why_left_out(emoji) == reason


def test_keywords_are_lower_case_plain_and_without_the_name(root: Path) -> None:
    table = art.emoji_table(root)
    assert table[(0x2764,)].keywords == ("love", "red", "heart")
    assert table[(0x1F385,)].name == "santa claus"


def test_build_writes_arrays_and_index_and_is_deterministic(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    seen: list[tuple[int, int]] = []
    rows = data.build(tmp_path / "a", root, progress=lambda i, n: seen.append((i, n)))
    data.build(tmp_path / "b", root)
    for name in ("art-128.npy", "art-64.npy", "index.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "art-128.npy",
        "art-64.npy",
        "index.json",
    ]
    assert data.read_index(tmp_path / "a") == rows
    assert seen[-1] == (len(rows), len(rows))
    small, large = data.read_art(tmp_path / "a"), data.read_art(tmp_path / "a", 128)
    assert small.shape == (len(rows), 64, 64, 4)
    assert large.shape == (len(rows), 128, 128, 4)
    assert small.dtype == large.dtype == np.uint8
    assert data.counts(rows)["twemoji"] == len(GOOD)
    twemoji = [row for row in rows if row.style == "twemoji"]
    assert [row.row for row in rows] == list(range(len(rows)))
    # The second icon of the fixture is drawn in #150000 all over.
    assert (small[twemoji[1].row] == (0x15, 0, 0, 255)).all()


def test_build_of_some_styles_and_of_unknown_ones(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    rows = data.build(tmp_path / "out", root, styles=["fxemoji"])
    assert data.counts(rows) == {"fxemoji": 2}
    with pytest.raises(data.DataError, match="crayon"):
        data.build(tmp_path / "out", root, styles=["crayon"])


def test_an_interrupted_build_leaves_no_index(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("resvg_py")
    out = tmp_path / "out"
    data.build(out, root, styles=["fxemoji"])

    def fail(drawing: art.Drawing, size: int) -> rasterise.Pixels:
        raise rasterise.RasteriseError("out of ink")

    monkeypatch.setattr(data, "render", fail)
    with pytest.raises(rasterise.RasteriseError):
        data.build(out, root, styles=["fxemoji"])
    with pytest.raises(data.DataError, match="build the data set first"):
        data.read_index(out)


def test_rows_say_what_is_a_symbol_and_what_must_not_be_mirrored(root: Path) -> None:
    package = next(package for package in PACKAGES if package.style == "noto")
    rows = data.make_rows(list(art.read_drawings(root, package, art.emoji_table(root))))
    by_name = {row.name: row for row in rows}
    assert (by_name["right arrow"].weight, by_name["right arrow"].flip) == (0.3, False)
    assert (by_name["red heart"].weight, by_name["red heart"].flip) == (1.0, True)
    assert by_name["red heart"].code_points == "2764"


def test_svg_is_centred_on_a_square_and_may_use_xlink() -> None:
    pytest.importorskip("resvg_py")
    body = '<defs><path id="a" d="M0 0h40v20H0z"/></defs><use xlink:href="#a" fill="#00f"/>'
    svg = rasterise.Svg(body=body, left=0, top=0, width=40, height=20)
    pixels = rasterise.render_svg(svg, 64)
    assert (pixels[17:47] == (0, 0, 255, 255)).all()
    assert not pixels[:16].any()
    assert not pixels[48:].any()


def test_broken_svg_and_picture_give_an_error(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    with pytest.raises(rasterise.RasteriseError):
        rasterise.render_svg(rasterise.Svg(body="<g", left=0, top=0, width=1, height=1), 64)
    path = tmp_path / "x.webp"
    path.write_bytes(b"RIFF0000WEBPnothing")
    with pytest.raises(rasterise.RasteriseError, match=r"x\.webp"):
        rasterise.read_picture(path, 64)


def test_shrinking_averages_premultiplied_colour() -> None:
    pixels = np.zeros((4, 4, 4), dtype=np.uint8)
    pixels[:, ::2] = (250, 0, 0, 255)
    pixels[:, 1::2] = (0, 250, 0, 0)
    small = rasterise.shrink(pixels, 2)
    # Half covered, and red stays red: the colour under transparent pixels does not count.
    assert (small == (250, 0, 0, 128)).all()
    assert not rasterise.shrink(np.zeros((4, 4, 4), dtype=np.uint8), 2).any()
    with pytest.raises(rasterise.RasteriseError, match="4x4"):
        rasterise.shrink(pixels, 3)


def test_picture_files_are_padded_and_shrunk_without_a_dark_rim(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (20, 24), (240, 120, 0, 255))
    picture.save(tmp_path / "a.webp", lossless=True)
    pixels = rasterise.read_picture(tmp_path / "a.webp", 8)
    assert pixels.shape == (8, 8, 4)
    edge = pixels[4, 0]
    assert 0 < edge[3] < 255
    assert abs(int(edge[0]) - 240) <= 2
    assert abs(int(edge[1]) - 120) <= 2


def test_held_out_pairs_are_five_percent_and_fixed() -> None:
    pairs = [(style, f"name {i}") for style in STYLES for i in range(1500)]
    held = [pair for pair in pairs if data.is_held_out(*pair)]
    assert 0.045 < len(held) / len(pairs) < 0.055
    for style in STYLES:
        assert not any(data.is_held_out(style, name) for name in data.ALWAYS_TRAINED)
    # These two must never change: published figures depend on the split.
    assert data.is_held_out("twemoji", "blue heart") is False
    assert data.fraction_of("easel held out", "3d", "pizza") == pytest.approx(0.9909620173197722)


def test_the_judge_never_sees_a_fifth_at_most_and_whole_pairs(root: Path) -> None:
    table = art.emoji_table(root)
    drawings = [
        drawing
        for package in PACKAGES
        if package.style
        for drawing in art.read_drawings(root, package, table)
    ]
    rows = data.make_rows(drawings)
    unseen = {(row.style, row.name) for row in rows if row.unseen_by_judge}
    seen = {(row.style, row.name) for row in rows if not row.unseen_by_judge}
    assert unseen
    assert not unseen & seen
    assert data.make_rows(drawings) == rows
    styles = {name: {row.style for row in rows if row.name == name} for _, name in unseen}
    assert min(map(len, styles.values())) >= data.JUDGE_STYLES


def test_the_known_names_are_many_distinct_and_hold_what_people_type() -> None:
    names = data.known_names()
    assert 200 <= len(names) <= 280
    assert len(set(names)) == len(names)
    assert set(names) >= data.ALWAYS_TRAINED
    assert set(names) >= {"dog face", "pizza", "rocket", "robot", "unicorn", "fish", "star", "sun"}
    assert set(names) >= {"house", "snowman", "automobile", "blue heart", "green heart"}


def test_select_by_style_preset_and_split() -> None:
    rows = [
        make_row(0, "3d", "red heart"),
        make_row(1, "twemoji", "red heart"),
        make_row(2, "twemoji", "red heart"),
        make_row(3, "noto", "red heart"),
        make_row(4, "3d", "fax machine"),
    ]

    def numbers(chosen: list[data.Row]) -> list[int]:
        return [row.row for row in chosen]

    assert numbers(data.select(rows)) == [0, 1]
    assert numbers(data.select(rows, preset="all")) == [0, 1, 2, 4]
    assert numbers(data.select(rows, styles=["noto"], preset="all")) == [3]
    assert numbers(data.select(rows, preset="all", held_out=True)) == [1]
    assert numbers(data.select(rows, held_out=False)) == [0, 2]
    with pytest.raises(data.DataError, match="preset 'best'"):
        data.select(rows, preset="best")
    with pytest.raises(data.DataError, match="blob"):
        data.select(rows, styles=["blob"])


def test_index_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match="build the data set first"):
        data.read_index(tmp_path)
    with pytest.raises(data.DataError, match="does not exist"):
        data.read_art(tmp_path)
    data.write_index(tmp_path / "index.json", [make_row(0, "3d", "red heart")])
    assert data.read_index(tmp_path) == [make_row(0, "3d", "red heart")]
    content = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**content, "version": 99}))
    with pytest.raises(data.DataError, match="version 99"):
        data.read_index(tmp_path)
    (tmp_path / "index.json").write_text('{"version": 1, "rows": [{"style": "3d"}]}')
    with pytest.raises(data.DataError, match="damaged"):
        data.read_index(tmp_path)
    (tmp_path / "art-64.npy").write_bytes(b"not an array")
    with pytest.raises(data.DataError, match="damaged"):
        data.read_art(tmp_path)


def fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def test_complete_packages_need_no_npm(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    packages.ensure_packages(root)


def test_without_npm_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackagesError, match=r"10 art packages are missing.*Install Node\.js"):
        packages.ensure_packages(tmp_path / "nothing")


def test_npm_is_asked_for_the_pinned_version_without_scripts(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = next(package for package in PACKAGES if package.style == "noto")
    manifest = packages.package_folder(root, package) / "package.json"
    manifest.write_text('{"version": "0.0.1"}')
    good = json.dumps({"version": package.version})
    script = f"echo \"$@\" > {tmp_path}/asked\necho '{good}' > {manifest}"
    fake_npm(tmp_path / "bin", script, monkeypatch)
    packages.ensure_packages(root)
    words = (tmp_path / "asked").read_text().split()
    assert words[:3] == ["install", "--prefix", str(root)]
    assert "--ignore-scripts" in words
    assert words[-1] == f"@iconify-json/noto@{package.version}"
    assert sum("@iconify" in word for word in words) == 1


def test_a_failing_npm_is_told_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path / "bin", "echo 'ENOTFOUND registry' >&2; exit 3", monkeypatch)
    with pytest.raises(PackagesError, match="ended with 3: ENOTFOUND registry"):
        packages.ensure_packages(tmp_path / "packages")


def test_an_npm_that_installs_nothing_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_npm(tmp_path / "bin", "exit 0", monkeypatch)
    with pytest.raises(PackagesError, match="left @lobehub/fluent-emoji-3d at None"):
        packages.ensure_packages(tmp_path / "packages")


def test_a_damaged_package_is_named(root: Path) -> None:
    package = replace(PACKAGES[0])
    (packages.package_folder(root, package) / "package.json").write_text("{")
    with pytest.raises(PackagesError, match=r"package\.json is damaged"):
        packages.ensure_packages(root)
    path = root / "node_modules/unicode-emoji-json/data-by-emoji.json"
    path.write_text("[]")
    with pytest.raises(PackagesError, match="no JSON object"):
        art.emoji_table(root)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_packages_give_the_documented_counts(tmp_path: Path) -> None:
    """Fetch the real art with npm (network) and build all of it: about two minutes."""
    pytest.importorskip("resvg_py")
    rows = data.build(tmp_path / "data", tmp_path / "packages")
    assert data.counts(rows) == {
        "3d": 1330,
        "twemoji": 1351,
        "noto": 1351,
        "fluent flat": 1334,
        "blob": 994,
        "emojitwo": 977,
        "fxemoji": 488,
        "streamline": 565,
    }
    for style in ("3d", "twemoji", "noto"):
        assert len(data.select(rows, styles=[style])) == len(data.known_names())
