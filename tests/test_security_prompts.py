"""Prompts that would like to be more than words: through the grammar, every text that shows them,
and the whole bot, whose every request is read afterwards as Discord would read it.
"""

import asyncio
import importlib
import re
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from bot import texts, texts_jobs, texts_pictures
from bot.config import Config
from bot.escape import ALT_LIMIT, MESSAGE_LIMIT, utf16_length
from bot.limits import check_length
from bot.playground import InteractionState, Ledger
from bot.prompt import PromptError, parse
from storage import JobKind, NewJob, Store
from tests.bot_room import QUICK, Room, open_room
from tests.hostile import prompts

USER = 112233445566778899
FILE = re.compile(r"(SPOILER_)?(easel-[a-z2-7]{13}(-\d{1,2}|-film)?|preview)\.(png|webp|jpg)")
MENTION = re.compile(r"@everyone|@here|<@[!&]?\d|<#\d|</\w|<a?:\w+:\d|<t:\d|<id:|<sound:", re.I)
LINK = re.compile(r"\]\(|https?://(?!discord\.com/channels/)|discord\.gg/|(?i:javascript:)")
SUPPRESS_EMBEDS = 1 << 2


def acting(content: str, requester_id: int) -> list[str]:
    """Return what a message would do beside being read and naming its requester."""
    # From left to right, as Discord reads: what a backslash stands before begins no code.
    bare = re.sub(r"\\.|```.*?```|`[^`]*`", "", content, flags=re.DOTALL)
    bare = bare.replace(f"<@{requester_id}>", "")
    # Even inside code nothing may look like a mention: other clients render otherwise.
    whole = content.replace(f"<@{requester_id}>", "")
    unclosed = ["`"] if bare.count("`") else []
    return MENTION.findall(whole) + LINK.findall(bare) + unclosed


def shown(prompt: str) -> list[str]:
    """Return every text that shows a prompt."""
    line = texts_jobs.QueueLine(job_id="aaaaaaaaaaaaa", prompt=prompt, position=1)
    return [
        texts_jobs.waiting(prompt, USER, position=1, eta=3.0),
        texts_jobs.running(prompt, USER, step=1, total=4),
        texts_jobs.posting(prompt, USER),
        texts_jobs.ended(prompt, USER, "It failed."),
        texts_jobs.queue_line(line),
    ]


def through(found: Iterable[str]) -> tuple[int, int, list[float]]:
    """Parse and show prompts; return how many were prompts, how many refused, and CPU times."""
    limits, good, wrong, took = Config().limits, 0, 0, []
    for prompt in found:
        contents = shown(prompt)
        if check_length(prompt, limits) is None:
            started = time.thread_time()
            try:
                parse(prompt)
            except PromptError as error:
                wrong += 1
                contents += [texts.prompt_error(error), texts_pictures.wrong_prompt(error)]
            else:
                good += 1
            took.append(time.thread_time() - started)
        for content in contents:
            assert utf16_length(content) <= MESSAGE_LIMIT, prompt
            assert not acting(content, USER), (prompt, content)
            content.encode()
        assert utf16_length(texts_jobs.alt_text(prompt)) <= ALT_LIMIT
    return good, wrong, took


def p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


def test_fuzzed_prompts_are_words_and_nothing_else() -> None:
    good, wrong, took = through(prompts(1000, user=USER))
    assert good > 200
    assert wrong > 100
    # Ten times the goal: other programs share the machine's caches. `-m slow` asks for the goal.
    assert p99(took) < 0.01


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_prompts_are_words_and_nothing_else() -> None:
    good, wrong, took = through(prompts(100_000, user=USER))
    assert good > 20_000
    assert wrong > 10_000
    assert p99(took) < 0.001


def test_what_acts_is_seen() -> None:
    """The judge above must be able to find what it looks for."""
    assert not acting("`a fox @ everyone` - <@1> (waiting)", 1)
    for bad in ("@everyone", "<@2>", "<@&1>", "[x](https://evil.example)", "https://evil.example",
                "`a` ` b", "</imagine:1>", "a `<@2>` b", "discord.gg/x"):  # fmt: skip
        assert acting(bad, 1), bad


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(tmp_path) as opened:
        yield opened


def sent(ledger: Ledger) -> list[tuple[str, Any, tuple[str, ...]]]:
    """Return every message that the bot sent or changed: its route, body and file names."""
    found = []
    for each in ledger.requests:
        assert not 400 <= each.status < 500 or each.status == 404, (each.path, each.answer)
        body = each.body if isinstance(each.body, dict) else {}
        if each.method in ("POST", "PATCH") and ("content" in body or "content" in (
            body.get("data") or {}
        )):  # fmt: skip
            found.append((each.path, body.get("data") or body, each.file_names))
    return found


async def ask_all(room: Room, count: int) -> None:
    """Type so many hostile prompts, paint those that are prompts, and read all that was said."""
    # The first LoRA that is named brings torch, which a real bot has by then.
    await asyncio.to_thread(importlib.import_module, "diffusion.addons")
    toml = QUICK + "[queue]\nmax_waiting_user = 1000\nmax_waiting = 1000\n"
    asked = 0
    async with room.bot(toml) as app:
        alice = room.pg.people["alice"]
        for prompt in prompts(count, user=room.pg.people["bob"].id):
            # Discord's client sends no halves of characters and nothing longer than 6,000.
            words = prompt.encode("utf-8", "ignore").decode()[:6000]
            if not words.strip():
                continue
            ix = await room.pg.slash("alice", "imagine", {"prompt": words})
            assert await ix.acknowledged is InteractionState.ACKNOWLEDGED
            asked += 1
        await room.pg.wait(
            lambda _: not len(app.services.queue) and not app.services.worker.running, timeout=600
        )
        await room.settled(app)
        jobs = await app.services.store.history(limit=100)
    said = sent(room.pg.ledger)
    assert len(said) >= asked
    assert len(jobs) > min(10, asked // 4)
    assert sum(len(names) for _, _, names in said) >= len(jobs)
    for path, body, names in said:
        mentions = body.get("allowed_mentions")
        assert mentions is not None, path
        assert mentions.get("parse", []) == [], path
        assert not mentions.get("roles"), path
        assert set(map(int, mentions.get("users", []))) <= {alice.id}, path
        assert not mentions.get("replied_user"), path
        content = body.get("content") or ""
        assert not acting(content, alice.id), content
        assert utf16_length(content) <= MESSAGE_LIMIT
        for name in names:
            assert FILE.fullmatch(name), name
    for message in room.pg.ledger.messages.values():
        assert not message.data["mention_everyone"]
        assert {int(user["id"]) for user in message.data["mentions"]} <= {alice.id}
        assert not message.data["mention_roles"]


@pytest.mark.timeout(120)
async def test_no_prompt_pings_links_or_names_a_file(room: Room) -> None:
    await ask_all(room, 45)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_no_prompt_of_two_thousand_pings_links_or_names_a_file(room: Room) -> None:
    await ask_all(room, 2000)


async def test_what_was_typed_is_stored_as_it_was(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    try:
        for number, prompt in enumerate(prompts(120, user=USER)):
            words = prompt.encode("utf-8", "replace").decode()
            new = NewJob(
                kind=JobKind.IMAGINE,
                params="{}",
                prompt=words,
                images=1,
                model=words[:60],
                requester_id=1,
                guild_id=None,
                channel_id=1,
                interaction_id=number + 1,
            )
            job = (await store.enqueue(new)).job
            again = await store.job(job.id)
            assert again is not None
            assert again.prompt.encode() == words.encode()
            assert again.model == words[:60]
        assert (await store.counts()).waiting == 120
    finally:
        await store.close()
