"""Model files that mean harm or changed: no pickle is ever opened, and a file that is not the one
that was trusted is not loaded.
"""

import asyncio
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from bot import trusted
from bot.config import Config, parse_config
from bot.exits import Exit
from bot.loading import load_engine
from bot.manifest import HaltedError
from bot.playground import InteractionState, MessageRecord, Playground, aim
from bot.trusted import MANIFEST, ChangedFileError, check, check_all, files_of
from diffusion import DiffusionError, load_model
from diffusion.adapters.lora import load_lora
from diffusion.addon_files import enumerate_files
from diffusion.checkpoints import open_checkpoint
from diffusion.text.inversions import load_inversion
from tests.bot_room import QUICK
from tests.chaos.bots import ended, start
from tests.hostile import emptied, pickles
from tests.test_bot_cli import easel, is_sentence
from tests.test_bot_with_the_shipped_model import running
from tests.test_diffusion_checkpoints_load import vae_file


def refused_everywhere(path: Path) -> None:
    """See that a file is refused as whatever an admin may take it for."""
    readers = (
        open_checkpoint,
        load_model,
        load_lora,
        lambda one: load_inversion(one, (768,)),
    )
    for read in readers:
        with pytest.raises((DiffusionError, OSError), match=r"."):
            read(path)


def open_pickles(folder: Path, count: int) -> int:
    """Lay pickles where models, LoRAs and embeddings lie, and have each opened; return how many."""
    canary, place = folder / "canary", folder / "models"
    opened = 0
    for name, data in pickles(count, canary):
        path = emptied(place) / name
        path.write_bytes(data)
        refused_everywhere(path)
        # A hub's folder, whose weights are the pickle.
        (place / "config.json").write_text('{"_class_name": "AutoencoderKL"}', encoding="utf-8")
        path.rename(place / f"diffusion_pytorch_model{path.suffix or '.bin'}")
        with pytest.raises(DiffusionError):
            open_checkpoint(place)
        for each in enumerate_files(place).values():
            with pytest.raises(DiffusionError):
                load_lora(each)
        assert not canary.exists(), f"{name} was run"
        opened += 1
    return opened


def test_no_pickle_is_opened(tmp_path: Path) -> None:
    data = dict(pickles(1, tmp_path / "canary")).popitem()[1]
    # So that the canary is known to sing.
    pickle.loads(data)["state_dict"].close()  # noqa: S301
    assert (tmp_path / "canary").exists()
    (tmp_path / "canary").unlink()
    assert open_pickles(tmp_path, 42) == 42
    inspected = easel("models", "inspect", str(next((tmp_path / "models").iterdir())))
    assert inspected.code == 78
    assert not (tmp_path / "canary").exists()


@pytest.mark.slow
def test_no_pickle_of_five_hundred_is_opened(tmp_path: Path) -> None:
    assert open_pickles(tmp_path, 504) == 504


def settings(folder: Path) -> Config:
    """Return settings that name a foreign file, and write that file where there is none."""
    path = folder / "own.safetensors"
    if not path.exists():
        vae_file(path)
    text = f'[models.emoji]\npath = "emoji"\nvae = "{path}"\n{QUICK}'
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return parse_config(text, folder / "config.toml")


def flip(path: Path) -> None:
    """Change one bit of the weights, and put the time of the last change back."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_model_file_is_trusted_on_first_use_and_refused_once_it_changed(tmp_path: Path) -> None:
    config, path = settings(tmp_path), tmp_path / "own.safetensors"
    manifest = tmp_path / "data" / MANIFEST
    check(config)
    assert not manifest.exists(), "nothing is read before a start unless it changed"
    check(config, thorough=True)
    assert path.name in manifest.read_text(encoding="utf-8")
    check(config)
    path.touch()
    check(config)
    before = manifest.read_bytes()
    flip(path)
    open_checkpoint(path)
    for thorough in (False, True):
        with pytest.raises(ChangedFileError, match=r"own\.safetensors is not the file that was"):
            check(config, thorough=thorough)
    with pytest.raises(Exit, match=r"\[models\.emoji\].*easel models trust emoji"):
        load_engine(config)
    with pytest.raises(Exit, match="not the file"):
        asyncio.run(check_all(config))
    assert manifest.read_bytes() == before


def test_a_changed_file_is_found_by_its_hash_where_size_and_times_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path)
    check(config, thorough=True)
    flip(tmp_path / "own.safetensors")
    monkeypatch.setattr(trusted, "is_as", lambda *_: True)
    check(config)
    with pytest.raises(ChangedFileError):
        check(config, thorough=True)


def test_the_admin_trusts_a_new_file(tmp_path: Path) -> None:
    config = settings(tmp_path)
    check(config, thorough=True)
    flip(tmp_path / "own.safetensors")
    where = ("--config", str(tmp_path / "config.toml"))
    told = easel("models", "trust", "emoji", *where)
    assert told.code == 0, told.err
    assert "own.safetensors" in told.out
    assert ", was " in told.out
    check(config, thorough=True)
    unknown = easel("models", "trust", "emojy", *where)
    assert unknown.code == 78
    assert is_sentence(unknown)


def test_the_shipped_model_is_held_to_its_own_config(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(QUICK, encoding="utf-8")
    config = parse_config(QUICK, tmp_path / "config.toml")
    assert not any(files_of(model) for model in config.models.values())
    told = easel("models", "trust", "emoji", "--config", str(tmp_path / "config.toml"))
    assert "nothing to trust" in told.out


def test_a_damaged_list_of_hashes_trusts_nothing(tmp_path: Path) -> None:
    config = settings(tmp_path)
    check(config, thorough=True)
    manifest = tmp_path / "data" / MANIFEST
    for damage in (
        b"",
        b"{",
        b"[]",
        b'{"files": {"a": 1}}',
        b'{"files": {"a": {"b": 1}}}',
        b"\xff",
    ):
        manifest.write_bytes(damage)
        with pytest.raises(ChangedFileError, match="cannot be read"):
            check(config)


def test_hashing_ends_when_nobody_waits(tmp_path: Path) -> None:
    config = settings(tmp_path)

    async def cancelled() -> None:
        task = asyncio.create_task(check_all(config))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancelled())
    with pytest.raises(HaltedError):
        check(config, thorough=True, halted=lambda: True)


async def test_a_running_bot_ends_when_it_finds_a_changed_file(tmp_path: Path) -> None:
    config = settings(tmp_path)
    text = (tmp_path / "config.toml").read_text(encoding="utf-8")
    check(config, thorough=True)
    flip(tmp_path / "own.safetensors")
    async with Playground() as pg:
        process = await start(pg, tmp_path, config=text)
        try:
            assert await asyncio.wait_for(process.wait(), 40) == 78
        finally:
            await ended(process)
    log = (tmp_path / "bot.log").read_text(encoding="utf-8")
    assert "is not the file that was trusted" in log
    assert "Traceback" not in log


def computed_nothing(message: MessageRecord) -> MessageRecord | None:
    return message if "computed no picture" in message.content else None


@pytest.mark.timeout(120)
@pytest.mark.parametrize("part", ["backbone", "vae"])
async def test_numbers_that_are_not_finite_are_never_posted(part: str, tmp_path: Path) -> None:
    config = parse_config(QUICK, tmp_path / "config.toml")
    async with Playground() as pg:
        restore = aim(pg.api_base, pg.gateway_url, pg.cdn_base)
        try:
            async with running(pg, config) as (app, store):
                engine: Any = app.services.engine
                network = getattr(engine._replicas["emoji"][0], part)
                with torch.no_grad():
                    for name, weight in network.named_parameters():
                        if part == "backbone" or name.startswith("decoder"):
                            weight.view(-1)[0] = float("nan")
                ask = {"prompt": "a red heart --steps 2 --seed 1"}
                ix = await pg.slash("alice", "imagine", ask)
                assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
                told: MessageRecord = await pg.wait(
                    lambda ledger: computed_nothing(ledger.messages[ix.message_id or 0]),
                    timeout=60,
                )
                assert not told.attachments
                assert (await store.history())[0].error_code == "numbers"
        finally:
            restore()
        results = [f for m in pg.ledger.messages.values() for f in m.attachments]
        assert not [f for f in results if str(f["filename"]).startswith("easel-")]
