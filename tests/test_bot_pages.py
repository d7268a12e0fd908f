"""The pages for people and admins: their tables are the code's, their examples work, links lead."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from bot.config import Config
from bot.config_models import NAMED_SECTIONS, LimitsConfig, ModerationConfig, RoleLimits
from bot.prompt import FLAGS, LATER, expand, parse
from tests.pages import COMMAND, PAGES, ROOT, TABLES, all_commands, blocks, rewritten

USERS, ADMINS = PAGES
README = ROOT / "README.md"
MOST_BYTES = 1_200_000
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tables_are_what_the_code_has(page: Path) -> None:
    text = text_of(page)
    assert rewritten(text) == text, f"{page.name} is behind the code: {COMMAND}"


def test_every_table_stands_somewhere_once() -> None:
    found = [name for page in PAGES for name in blocks(text_of(page))]
    assert sorted(found) == sorted(TABLES)
    users = text_of(USERS)
    for flag in FLAGS:
        assert all(f"`--{name}`" in users for name in flag.names)
    for later in LATER:
        assert all(f"`--{name}`" in users for name in later.names)
    both = users + text_of(ADMINS)
    for command in all_commands():
        assert f"| `/{command.qualified_name}" in both


def test_a_changed_table_is_noticed() -> None:
    changed = text_of(USERS).replace("| `--tile` |", "| `--tiles` |")
    assert changed != text_of(USERS)
    assert rewritten(changed) == text_of(USERS)


def sections() -> Iterator[tuple[str, str]]:
    """Yield every section of ADMINS.md's settings: its name and its text."""
    parts = re.split(r"^#{2,3} (.*)$", text_of(ADMINS), flags=re.M)
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        found = re.fullmatch(r"\[(\w+)(?:\.…)?\]", title)
        if found is not None:
            yield found[1], body


@pytest.mark.parametrize("name", Config.model_fields)
def test_every_key_of_the_settings_is_explained(name: str) -> None:
    body = dict(sections())[name]
    section = NAMED_SECTIONS.get(name) or Config.model_fields[name].annotation
    assert section is not None
    for key in section.model_fields:
        assert re.search(rf"`{key}(?: = [^`]*)?`", body), f"[{name}] {key} is not explained"


def test_no_section_is_explained_that_does_not_exist() -> None:
    assert {name for name, _ in sections()} == set(Config.model_fields)
    whole = text_of(ADMINS)
    modes = ModerationConfig.model_fields["unsafe"].annotation
    for mode in get_args(modes):
        assert f'`"{mode}"`' in whole


def fenced(page: Path, language: str) -> list[str]:
    return [found[2] for found in _FENCE.finditer(text_of(page)) if found[1] == language]


def test_every_prompt_on_the_page_can_be_typed() -> None:
    lines = [line for block in fenced(USERS, "") for line in block.splitlines() if line]
    shortcuts = {"wide"}
    known = {f"/{one.qualified_name}" for one in all_commands()}
    assert len(lines) >= 8
    for line in lines:
        assert any(line.startswith(f"{name} ") for name in known), line
        if line.startswith("/imagine "):
            prompt = line.removeprefix("/imagine ")
            for name in shortcuts:
                prompt = prompt.replace(f" --{name}", "")
            for one in expand(prompt):
                assert parse(one).prompt


def test_every_piece_of_settings_on_the_page_is_valid() -> None:
    pieces = fenced(ADMINS, "toml")
    assert len(pieces) >= 4
    for piece in pieces:
        Config.model_validate(tomllib.loads(piece), context={"folder": ROOT})
    roles = next(piece for piece in pieces if "limits.roles" in piece)
    (limits,) = Config.model_validate(tomllib.loads(roles)).limits.roles.values()
    assert isinstance(limits, RoleLimits)
    assert set(RoleLimits.model_fields) <= set(LimitsConfig.model_fields) | {
        *("models", "max_waiting_user", "max_running_user")
    }


def anchors(page: Path) -> set[str]:
    """Return what a link may lead to within a page, as GitHub makes it of the headings."""
    titles = re.findall(r"^#{1,4} (.*)$", text_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = _LINK.findall(text_of(page))
    assert links
    for path, anchor in links:
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_short_page_leads_to_the_long_ones() -> None:
    for page in PAGES:
        assert f"({page.relative_to(ROOT).as_posix()})" in text_of(README)


def test_the_pictures_are_small_and_described() -> None:
    shown = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text_of(USERS))
    assert len(shown) >= 9
    files = [USERS.parent / path for _, path in shown]
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES
    assert all(len(words) > 20 for words, _ in shown)
    for file in files:
        with Image.open(file) as picture:
            picture.load()
    with Image.open(ROOT / ".github/users-morph.webp") as film:
        assert getattr(film, "n_frames", 1) > 8
