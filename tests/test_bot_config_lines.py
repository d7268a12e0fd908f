"""The line finder, held against what tomllib reads."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config_lines import find_lines

SAMPLE = '''# comment [not.a.table]
title = "a # not a comment = 3"

[models.emoji] # comment
path = "emoji"
multi = """
[queue]
max = 3
"""
literal = \'\'\'
x = 1\'\'\'
"quo.ted key" = 1
'literal key' = 2
a.b . "c" = 3

[[list.of.tables]]
one = 1
[[list.of.tables]]
one = 2
[list.of.tables.inner]
deep = [
  1, # first
  [2,
   3],
  "]",
]
inline = { x = 1, y = { z = [1, 2] } }
[ spaced . out ]
last = 1979-05-27T07:32:00Z
'''


def all_paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:  # noqa: ANN401
    """List every path of parsed TOML."""
    paths = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            paths += all_paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            paths += all_paths(inner, (*path, index))
    return paths


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("models",), 4),
        (("models", "emoji"), 4),
        (("models", "emoji", "path"), 5),
        (("models", "emoji", "literal"), 10),
        (("models", "emoji", "quo.ted key"), 12),
        (("models", "emoji", "literal key"), 13),
        (("models", "emoji", "a", "b", "c"), 14),
        (("list", "of", "tables"), 16),
        (("list", "of", "tables", 1), 18),
        (("list", "of", "tables", 1, "one"), 19),
        (("list", "of", "tables", 1, "inner", "deep", 1), 23),
        (("list", "of", "tables", 1, "inner", "deep", 1, 1), 24),
        (("list", "of", "tables", 1, "inner", "deep", 2), 25),
        (("list", "of", "tables", 1, "inner", "inline", "y", "z", 1), 27),
        (("spaced", "out", "last"), 29),
        (("spaced", "out", "missing"), 28),
        (("nowhere",), None),
    ],
)
def test_lines_of_the_sample(path: tuple[str | int, ...], line: int | None) -> None:
    assert find_lines(SAMPLE).of(path) == line


def test_every_path_that_tomllib_reads_has_a_line() -> None:
    lines = find_lines(SAMPLE)
    assert not lines.again
    for path in all_paths(tomllib.loads(SAMPLE)):
        assert path in lines.first or path in lines.implied, path
    assert find_lines(SAMPLE.replace("\n", "\r\n")).first == lines.first


def test_repeated_keys_and_tables_are_noted() -> None:
    assert find_lines("a = 1\n\na = 2").again == [(("a",), 3)]
    assert find_lines("[a]\n[b]\n['a']").again == [(("a",), 3)]
    assert find_lines("[a.b]\n[a]\nx = 1").again == []


def test_the_scanner_stops_quietly_where_the_text_is_no_toml() -> None:
    for text in (
        "a = [1,",
        "a =",
        "[a",
        '"a',
        "a = {b",
        "a b",
        "a = 1 b = 2",
        "[[a]",
        "=",
        "a = '",
    ):
        find_lines("ok = 1\n" + text)
        assert find_lines("ok = 1\n" + text).of(("ok",)) == 1
    assert find_lines("a = " + "[" * 100_000).of(("a",)) == 1


KEYS = st.text(st.characters(codec="utf-8", exclude_characters='"\\', min_codepoint=32), min_size=1)
KEYS = KEYS.filter(lambda key: "\x7f" not in key)
VALUES = st.sampled_from(
    [
        "1",
        "-2.5",
        "true",
        '"x # y"',
        "'a]b'",
        "[1, 2]",
        "[\n1,\n[2],\n]",
        "{a = 1}",
        '"""\n"q" \\\n x"""',
    ]
)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
@settings(max_examples=100, deadline=None)
def test_made_up_files_are_walked_as_tomllib_reads_them(tables: dict[str, dict[str, str]]) -> None:
    text = ""
    expected: dict[tuple[str | int, ...], int] = {}
    for table, keys in tables.items():
        expected[(table,)] = text.count("\n") + 1
        text += f'["{table}"] # c\n'
        for key, value in keys.items():
            expected[(table, key)] = text.count("\n") + 1
            text += f'"{key}" = {value}\n\n'
    tomllib.loads(text)
    lines = find_lines(text)
    assert not lines.again
    assert {path: lines.of(path) for path in expected} == expected


@given(st.text(alphabet="[]{}=.,#\"'\\ \nab1", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_walked_without_an_error(text: str) -> None:
    lines = find_lines(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.first.values())
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    for path in all_paths(data):
        assert lines.of(path) is not None
