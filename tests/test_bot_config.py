"""Configuration: the shipped file, every kind of fault, reload, and that loading is total."""

import os
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import Config, ConfigError, load_config, parse_config, reload
from bot.config_models import NAMED_SECTIONS, Restart

SHIPPED = Path(__file__).parent.parent / "config.toml"
HERE = Path("/etc/easel/config.toml")
# The shape of a token, made of parts that are none.
CANARY = (
    "MTIzNDU2Nzg5MDEyMzQ1Njc4" + "." + "GcAnAr" + "." + "canary0123456789canary0123456789canary"
)


def shipped_text() -> str:
    """Return the shipped file."""
    return SHIPPED.read_text(encoding="utf-8")


def refused(text: str) -> ConfigError:
    """Return the error a text gives."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, HERE)
    assert caught.value.file == HERE
    assert str(caught.value).startswith(str(HERE))
    assert "\n" not in str(caught.value)
    return caught.value


def known_keys() -> dict[str, set[str]]:
    """List sections and keys as the types have them."""
    keys: dict[str, set[str]] = {}
    for section, field in Config.model_fields.items():
        model: Any = NAMED_SECTIONS.get(section, field.annotation)
        keys[section] = set(model.model_fields)
    return keys


def test_the_shipped_file_holds_every_key_with_its_default() -> None:
    data = tomllib.loads(shipped_text())
    assert list(data) == list(Config.model_fields)
    for section, keys in known_keys().items():
        found = next(iter(data[section].values())) if section in NAMED_SECTIONS else data[section]
        assert set(found) == keys, section
    assert load_config(SHIPPED) == parse_config("", SHIPPED)


def test_every_key_of_the_shipped_file_has_a_comment_of_one_line_above_it() -> None:
    lines = shipped_text().splitlines()
    for number, line in enumerate(lines):
        assert len(line) <= 100
        if "=" in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# "), line
            before = lines[number - 2]
            assert before.startswith("[") or not before.startswith("#"), line


def test_what_needs_a_restart_says_so_in_the_shipped_file() -> None:
    lines = shipped_text().splitlines()
    for section, field in Config.model_fields.items():
        model: Any = NAMED_SECTIONS.get(section, field.annotation)
        for key, inner in model.model_fields.items():
            if f"[{section}.{key}]" in lines:
                # A section of its own, whose comment tells of what stands in it.
                continue
            (comment,) = (
                lines[number - 1]
                for number, line in enumerate(lines)
                if line.startswith(f"{key} =") and _section_at(lines, number).startswith(section)
            )
            marked = any(isinstance(one, Restart) for one in inner.metadata)
            assert comment.endswith("(restart)") == marked, key


def _section_at(lines: list[str], number: int) -> str:
    heads = [line for line in lines[:number] if line.startswith("[")]
    return heads[-1].strip("[]")


@pytest.mark.parametrize(
    ("text", "line", "key", "nearest", "said"),
    [
        ("[limits.roles.5]\nmax_stps = 3", 2, "[limits.roles.5] max_stps", "max_steps", "setting"),
        ("[limits.roles.five]", 1, "[limits.roles.five]", None, "named by an id"),
        ("[limits.roles]\n5 = 3", 2, "[limits.roles.5]", None, "section of its own"),
        ("[limits.roles.5]\nmax_steps = 0", 2, "[limits.roles.5] max_steps", None, "at least 1"),
        (
            "[moderation]\nblocked_patterns = [\n  'fine',\n  '(a+)+',\n]",
            4,
            "[moderation] blocked_patterns",
            None,
            "repeats something that repeats",
        ),
        (
            "[moderation.guilds.7]\nblocked_patterns = ['(']",
            2,
            "[moderation.guilds.7] blocked_patterns",
            None,
            "no regular expression",
        ),
        ("[moderation]\nunsafe = 'hide'", 2, "[moderation] unsafe", None, '"restricted"'),
        ("[queue]\nmax_wating = 5", 2, "[queue] max_wating", "max_waiting", "not a setting"),
        ("[queu]\nmax_waiting = 5", 1, "[queu]", "[queue]", "not a section"),
        ("[queue]\nmax_steps = 5", 2, "[queue] max_steps", "[limits] max_steps", "not a setting"),
        ("\nmax_waiting = 5", 2, "max_waiting", None, "belongs under [queue]"),
        ("[models.emoji]\npth = 'x'\npath='emoji'", 2, "[models.emoji] pth", "path", "setting"),
        ("[queue]\nmax_waiting = '5'", 2, "[queue] max_waiting", None, "whole number"),
        ("[queue]\nmax_waiting = 5.5", 2, "[queue] max_waiting", None, "whole number"),
        ("[queue]\nmax_waiting = true", 2, "[queue] max_waiting", None, "not true"),
        ("[queue]\n\nmax_waiting = 0", 3, "[queue] max_waiting", None, "at least 1, not 0"),
        ("queue.max_waiting = 0", 1, "[queue] max_waiting", None, "at least 1, not 0"),
        ("queue = {max_waiting = 0}", 1, "[queue] max_waiting", None, "at least 1, not 0"),
        ('[queue]\n"max_waiting" = 0', 2, "[queue] max_waiting", None, "at least 1, not 0"),
        ("queue = 5", 1, "queue", None, "section of its own"),
        ("[queue]\norder = 'last'", 2, "[queue] order", None, '"fair", "arrival"'),
        ("[delivery]\npreview = 'yes'", 2, "[delivery] preview", None, "true or false"),
        ("[delivery]\nedit_seconds = nan", 2, "[delivery] edit_seconds", None, "infinite"),
        ("[discord]\nguilds = [1,\n  2,\n  '3']", 4, "[discord] guilds", None, "without quotes"),
        ("[discord]\nguilds = 5", 2, "[discord] guilds", None, "list in square brackets"),
        ("[discord]\nguilds = [0]", 2, "[discord] guilds", None, "more than 0"),
        ("[discord]\nstatus = 5", 2, "[discord] status", None, "text in quotes"),
        ("[discord]\nstatus = '" + "x" * 200 + "'", 2, "[discord] status", None, "at most 128"),
        ("[storage]\nfolder = ''", 2, "[storage] folder", None, "path"),
        ("[storage]\nfolder = 5", 2, "[storage] folder", None, "path in quotes"),
        ('[storage]\nfolder = "a\\u0000b"', 2, "[storage] folder", None, "path"),
        (
            "[moderation]\nblocked_words = [' ']",
            2,
            "[moderation] blocked_words",
            None,
            "empty",
        ),
        ("[models]", 1, "[models]", None, "at least one model"),
        ("[models]\nemoji = 'emoji'", 2, "[models.emoji]", None, "section of its own"),
        ("[models.emoji]", 1, "[models.emoji] path", None, "is missing"),
        ("[models.emoji]\npath = ''", 2, "[models.emoji] path", None, "a folder"),
        ("[models.emoji]\npath = 'x.ckpt'", 2, "[models.emoji] path", None, "pickle"),
        ("[models.'A b']\npath = 'x'", 1, "[models.A b]", None, "is no name"),
        ("[presets.a]\nprompt = 'x'", 2, "[presets.a] prompt", None, "{prompt}"),
        ("[presets.a]\nprompt = '{prompt} --tile'", 2, "[presets.a] prompt", None, "flag"),
        ("[presets.a]\nnegative = 'x'", 1, "[presets.a] prompt", None, "is missing"),
        ("[presets.a]\nprmpt = 'x'\nprompt = '{prompt}'", 2, "[presets.a] prmpt", "prompt", "set"),
        (
            "[presets.a]\nprompt = '{prompt}'\nflags = '--seed 7'",
            3,
            "[presets.a] flags",
            None,
            "--seed",
        ),
        (
            "[presets.a]\nprompt = '{prompt}'\nflags = '--stop 7'",
            3,
            "[presets.a] flags",
            None,
            "10 to 100",
        ),
        ("[defaults]\nhouse_style = 'a::2 b'", 2, "[defaults] house_style", None, "words alone"),
        ("[defaults]\nmodel = 'emojy'", 2, "[defaults] model", "emoji", "no [models.…] section"),
        ("[defaults]\nsampler = 'heun2'", 2, "[defaults] sampler", None, "one of ddpm"),
        ("[defaults]\nguidance_scale = 0.5", 2, "[defaults] guidance_scale", None, "from 1 to 100"),
        ("[defaults]\nsteps = 500", 2, "[defaults] steps", None, "above [limits] max_steps"),
        ("[queue]\nmax_waiting = 1\nmax_waiting = 2", 3, "[queue] max_waiting", None, "on line 2"),
        ("[queue]\n[limits]\n[queue]\n", 3, "[queue]", None, "already set on line 1"),
        ("[queue]\nmax_waiting = [1,", 2, None, None, "not TOML"),
        ("[queue\n", 1, None, None, "not TOML"),
        ("[queue]\nmax_waiting 5\n", 2, None, None, "not TOML"),
        ("x = " + "[" * 5000, None, None, None, "too deeply"),
        ("[limits]\nmax_pixels = " + "9" * 5000, None, None, None, "thousands of digits"),
        ("[limits]\nmax_pixels = " + "9" * 4000, 2, "[limits] max_pixels", None, "at most"),
        ("[limits]\nmax_aspect = " + "9" * 4000, 2, "[limits] max_aspect", None, "that size"),
    ],
)
def test_a_fault_names_line_key_and_what_was_meant(
    text: str, line: int | None, key: str | None, nearest: str | None, said: str
) -> None:
    error = refused(text)
    assert (error.line, error.key, error.nearest) == (line, key, nearest)
    assert said in error.message
    if nearest:
        assert f"Did you mean {nearest}?" in str(error)
    if line:
        assert f"line {line}:" in str(error)


def test_the_first_of_several_faults_is_told_with_their_number() -> None:
    error = refused("[queue]\nfoo = 1\nmax_waiting = 0\n[limits]\nmax_steps = 'x'")
    assert error.key == "[queue] foo"
    assert "2 more faults" in error.message


def test_windows_line_ends_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + shipped_text().replace("\n", "\r\n").encode())
    assert load_config(path).queue.max_waiting == 100
    path.write_bytes(b"[queue]\r\n\r\nmax_waiting = 0\r\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.line == 3


@pytest.mark.parametrize("kind", ["missing", "folder", "bytes", "huge", "pipe", "loop"])
def test_a_file_that_cannot_be_read_gets_a_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "config.toml"
    match kind:
        case "folder":
            path.mkdir()
        case "bytes":
            path.write_bytes(b"[queue]\n# \xff\xfe\n")
        case "huge":
            path.write_bytes(b"#" * (1 << 20) + b"\n")
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert caught.value.line == (2 if kind == "bytes" else None)


def test_a_file_without_permission_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("", encoding="utf-8")

    def refuse(_self: Path, _mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    # A test that runs as root may read everything, so the refusal is played.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load_config(path)


@pytest.mark.parametrize(
    "text",
    [
        f'[discord]\ntoken = "{CANARY}"',
        f'[discord]\nstatus = "{CANARY}"',
        f"\n# {CANARY}",
        f'[models.emoji]\npath = "a{CANARY}"',
        f'[discord\n"{CANARY}"',
        '[discord]\nstatus = "' + CANARY.replace(".", "\\u002E") + '"',
        f'["{CANARY}"]\nx = 1',
    ],
)
def test_a_token_in_the_file_is_refused_and_never_repeated(text: str) -> None:
    error = refused(text)
    assert "DISCORD_TOKEN" in error.message
    assert error.line == (1 if text.startswith('["') else 2)
    for part in CANARY.split("."):
        assert part not in str(error)
        assert part not in repr(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_paths_are_read_from_the_folder_of_the_file() -> None:
    text = (
        "[discord]\ntoken_file = 'secret'\n[models.a]\npath = 'models/a'\n[defaults]\nmodel = 'a'"
    )
    config = parse_config(text, HERE)
    assert config.discord.token_file == Path("/etc/easel/secret")
    assert config.storage.folder == Path("/etc/easel/data")
    assert config.models["a"].path == "/etc/easel/models/a"
    absolute = parse_config("[storage]\nfolder = '/srv/x'", HERE)
    assert absolute.storage.folder == Path("/srv/x")
    assert absolute.models["emoji"].path == "emoji"
    assert absolute.discord.token_file is None
    home = parse_config("[storage]\nfolder = '~/x'", HERE)
    assert home.storage.folder == Path.home() / "x"


def test_lists_are_read_in_their_order() -> None:
    text = "[moderation]\nblocked_words = ['b', 'a c']\n[discord]\nguilds = [2, 1]"
    config = parse_config(text, HERE)
    assert config.moderation.blocked_words == ("b", "a c")
    assert config.discord.guilds == (2, 1)


def test_a_config_cannot_be_changed() -> None:
    config = parse_config("", HERE)
    with pytest.raises(ValueError, match="frozen"):
        config.queue.max_waiting = 5


def test_reload_applies_what_may_change(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(shipped_text(), encoding="utf-8")
    current = load_config(path)
    path.write_text(shipped_text().replace("max_steps = 150", "max_steps = 60"), encoding="utf-8")
    fresh = reload(path, current)
    assert fresh.limits.max_steps == 60
    assert current.limits.max_steps == 150


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('device = "auto"', 'device = "cpu"', "[engine] device"),
        ('folder = "data"', 'folder = "elsewhere"', "[storage] folder"),
        ('path = "emoji"', 'path = "mine"', "[models.emoji] path"),
        ("[defaults]", "[models.other]\npath = 'x'\n[defaults]", "[models.other]"),
        ("port = 0", "port = 8080", "[monitoring] port"),
        ("guilds = []", "guilds = [5]", "[discord] guilds"),
    ],
)
def test_reload_refuses_what_needs_a_restart(tmp_path: Path, old: str, new: str, key: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(shipped_text(), encoding="utf-8")
    current = load_config(path)
    text = shipped_text().replace(old, new)
    assert text != shipped_text()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="restart it") as caught:
        reload(path, current)
    assert caught.value.key == key
    assert caught.value.line is not None
    assert new.splitlines()[0] in text.splitlines()[caught.value.line - 1]


def test_names_of_models_change_while_the_bot_runs(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(shipped_text(), encoding="utf-8")
    current = load_config(path)
    path.write_text(shipped_text().replace("names = []", 'names = ["niji"]'), encoding="utf-8")
    assert reload(path, current).models["emoji"].names == ("niji",)


def test_reload_refuses_a_broken_file_and_leaves_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("", encoding="utf-8")
    current = load_config(path)
    before = current.model_dump()
    path.write_text("[queue]\nmax_waiting = ", encoding="utf-8")
    with pytest.raises(ConfigError):
        reload(path, current)
    assert current.model_dump() == before


def mutate(text: str, source: random.Random) -> str:
    """Change a text as bad luck would: cut it, repeat lines, swap values, sprinkle signs."""
    lines = text.split("\n")
    match source.randrange(7):
        case 0:
            return text[: source.randrange(len(text))]
        case 1:
            lines.insert(source.randrange(len(lines)), source.choice(lines))
        case 2:
            at = source.randrange(len(lines))
            values = (
                '"x"',
                "-1",
                "1e400",
                "[]",
                "{}",
                "true",
                "nan",
                "",
                "9" * 5000,
                "'\\'",
                '"\\',
            )
            lines[at] = lines[at].split("=")[0] + "= " + source.choice(values)
        case 3:
            at = source.randrange(len(text))
            return text[:at] + source.choice('"=[]{}.\\#\n\x00\ud7ff🦊') + text[at:]
        case 4:
            at = source.randrange(len(text))
            return text[:at] + text[at + source.randrange(20) :]
        case 5:
            del lines[source.randrange(len(lines))]
        case _:
            source.shuffle(lines)
    return "\n".join(lines)


def test_five_hundred_mutations_load_or_are_refused(tmp_path: Path) -> None:
    source = random.Random(5)  # noqa: S311 - a fixed heap of mutations
    path = tmp_path / "config.toml"
    path.write_text(shipped_text(), encoding="utf-8")
    current = load_config(path)
    before = current.model_dump()
    loaded = refusals = with_line = 0
    for number in range(500):
        text = shipped_text()
        for _ in range(source.randint(1, 3)):
            text = mutate(text, source) or "#"
        data = text.encode("utf-8", "surrogatepass")
        if number % 10 == 0:
            data = data[: source.randrange(len(data))] + b"\xf0\x9f"
        path.write_bytes(data)
        try:
            reload(path, current)
        except ConfigError as error:
            refusals += 1
            with_line += error.line is not None
            assert "\n" not in str(error)
            assert len(str(error)) < 1000
        else:
            loaded += 1
    assert current.model_dump() == before
    assert loaded > 20
    assert refusals > 200
    assert with_line > refusals * 0.9


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_loads_or_is_refused(text: str) -> None:
    try:
        parse_config(text, HERE)
    except ConfigError as error:
        assert error.line is None or 1 <= error.line <= text.count("\n") + 1
