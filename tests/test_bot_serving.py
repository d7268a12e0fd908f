"""One bot from start to end: connecting, real signals, edits of config.toml, a dead engine.

The bot runs inside the tests' process, with the real client and store and the tests' engine.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from bot import client as client_module
from bot import serving
from bot.config import Config, load_config
from bot.exits import Exit
from bot.playground import Playground, PlayInteraction, RateLimits, aim
from diffusion import EngineDeadError
from storage import Job, JobState, Store
from tests.bot_desk import results
from tests.fakes import FakeEngine, model_info

GATEWAY_CODE_WRONG_TOKEN = 4004


@dataclass(slots=True, kw_only=True)
class Served:
    """A playground, and what is needed to serve a bot at it."""

    pg: Playground
    folder: Path
    engine: FakeEngine
    announced: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def path(self) -> Path:
        """The settings' file."""
        return self.folder / "config.toml"

    def configure(self, text: str) -> Config:
        """Write the settings in one step, as an editor does."""
        fresh = self.folder / "fresh"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.path)
        return load_config(self.path)

    def start(self, text: str = "", *, token: str | None = None) -> "asyncio.Task[None]":
        """Start the bot."""
        config = self.configure(f"[storage]\nmin_free_gib = 0\n{text}")
        return asyncio.create_task(
            serving.serve(
                config,
                token or self.pg.token,
                config_path=self.path,
                on_ready=self.announced.set,
            )
        )

    @asynccontextmanager
    async def bot(self, text: str = "") -> AsyncIterator["asyncio.Task[None]"]:
        """Run the bot until the block ends, then stop it as a supervisor does."""
        task = self.start(text)
        await self.pg.ready()
        await self.announced.wait()
        yield task
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await task

    async def imagine(self, prompt: str) -> PlayInteraction:
        """Type /imagine as alice and wait for the answer."""
        asked = await self.pg.slash("alice", "imagine", {"prompt": prompt})
        await asked.acknowledged
        return asked

    def answer(self, asked: PlayInteraction) -> str:
        """Return what an interaction's message says now."""
        return self.pg.ledger.messages[asked.message_id or 0].content

    async def jobs(self) -> list[Job]:
        """Read the table of a bot that has ended."""
        store = await Store.open(self.folder / "data")
        try:
            return await store.history(limit=10)
        finally:
            await store.close()


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    engine = FakeEngine()
    monkeypatch.setattr(serving, "load_engine", lambda config: engine)
    monkeypatch.setattr(serving, "describe_models", lambda config: {"emoji": model_info()})
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.01)
    async with Playground(rate_limits=RateLimits(enabled=False)) as pg:
        restore = aim(pg.api_base, pg.gateway_url, pg.cdn_base)
        yield Served(pg=pg, folder=tmp_path, engine=engine)
        restore()


async def test_the_collector_does_not_look_at_what_stays(served: Served) -> None:
    async with served.bot():
        assert gc.get_freeze_count() > 10_000
    assert gc.get_freeze_count() == 0


async def ended(task: "asyncio.Task[None]") -> Exit:
    """Wait for the end that a start comes to, which is no clean one."""
    with pytest.raises(Exit) as caught:
        async with asyncio.timeout(10):
            await task
    return caught.value


async def test_it_announces_works_and_stops(served: Served) -> None:
    async with served.bot():
        await served.imagine("a fox")
        await served.pg.wait(lambda _: results(served.pg, ""))
    (job,) = await served.jobs()
    assert job.state is JobState.POSTED


async def test_a_refused_token_ends_with_78_and_one_try(served: Served) -> None:
    wrong = served.pg.token[:-4] + "AAAA"
    end = await ended(served.start(token=wrong))
    assert end.code == 78
    assert "token" in str(end)
    assert wrong not in str(end)
    assert len(served.pg.ledger.asked("GET", "/users/@me")) == 1


async def test_a_token_refused_by_the_gateway_ends_with_78(served: Served) -> None:
    task = served.start()
    await served.pg.ready()
    served.pg.faults.close_gateway(GATEWAY_CODE_WRONG_TOKEN)
    end = await ended(task)
    assert end.code == 78
    assert "token" in str(end)


async def test_a_gateway_refused_at_the_first_connect_is_tried_again(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.pg.faults.refuse_connects(2)
    async with served.bot():
        await served.imagine("a fox")
        await served.pg.wait(lambda _: results(served.pg, ""))
    assert served.pg.ledger.happened("refused") or "refused" in caplog.text


@pytest.mark.parametrize("fault", ["503", "reset"])
async def test_a_login_that_fails_for_now_is_tried_again(served: Served, fault: str) -> None:
    if fault == "503":
        served.pg.faults.status(503, "GET", "/users/@me", count=2)
    else:
        served.pg.faults.reset_before("GET", "/users/@me", count=2)
    async with served.bot():
        assert len(served.pg.ledger.asked("GET", "/users/@me")) == 3


# After a session that cannot be resumed discord.py waits five seconds before it identifies anew.
@pytest.mark.parametrize("code", [1000, 1006, 4000, pytest.param(4009, marks=pytest.mark.slow)])
async def test_a_lost_gateway_is_found_again(served: Served, code: int) -> None:
    async with served.bot():
        before = len(served.pg.ledger.gateway)
        served.pg.faults.close_gateway(code)
        await served.pg.wait(
            lambda ledger: any(
                item.what in ("identify", "resume") for item in list(ledger.gateway)[before:]
            ),
            timeout=10,
        )
        await served.pg.ready()
        await served.imagine("a fox")
        await served.pg.wait(lambda _: results(served.pg, ""))


async def test_a_dead_engine_ends_with_70_and_the_job_goes_on_at_the_next_start(
    served: Served,
) -> None:
    served.engine.fail(lambda: EngineDeadError("the device is gone"), step=2)
    task = served.start()
    await served.pg.ready()
    await served.imagine("a fox --seed 5")
    end = await ended(task)
    assert end.code == 70
    assert "the device is gone" in str(end)
    async with served.bot():
        await served.pg.wait(lambda _: results(served.pg, ""))
    (job,) = await served.jobs()
    assert (job.state, job.attempt, job.crashes) == (JobState.POSTED, 2, 1)


async def test_sigterm_in_the_middle_hands_the_job_back(served: Served) -> None:
    gate = served.engine.hold(2)
    async with served.bot():
        asked = await served.imagine("a fox")
        await gate.reached.wait()
    assert "restarting" in served.answer(asked)
    (job,) = await served.jobs()
    assert (job.state, job.crashes) == (JobState.QUEUED, 0)
    gate.open.set()
    async with served.bot():
        await served.pg.wait(lambda _: results(served.pg, ""))
    (message,) = results(served.pg, "")
    assert message.id == asked.message_id
    (job,) = await served.jobs()
    assert (job.state, job.crashes) == (JobState.POSTED, 0)


async def test_two_bots_do_not_share_a_folder(served: Served) -> None:
    async with served.bot():
        end = await ended(served.start())
    assert end.code == 78
    assert "another" in str(end).casefold()


@contextmanager
def told(logger: str, level: int) -> Iterator[asyncio.Event]:
    """Give an event that is set when a logger says something of a level."""
    heard = asyncio.Event()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == level:
                heard.set()

    ear = Ear()
    logging.getLogger(logger).addHandler(ear)
    yield heard
    logging.getLogger(logger).removeHandler(ear)


async def test_an_edit_of_the_settings_is_applied(served: Served) -> None:
    async with served.bot('[monitoring]\nlog_level = "info"\n'):
        assert "position" in served.answer(await served.imagine("a fox --steps 9"))
        with told("bot.reloading", logging.INFO) as heard:
            served.configure("[storage]\nmin_free_gib = 0\n[limits]\nmax_steps = 5\n")
            async with asyncio.timeout(5):
                await heard.wait()
        assert "at most 5 steps" in served.answer(await served.imagine("a fox --steps 9"))
        assert "position" in served.answer(await served.imagine("a fox --steps 4"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[limits]\nmax_stebs = 5\n", ("line 2", "max_steps")),
        ("[limits\n", ("line 1",)),
        ("[engine]\nmax_batch = 3\n", ("line 2", "max_batch", "restart")),
    ],
    ids=["unknown key", "not TOML", "needs a restart"],
)
async def test_a_wrong_edit_is_refused_and_the_old_settings_stay(
    served: Served, caplog: pytest.LogCaptureFixture, text: str, parts: tuple[str, ...]
) -> None:
    start = "[limits]\nmax_steps = 5\n"
    async with served.bot(start):
        with told("bot.reloading", logging.ERROR) as heard:
            fresh = served.folder / "fresh"
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(served.path)
            async with asyncio.timeout(5):
                await heard.wait()
        assert "at most 5 steps" in served.answer(await served.imagine("a fox --steps 9"))
    for part in parts:
        assert part in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_refused_edit_is_told_to_the_admins_once(served: Served) -> None:
    alice = served.pg.people["alice"].id
    async with served.bot(f"[moderation]\nadmins = [{alice}]\n"):
        direct = served.pg.direct_messages("alice")
        for _ in range(2):
            (served.folder / "fresh").write_text("[limits]\nmax_stebs = 5\n", encoding="utf-8")
            with told("bot.reloading", logging.ERROR) as heard:
                (served.folder / "fresh").replace(served.path)
                async with asyncio.timeout(8):
                    await heard.wait()
        said = await served.pg.wait(lambda ledger: ledger.in_channel(direct))
        assert len(said) == 1
        for part in ("not applied", "line 2", "max\\_steps"):
            assert part in said[0].content


async def test_reload_by_command_tells_what_changed(served: Served) -> None:
    async with served.bot():
        with told("bot.reloading", logging.INFO) as heard:
            served.configure("[storage]\nmin_free_gib = 0\n[limits]\nmax_steps = 5\n")
            async with asyncio.timeout(8):
                await heard.wait()
        (served.folder / "config.toml").write_text(
            "[storage]\nmin_free_gib = 0\n[limits]\nmax_steps = 7\n", encoding="utf-8"
        )
        asked = await served.pg.slash("carol", "admin reload")
        await asked.acknowledged
        await served.pg.wait(lambda _: "config.toml is" in served.answer(asked))
        assert "max\\_steps: 5 → 7" in served.answer(asked) or "says nothing new" in served.answer(
            asked
        )
        (served.folder / "config.toml").write_text("[limits]\nmax_stebs = 7\n", encoding="utf-8")
        asked = await served.pg.slash("carol", "admin reload")
        await asked.acknowledged
        await served.pg.wait(lambda _: "not applied" in served.answer(asked))


async def test_the_settings_in_force_are_kept_beside_the_database(served: Served) -> None:
    async with served.bot("[limits]\nmax_steps = 9\n"):
        kept = served.folder / "data" / "config.applied.toml"
        assert "max_steps = 9" in kept.read_text(encoding="utf-8")
        with told("bot.reloading", logging.INFO) as heard:
            served.configure("[storage]\nmin_free_gib = 0\n[limits]\nmax_steps = 5\n")
            async with asyncio.timeout(8):
                await heard.wait()
        assert "max_steps = 5" in kept.read_text(encoding="utf-8")


async def test_files_laid_into_a_folder_are_taken_in(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot.app")
    (served.folder / "loras").mkdir()
    toml = '[models.emoji]\npath = "emoji"\nloras = "loras"\n'
    async with served.bot(toml):
        with told("bot.app", logging.INFO) as heard:
            async with asyncio.timeout(5):
                # The watch begins a moment after the bot is there.
                for number in count():
                    (served.folder / "loras" / f"{number}.safetensors").write_bytes(b"x")
                    with suppress(TimeoutError):
                        await asyncio.wait_for(heard.wait(), 0.5)
                        break
        ((alias, changed),) = served.engine.looked_again[:1]
        assert alias == "emoji"
        assert changed <= {str(number) for number in range(20)}
