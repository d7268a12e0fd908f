"""What was last in force is kept, and every difference to a new file is named."""

from pathlib import Path

import pytest

from bot.applied import NAME, differences, keep_applied, last_applied
from bot.config import Config, parse_config


def config(text: str, folder: Path = Path("/nowhere")) -> Config:
    return parse_config(text, folder / "config.toml")


def test_equal_settings_differ_in_nothing() -> None:
    assert differences(config(""), config("[queue]\nmax_running = 4\n")) == ()


@pytest.mark.parametrize(
    ("new", "line"),
    [
        ("[queue]\nmax_running = 8", "[queue] max_running: 4 → 8"),
        ('[engine]\ndevice = "cpu"', '[engine] device: "auto" → "cpu" (needs a restart)'),
        ("[delivery]\npreview = false", "[delivery] preview: true → false"),
        ('[moderation]\nblocked_words = ["x"]', "[moderation] blocked_words: [] → ['x']"),
        ("[limits.roles.5]\nmax_steps = 9", "[limits.roles.5]"),
        ('[storage]\nfolder = "other"', "(needs a restart)"),
    ],
)
def test_a_difference_is_named_with_key_and_both_values(new: str, line: str) -> None:
    (told,) = differences(config(new), config(""))
    assert line in told


def test_a_new_model_needs_a_restart() -> None:
    told = differences(config('[models.emoji]\npath = "emoji"\n[models.b]\npath = "b"'), config(""))
    assert any("[models.b]" in line and "restart" in line for line in told)


def test_what_was_applied_is_read_again(tmp_path: Path) -> None:
    text = "[queue]\nmax_running = 9\n"
    current = config(text, tmp_path)
    assert last_applied(current, tmp_path / "config.toml") is None
    (tmp_path / "data").mkdir()
    keep_applied(current, text)
    assert last_applied(current, tmp_path / "config.toml") == current


@pytest.mark.parametrize("text", ["[queue]\nmax_running = 0", "[queue"])
def test_what_cannot_be_read_counts_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / NAME).write_text(text, encoding="utf-8")
    found = last_applied(config("", tmp_path), tmp_path / "config.toml")
    assert found is None


def test_a_folder_that_is_gone_is_no_reason_to_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep_applied(config("", tmp_path), "")
    assert NAME in caplog.text
