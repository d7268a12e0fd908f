"""What the page's tests stand on: a browser, a playground, a real bot in it, and a visitor.

Promises that a test whose page logged an error, or broke the content policy, fails.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from bot.playground import Playground, aim
from tests.browser.hands import DESKTOP, Visit
from tests.browser.studio import Studio

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)

expect.set_options(timeout=8000)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium, started once."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=ARGUMENTS.split(), headless=True
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def playground() -> AsyncIterator[Playground]:
    """A fresh playground that discord.py is aimed at until the test ends."""
    async with Playground() as playground:
        undo = aim(playground.api_base, playground.gateway_url, playground.cdn_base)
        yield playground
        undo()


@pytest_asyncio.fixture(loop_scope="session")
async def studio(playground: Playground) -> AsyncIterator[Studio]:
    """The bot, connected, with its commands announced."""
    async with Studio() as bot:
        running = asyncio.create_task(bot.start(playground.token))
        ready = asyncio.create_task(playground.ready())
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            ready.cancel()
            await running
        await ready
        yield bot
        bot.over.set()
        await bot.close()
        await running


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, playground: Playground, studio: Studio) -> AsyncIterator[Visit]:
    """Open the page as somebody, on a screen of some size; several pages may be open at once."""
    wrong: list[str] = []
    async with AsyncExitStack() as stack:

        async def opened(person: str = "alice", *, screen: tuple[int, int] = DESKTOP) -> Page:
            width, height = screen
            context = await browser.new_context(
                viewport={"width": width, "height": height}, locale="en-US", timezone_id="UTC"
            )
            stack.push_async_callback(context.close)
            page = await context.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on(
                "console",
                lambda line: wrong.append(line.text) if line.type == "error" else None,
            )
            await page.goto(f"{playground.page_url}#{person}")
            chosen = page.get_by_role("radio", name=person.capitalize())
            await expect(chosen).to_have_attribute("aria-checked", "true")
            return page

        yield opened
    assert not wrong, f"the page complained: {wrong}"
