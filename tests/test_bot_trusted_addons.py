"""Files of weights beside the models: trusted when they are first used, refused once they changed,
and the bot goes on.
"""

import asyncio
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bot import manifest, trusted_addons
from bot.addon_names import check_addons
from bot.app import App
from bot.check import Finding
from bot.check import check as look_at_all
from bot.config import parse_config
from bot.enlarging import enlarged
from bot.loading import load_engine, look_again
from bot.manifest import MANIFEST, ChangedFileError, keep, look
from bot.playground import InteractionState, MessageRecord, Playground, PlayInteraction, aim
from bot.prompt import PromptError
from bot.trusted import check, check_all, files_of, held, trust
from bot.trusted_addons import ChangedAddonError, look_over
from diffusion import CheckpointError, Params
from diffusion.adapters import load_lora
from diffusion.describe import describe
from diffusion.model import Model
from tests.bot_room import finished
from tests.test_bot_cli import easel, is_sentence
from tests.test_bot_with_the_shipped_model import running
from tests.test_diffusion_upscale import Network, spandrel
from tests.trusted_room import (
    WORD,
    embedding,
    flip,
    forget_times,
    furnished,
    guard,
    is_listed,
    listing,
    loaded,
    lora,
    swap,
)

__all__ = ["spandrel"]
PICTURE = Image.new("RGB", (16, 16), "red")


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trusted_addons, "_told", set())


def read_lora(model: Model) -> object:
    return model.addons.lora("ink", model)


def read_embedding(model: Model) -> object:
    assert model.text is not None
    return list(model.text.encoders[0].windows(f"a cat {WORD}"))


def read_describer(model: Model) -> object:
    return describe(model, PICTURE)


READERS: dict[str, tuple[str, str, Callable[[Model], object]]] = {
    "lora": ("loras/ink.safetensors", "loras/ink", read_lora),
    "embedding": (f"embeddings/{WORD}.safetensors", f"embeddings/{WORD}", read_embedding),
    "describer": ("model/describer.safetensors", "emoji", read_describer),
}


def larger(path: Path) -> None:
    """Replace a file by one that is as whole, and larger."""
    if path.parent.name == "loras":
        lora(path, rank=2)
    elif path.parent.name == "embeddings":
        embedding(path, vectors=2)
    else:
        data = path.read_bytes()
        path.write_bytes(data.replace(b'{"__metadata__":{', b'{"__metadata__":{"more":"x",', 1))
        length = int.from_bytes(data[:8], "little") + len(b'"more":"x",')
        with path.open("r+b") as file:
            file.write(length.to_bytes(8, "little"))


@pytest.mark.parametrize("change", [flip, swap, larger], ids=lambda each: each.__name__)
@pytest.mark.parametrize("kind", READERS)
def test_it_is_trusted_when_it_is_first_used_and_refused_once_it_changed(
    kind: str, change: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name, label, read = READERS[kind]
    config, path = furnished(tmp_path), tmp_path / name
    assert not is_listed(config, path)
    read(loaded(config))
    assert is_listed(config, path)
    read(loaded(config))
    path.touch()
    read(loaded(config))
    old, before = look(path.resolve()).sha256, (tmp_path / "data" / MANIFEST).read_bytes()
    change(path)
    caplog.clear()
    model = loaded(config)
    for _ in range(2):
        with pytest.raises(ChangedAddonError, match=f"easel models trust {label}`") as caught:
            read(model)
    assert caught.value.kind == kind
    told = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert len(told) == 1, "the admin reads it once"
    assert old in told[0]
    assert look(path.resolve()).sha256 in told[0]
    assert (tmp_path / "data" / MANIFEST).read_bytes() == before
    list(trust(config, label))
    read(model)


@pytest.mark.parametrize("kind", READERS)
def test_it_is_read_in_full_in_every_process_whatever_size_and_times_say(
    kind: str, tmp_path: Path
) -> None:
    name, _, read = READERS[kind]
    config, path = furnished(tmp_path), tmp_path / name
    read(loaded(config))
    flip(path)
    forget_times(config, path)
    with pytest.raises(ChangedAddonError):
        read(loaded(config))


def test_it_is_read_once_in_a_process_and_again_after_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = furnished(tmp_path), tmp_path / "loras/ink.safetensors"
    hashed: list[object] = []

    def sha256() -> object:
        hashed.append(hashlib.sha256())
        return hashed[-1]

    # Of this module alone: a model in the shipped format is hashed whenever it is loaded.
    monkeypatch.setattr("bot.manifest.hashlib", SimpleNamespace(sha256=sha256))
    read_lora(loaded(config))
    young = len(hashed)
    assert young > 1, "what is younger than the clock tells is read again"
    monkeypatch.setattr(manifest, "SETTLED_NS", -(10**12))
    for _ in range(3):
        read_lora(loaded(config))
    assert len(hashed) == young + 1
    path.touch()
    read_lora(loaded(config))
    assert len(hashed) == young + 2


def test_what_is_exchanged_between_the_check_and_the_loading_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = furnished(tmp_path), tmp_path / "loras/ink.safetensors"
    model = loaded(config)

    def exchanged(one: Path) -> object:
        swap(path)
        return load_lora(one)

    monkeypatch.setattr("diffusion.addons.load_lora", exchanged)
    with pytest.raises(ChangedAddonError, match="changed while it was loaded"):
        read_lora(model)
    assert not is_listed(config, path), "it was never whole, so it is not trusted either"
    assert not model.addons.has(["ink"], [])
    monkeypatch.undo()
    read_lora(model)
    assert is_listed(config, path)


def test_what_is_written_into_a_file_after_it_was_loaded_reaches_nobody(tmp_path: Path) -> None:
    config = furnished(tmp_path)
    model: Any = loaded(config)
    vectors = model.text.encoders[0].inversions.read(WORD).vectors[0]
    found = load_lora(tmp_path / "loras/ink.safetensors")
    tensors = [part for layer in found.layers.values() for part in layer.parts.values()]
    was = [each.clone() for each in (vectors, *tensors)]
    for name in ("loras/ink", f"embeddings/{WORD}"):
        path = tmp_path / f"{name}.safetensors"
        with path.open("r+b") as file:
            file.seek(-32, os.SEEK_END)
            file.write(b"\0" * 32)
    assert all(map(torch.equal, (vectors, *tensors), was))


def test_a_link_that_leads_out_of_the_folder_since_it_was_listed_is_not_followed(
    tmp_path: Path,
) -> None:
    config, path = furnished(tmp_path), tmp_path / "loras/ink.safetensors"
    model = loaded(config)
    shutil.move(path, tmp_path / "elsewhere.safetensors")
    path.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ChangedAddonError, match="leads out of its folder"):
        read_lora(model)
    assert not listing(config)
    # A link that stays inside is one name more for the same file.
    path.unlink()
    (path.parent / "deep").mkdir()
    path.symlink_to(lora(path.parent / "deep" / "real.safetensors"))
    read_lora(loaded(config))
    assert list(listing(config)) == [str((path.parent / "deep/real.safetensors").resolve())]


def test_a_file_that_is_still_being_copied_is_not_trusted(tmp_path: Path) -> None:
    config, path = furnished(tmp_path), tmp_path / "loras/ink.safetensors"
    model, whole = loaded(config), path.read_bytes()
    path.write_bytes(whole[:-7])
    with pytest.raises(CheckpointError, match="cut off"):
        read_lora(model)
    assert not listing(config)
    path.write_bytes(whole)
    read_lora(model)
    assert is_listed(config, path)


def test_nothing_but_errors_of_the_engine_s_own_come_out_of_it(tmp_path: Path) -> None:
    config, path = furnished(tmp_path), tmp_path / "loras/ink.safetensors"
    model = loaded(config)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read_lora(model)
    # A pipe that nobody writes to would hold the device for good.
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="no regular file"):
        read_lora(model)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError):
        read_lora(model)


def test_a_list_that_cannot_be_read_trusts_nothing_and_is_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, path = furnished(tmp_path), tmp_path / "loras/ink.safetensors"
    model = loaded(config)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / MANIFEST).write_bytes(b'{"files": {')
    with pytest.raises(ChangedAddonError, match="cannot be read"):
        read_lora(model)
    with pytest.raises(PromptError, match="LoRA “ink” is not the file"):
        check_addons("a cat <lora:ink>", config, "emoji")
    assert caplog.text.count("cannot be read") == 1
    assert (tmp_path / "data" / MANIFEST).read_bytes() == b'{"files": {'
    (tmp_path / "data" / MANIFEST).unlink()
    read_lora(model)
    assert is_listed(config, path)


def test_a_list_that_cannot_be_written_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = furnished(tmp_path)
    # No user may write over a folder, not even the one that tests run as.
    (tmp_path / "data" / "models.new").mkdir(parents=True)
    read_lora(loaded(config))
    assert "the hashes of trusted files cannot be kept" in caplog.text
    assert not listing(config)


def test_the_admin_s_word_is_not_lost_to_who_read_the_list_before(tmp_path: Path) -> None:
    config, path = furnished(tmp_path), tmp_path / "loras/ink.safetensors"
    read_lora(loaded(config))
    known = manifest.read(config)
    stale = dict(known)
    flip(path)
    list(trust(config, "loras/ink"))
    word = listing(config)
    # Somebody who began before goes on to write what they saw, and something of their own.
    name = str(path.resolve())
    mine = look((tmp_path / f"embeddings/{WORD}.safetensors").resolve()).trusted("2000-01-01")
    touched = manifest.Trusted(
        sha256=known[name].sha256, size=1, modified=2, moved=3, since=known[name].since
    )
    keep(config, known, {**stale, name: touched, "mine": mine})
    assert listing(config)[name] == word[name]
    assert listing(config)["mine"]["since"] == "2000-01-01"


def test_the_list_of_an_older_version_is_read(tmp_path: Path) -> None:
    config, path = furnished(tmp_path), tmp_path / "loras/ink.safetensors"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / MANIFEST).write_text(
        '{"files": {"/gone/own.safetensors": {"sha256": "00", "size": 1, "modified": 2, '
        '"moved": 3, "since": "2020-02-02"}}}',
        encoding="utf-8",
    )
    read_lora(loaded(config))
    listed = listing(config)
    assert listed["/gone/own.safetensors"]["since"] == "2020-02-02"
    # An older version reads every entry, which has the fields that it knows and no others.
    assert {frozenset(each) for each in listed.values()} == {
        frozenset({"sha256", "size", "modified", "moved", "since"})
    }
    assert is_listed(config, path)


def test_a_model_s_file_that_is_exchanged_while_it_is_loaded_is_refused(tmp_path: Path) -> None:
    config = furnished(tmp_path)
    with held(config, "emoji"):
        pass
    with (
        pytest.raises(ChangedFileError, match="changed while it was loaded"),
        held(config, "emoji"),
    ):
        swap(tmp_path / "model" / "model.safetensors")


def test_a_model_whose_config_names_no_hash_is_listed(tmp_path: Path) -> None:
    config, path = furnished(tmp_path), tmp_path / "model" / "config.json"
    assert files_of(config.models["emoji"]) == ()
    text = path.read_text(encoding="utf-8")
    start = text.index('"sha256"')
    path.write_text(text[:start] + text[text.index(",", start) + 1 :], encoding="utf-8")
    (own,) = files_of(config.models["emoji"])
    check(config, thorough=True)
    flip(own)
    with pytest.raises(ChangedFileError, match="easel models trust emoji"):
        check(config)


def test_a_person_is_told_at_the_name(tmp_path: Path) -> None:
    config = furnished(tmp_path)
    text = f"a cat <lora:ink:0.8> in embedding:{WORD}, red --seed 3"
    check_addons(text, config, "emoji")
    model = loaded(config)
    check_addons(text, config, "emoji")
    read_lora(model), read_embedding(model)
    check_addons(text, config, "emoji")
    flip(tmp_path / "loras/ink.safetensors")
    with pytest.raises(PromptError, match=r"The LoRA “ink” .*the admin") as caught:
        check_addons(text, config, "emoji")
    error = caught.value
    assert error.text[error.start : error.end] == "ink"
    assert error.suggestion == f"a cat in embedding:{WORD}, red --seed 3"
    assert str(tmp_path) not in error.message
    list(trust(config, "loras/ink"))
    flip(tmp_path / f"embeddings/{WORD}.safetensors")
    with pytest.raises(PromptError, match=f"The embedding “{WORD}”") as caught:
        check_addons(text, config, "emoji")
    # The word alone would name it still.
    assert caught.value.suggestion == "a cat <lora:ink:0.8> in , red --seed 3"
    # Unknown names are as before.
    with pytest.raises(PromptError, match="no LoRA “inc”"):
        check_addons("a cat <lora:inc>", config, "emoji")


def test_a_large_file_is_left_to_its_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = furnished(tmp_path)
    read_lora(loaded(config))
    flip(tmp_path / "loras/ink.safetensors")
    monkeypatch.setattr(trusted_addons, "QUICK_BYTES", 10)
    check_addons("a cat <lora:ink>", config, "emoji")
    monkeypatch.setattr(manifest, "SETTLED_NS", -(10**12))
    with pytest.raises(ChangedAddonError):
        read_lora(loaded(config))
    # It was read by now.
    with pytest.raises(PromptError):
        check_addons("a cat <lora:ink>", config, "emoji")


async def test_a_start_tells_of_them_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = furnished(tmp_path)
    await check_all(config)
    assert not listing(config), "what nobody used is not trusted"
    model = loaded(config)
    read_lora(model), read_embedding(model), read_describer(model)
    caplog.clear()
    await check_all(config)
    assert not caplog.records
    for name, _, _ in READERS.values():
        flip(tmp_path / name)
    load_engine(config)
    await check_all(config)
    told = [each.getMessage() for each in caplog.records if "is not the file" in each.getMessage()]
    assert len(told) == 3
    assert len({label for _, label, _ in READERS.values() for line in told if label in line}) == 3


async def test_easel_check_names_what_is_not_as_it_was(tmp_path: Path) -> None:
    config = furnished(tmp_path)

    async def beside() -> Finding:
        found = {each.subject: each for each in await look_at_all(tmp_path / "config.toml", {})}
        return found["beside"]

    assert "0 are as they were trusted, and 3" in (await beside()).text
    model = loaded(config)
    read_lora(model), read_embedding(model)
    before = listing(config)
    assert "2 are as they were trusted, and 1" in (await beside()).text
    flip(tmp_path / "loras/ink.safetensors")
    # Size and times say nothing; it is read all the same.
    forget_times(config, tmp_path / "loras/ink.safetensors")
    found = await beside()
    assert not found.good
    assert "easel models trust loras/ink" in found.text
    assert str(before[str((tmp_path / "loras/ink.safetensors").resolve())]["sha256"]) in found.text
    assert WORD not in found.text
    (tmp_path / "data" / MANIFEST).write_bytes(b"[]")
    assert "cannot be read" in (await beside()).text


def test_the_command_takes_their_names(tmp_path: Path) -> None:
    config = furnished(tmp_path)
    read_lora(loaded(config))
    flip(tmp_path / "loras/ink.safetensors")
    where = ("--config", str(tmp_path / "config.toml"))
    assert look_over(config).changed
    told = easel("models", "trust", "loras/ink", *where)
    assert told.code == 0, told.err
    assert ", was " in told.out
    assert not look_over(config).changed
    # What nobody used yet may be trusted before.
    assert easel("models", "trust", f"emoji/embeddings/{WORD}", *where).code == 0
    assert is_listed(config, tmp_path / f"embeddings/{WORD}.safetensors")
    assert easel("models", "trust", "emoji", *where).out.count("describer") == 1
    for name in ("loras/inc", "ink", "loras/../loras/ink", "loras/", "emoji/loras", ""):
        ended = easel("models", "trust", name, *where)
        assert ended.code == 78, name
        assert is_sentence(ended), name


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    first, second = furnished(tmp_path / "one"), tmp_path / "two"
    second.mkdir()
    other = lora(second / "ink.safetensors", scale=0.5)
    text = (tmp_path / "one/config.toml").read_text(encoding="utf-8")
    text += f'[models.photo]\npath = "{tmp_path}/one/model"\nloras = "{second}"\n'
    path = tmp_path / "one/config.toml"
    path.write_text(text, encoding="utf-8")
    config = parse_config(text, path)
    assert config.storage == first.storage
    told = easel("models", "trust", "loras/ink", "--config", str(path))
    assert told.code == 78
    assert "emoji/loras/ink, photo/loras/ink" in told.err
    told = easel("models", "trust", "photo/loras/ink", "--config", str(path))
    assert list(listing(config)) == [str(other.resolve())]


@pytest.mark.usefixtures("spandrel")
def test_the_upscaler_is_trusted_too(tmp_path: Path) -> None:
    furnished(tmp_path)
    text = (tmp_path / "config.toml").read_text(encoding="utf-8")
    path = tmp_path / "sharp.safetensors"
    save_file(dict(Network().state_dict()), path)
    text += f'[upscale]\npath = "{path}"\n'
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    config = parse_config(text, tmp_path / "config.toml")

    def enlarge() -> Image.Image:
        return enlarged(PICTURE, 2, upscaler=path, device="cpu", vouch=guard(config))

    first = enlarge().tobytes()
    assert is_listed(config, path)
    assert enlarge().tobytes() == first
    tensors = {name: each * 2 for name, each in Network().state_dict().items()}
    save_file(tensors, path)
    with pytest.raises(ChangedAddonError, match="easel models trust upscale/sharp") as caught:
        enlarge()
    assert caught.value.kind == "upscaler"
    assert look_over(config).changed
    assert easel("models", "trust", "upscale/sharp", "--config", str(tmp_path / "config.toml"))
    # The file that was read before is not kept for it.
    assert enlarge().tobytes() != first


def test_a_controlnet_s_folder_is_trusted_file_by_file(tmp_path: Path) -> None:
    from tests.parity.pipelines import addons, system

    shutil.copytree(addons() / "controls", tmp_path / "controls")
    text = f'[models.emoji]\npath = "{system("sd1").folder}"\ncontrols = "{tmp_path}/controls"\n'
    config = parse_config(text, tmp_path / "config.toml")
    model = loaded(config)
    for name in ("edges", "depth"):
        model.addons.control(name, model)
    (weights,) = (tmp_path / "controls" / "edges").glob("*.safetensors")
    assert len(listing(config)) == 2
    flip(weights)
    again = loaded(config)
    again.addons.control("depth", again)
    with pytest.raises(ChangedAddonError, match=r"controls/edges: .*trust controls/edges`"):
        again.addons.control("edges", again)
    list(trust(config, "controls/edges"))
    again.addons.control("edges", again)


def test_folders_are_looked_at_again_embeddings_too(tmp_path: Path) -> None:
    config = furnished(tmp_path)
    engine = load_engine(config)
    (model,) = engine._replicas["emoji"]
    assert model.text is not None
    inversions = model.text.encoders[0].inversions
    assert inversions.unread(f"a {WORD} and a fresh") == (WORD,)
    first = inversions.read(WORD).vectors[0]
    assert inversions.unread(f"a {WORD} and a fresh") == ()
    path = embedding(tmp_path / f"embeddings/{WORD}.safetensors", value=0.25)
    new = embedding(tmp_path / "embeddings/fresh.safetensors")
    list(trust(config, f"embeddings/{WORD}"))
    look_again(engine, config, {path, new})
    assert inversions.unread(f"a {WORD.upper()} and a fresh") == (WORD.upper(), "fresh")
    assert not torch.equal(inversions.read(WORD).vectors[0], first)
    new.unlink()
    look_again(engine, config, {new})
    assert [vectors for _, vectors in inversions.split("a fresh cat", 0)] == [None]


async def test_a_refused_file_fails_its_job_before_the_device_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = furnished(tmp_path)
    read_lora(loaded(config)), read_embedding(loaded(config))
    threads: list[str] = []

    def noted(path: Path) -> manifest.Seen:
        threads.append(threading.current_thread().name)
        return look(path)

    monkeypatch.setattr(trusted_addons, "look", noted)
    engine = load_engine(config)
    async with engine:
        for name, prompt in (("loras/ink", "a <lora:ink>"), (f"embeddings/{WORD}", f"a {WORD}")):
            flip(tmp_path / f"{name}.safetensors")
            job = Params(prompt=prompt, steps=1, width=32, height=32, images=1, model="emoji")
            with pytest.raises(ChangedAddonError, match=name):
                [step async for step in engine.submit(job)]
        plain = Params(prompt="a cat", steps=1, width=32, height=32, images=1, model="emoji")
        assert [step async for step in engine.submit(plain)][-1].pictures
    assert len(threads) == 2
    assert not [name for name in threads if "easel" in name]


class Talker:
    """Somebody who types prompts to a running bot."""

    def __init__(self, pg: Playground) -> None:
        self.pg = pg

    async def imagine(self, prompt: str) -> PlayInteraction:
        ix = await self.pg.slash("alice", "imagine", {"prompt": f"{prompt} --steps 1 --seed 1"})
        assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
        return ix

    async def painted(self, prompt: str) -> MessageRecord:
        ix = await self.imagine(prompt)
        found: MessageRecord = await self.pg.wait(
            lambda ledger: finished(ledger, ix.message_id), timeout=60
        )
        return found

    async def told(self, prompt: str, words: str) -> MessageRecord:
        ix = await self.imagine(prompt)
        found: MessageRecord = await self.pg.wait(
            lambda ledger: (
                ledger.messages[ix.message_id or 0]
                if words in ledger.messages[ix.message_id or 0].content
                else None
            ),
            timeout=60,
        )
        assert not found.attachments
        assert "SHA" not in found.content
        return found


async def changed(app: App, path: Path) -> None:
    """Change a file as somebody else would, and let the bot see its folder."""
    flip(path)
    await app.refresh_folders({path})


@pytest.mark.timeout(120)
async def test_people_read_a_sentence_the_admin_both_hashes_and_the_bot_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = furnished(tmp_path)
    where = ("--config", str(tmp_path / "config.toml"))
    ink, word = tmp_path / "loras/ink.safetensors", tmp_path / f"embeddings/{WORD}.safetensors"
    async with Playground() as pg:
        restore, talker = aim(pg.api_base, pg.gateway_url, pg.cdn_base), Talker(pg)
        try:
            async with running(pg, config) as (app, store):
                await talker.painted(f"a red heart <lora:ink> {WORD}")
                assert is_listed(config, ink)
                assert is_listed(config, word)
                old = str(listing(config)[str(ink.resolve())]["sha256"])
                await changed(app, ink)
                await changed(app, word)
                # Asked for by name it is refused where it was typed, and nothing is accepted.
                await talker.told("a red heart <lora:ink>", "LoRA “ink” is not the file that was")
                assert old in caplog.text
                assert look(ink.resolve()).sha256 in caplog.text
                assert len(await store.history()) == 1
                # An embedding's name is a word like others: the job fails alone.
                await talker.told(f"a {WORD} heart", f"embedding “{WORD}” is not the file that was")
                assert (await store.history())[0].error_code == "changed"
                assert "Traceback" not in caplog.text
                await talker.painted("a red heart")
                for name in ("loras/ink", f"embeddings/{WORD}"):
                    done = await asyncio.to_thread(easel, "models", "trust", name, *where)
                    assert done.code == 0
                await talker.painted(f"a red heart <lora:ink> {WORD}")
        finally:
            restore()


def test_looking_over_the_files_does_not_load_torch(tmp_path: Path) -> None:
    furnished(tmp_path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom bot.config import parse_config\n"
        "from bot.trusted_addons import look_over\npath = Path(sys.argv[1])\n"
        "standing = look_over(parse_config(path.read_text(), path), thorough=True)\n"
        "print(standing.fresh, 'torch' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", code, str(tmp_path / "config.toml")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["3", "False"]
