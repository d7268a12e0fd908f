"""What a start needs, and what is said when it is not there."""

from pathlib import Path

import pytest

from bot.config import Config, ModelConfig, parse_config
from bot.exits import Exit
from bot.loading import describe_models, load_engine, read_config, read_token
from tests.tiny import tiny_folder, write_tiny

# In the shape of a token, and nobody's.
TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.abcdefghijklmnopqrstuvwxyz0123456789AB"  # noqa: S105


def with_model(path: Path) -> Config:
    return Config(models={"emoji": ModelConfig(path=str(path))})


def test_the_token_of_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("something else", encoding="utf-8")
    file.chmod(0o600)
    config = parse_config(f'[discord]\ntoken_file = "{file}"', tmp_path / "config.toml")
    assert read_token(config, {"DISCORD_TOKEN": f" {TOKEN}\n"}) == TOKEN


def test_the_token_of_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    file.chmod(0o600)
    config = parse_config('[discord]\ntoken_file = "token"', tmp_path / "config.toml")
    assert read_token(config, {}) == TOKEN
    file.chmod(0o644)
    with pytest.raises(Exit, match="chmod 600"):
        read_token(config, {})


@pytest.mark.parametrize("environment", [{}, {"DISCORD_TOKEN": ""}, {"DISCORD_TOKEN": "nonsense"}])
def test_no_usable_token_is_a_configuration_fault(environment: dict[str, str]) -> None:
    with pytest.raises(Exit, match=r"[Tt]oken") as caught:
        read_token(Config(), environment)
    assert caught.value.code == 78


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Exit, match=r"nowhere\.toml") as caught:
        read_config(tmp_path / "nowhere.toml")
    assert caught.value.code == 78


def test_models_are_described_without_their_weights() -> None:
    found = describe_models(with_model(tiny_folder()))
    assert found["emoji"].native_width == 32
    assert describe_models(Config())["emoji"].family == "emoji"


def test_an_unknown_model_is_named_with_its_section(tmp_path: Path) -> None:
    with pytest.raises(Exit, match=r"\[models\.emoji\] path: .*nowhere") as caught:
        describe_models(with_model(tmp_path / "nowhere"))
    assert caught.value.code == 78


def test_an_engine_is_loaded() -> None:
    assert load_engine(with_model(tiny_folder())).models == ("emoji",)


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "rubbish"])
def test_damaged_weights_are_refused_with_their_path(tmp_path: Path, damage: str) -> None:
    folder = write_tiny(tmp_path / "model")
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    match damage:
        case "missing":
            weights.unlink()
        case "truncated":
            weights.write_bytes(data[: len(data) // 2])
        case "flipped":
            at = len(data) * 3 // 4
            weights.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        case _:
            weights.write_bytes(b"\x80\x04rubbish" * 100)
    with pytest.raises(Exit) as caught:
        load_engine(with_model(folder))
    assert caught.value.code == 78
    assert str(folder) in str(caught.value)
