"""The flows people use most, driven as they would and photographed: `python -m tests.browser.flows
OUT_DIR [NAME …]`.

Promises the real bot with the shipped model, in a playground of its own, and one picture of the
page for each flow, taken when everything that belongs to it is there. Compares nothing: a person
looks. A flow that cannot be walked to its end raises.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import (
    Browser,
    Locator,
    Page,
    ViewportSize,
    async_playwright,
    expect,
)

from bot.demo import run_demo
from tests.browser.conftest import ARGUMENTS, NAMES
from tests.browser.hands import composer, messages

SCREEN: Final[ViewportSize] = {"width": 1180, "height": 900}
# A grid takes a second or two on two cores; a runner under load takes longer.
PATIENCE_MS: Final = 90_000
LONG: Final = "--steps 150 --sampler euler_a"


async def send(page: Page, command: str) -> None:
    """Write a whole command and send it off."""
    await page.keyboard.press("Escape")
    await composer(page).fill(command)
    await page.keyboard.press("Enter")
    await expect(composer(page)).to_have_value("")


def last_with(page: Page, button: str) -> Locator:
    """The newest message that has a button."""
    return messages(page).filter(has=page.get_by_role("button", name=button, exact=True)).last


async def finished(page: Page, button: str, *, above: int) -> Locator:
    """Wait until more messages than before have a button; return the newest."""
    found = messages(page).filter(has=page.get_by_role("button", name=button, exact=True))
    await expect(found).to_have_count(above + 1, timeout=PATIENCE_MS)
    message = found.last
    await at_rest(page, message)
    return message


async def count_of(page: Page, button: str) -> int:
    """Count the messages that have a button."""
    found = messages(page).filter(has=page.get_by_role("button", name=button, exact=True))
    return await found.count()


async def at_rest(page: Page, message: Locator) -> None:
    """Wait until a message's pictures are drawn and the page shows all of it."""
    for picture in await message.locator("img").all():
        await expect(picture).to_have_js_property("complete", True, timeout=PATIENCE_MS)
    await page.locator("#scroll").evaluate("node => { node.scrollTop = node.scrollHeight; }")
    await page.evaluate("() => new Promise(requestAnimationFrame)")


async def painted(page: Page, prompt: str) -> Locator:
    """Let /imagine paint a grid; return its message."""
    before = await count_of(page, "U1")
    mentions = page.locator("#messages .message.to-me:has(.reply-words)")
    heard = await mentions.count()
    await send(page, f"/imagine {prompt}")
    # The answer that calls the requester comes last.
    await expect(mentions).to_have_count(heard + 1, timeout=PATIENCE_MS)
    return await finished(page, "U1", above=before)


async def single(page: Page, prompt: str, tile: int = 1) -> Locator:
    """Paint a grid and post one of its pictures alone; return that message."""
    grid = await painted(page, prompt)
    before = await count_of(page, "Vary (Region)")
    await grid.get_by_role("button", name=f"U{tile}", exact=True).click()
    return await finished(page, "Vary (Region)", above=before)


async def pressed(page: Page, message: Locator, button: str, *, shows: str = "U1") -> Locator:
    """Press a button whose result is a new message with that other button."""
    before = await count_of(page, shows)
    await message.get_by_role("button", name=button, exact=True).click()
    return await finished(page, shows, above=before)


async def opened(page: Page, message: Locator, button: str) -> None:
    """Press a button that opens a modal."""
    await message.get_by_role("button", name=button, exact=True).click()
    await expect(page.get_by_role("dialog")).to_be_visible(timeout=PATIENCE_MS)


async def answered(page: Page, command: str, text: str) -> Locator:
    """Send a command whose answer is for the sender alone; return the answer."""
    await send(page, command)
    answer = messages(page).filter(has_text="Only you can see this").filter(has_text=text).last
    await expect(answer).to_be_visible(timeout=PATIENCE_MS)
    await at_rest(page, answer)
    return answer


async def imagine(page: Page) -> None:
    """A grid with all its buttons."""
    await painted(page, "a red heart")


async def progress(page: Page) -> None:
    """A job that is being painted, with a preview, Keep only and Cancel."""
    await send(page, f"/imagine a smiling face with sunglasses {LONG}")
    message = last_with(page, "Keep only 1")
    await expect(message).to_contain_text(re.compile(r"\([1-9][0-9] %"), timeout=PATIENCE_MS)
    await expect(message.locator("img")).to_have_count(1)
    await at_rest(page, message)


async def upscale(page: Page) -> None:
    """One picture alone, with everything that can be done with it."""
    await single(page, "sunflower", 2)


async def vary(page: Page) -> None:
    """A grid and its strong variations."""
    alone = await single(page, "a smiling cat face --seed 3")
    await pressed(page, alone, "Vary (Strong)")


async def zoom(page: Page) -> None:
    """A picture zoomed out."""
    alone = await single(page, "panda --seed 4")
    await pressed(page, alone, "Zoom out 2×")


async def pan(page: Page) -> None:
    """A picture painted on to the right."""
    alone = await single(page, "red apple on a green background --seed 4")
    await pressed(page, alone, "➡️")


async def remix(page: Page) -> None:
    """The modal that asks for another prompt."""
    alone = await single(page, "cherry blossom --no text --seed 8")
    await opened(page, alone, "Remix")


async def region(page: Page) -> None:
    """The modal that asks where to paint anew."""
    alone = await single(page, "a red heart --seed 8")
    await opened(page, alone, "Vary (Region)")


async def settings(page: Page) -> None:
    """The panel of one's own settings."""
    await answered(page, "/settings", "Stylize")


async def help_pages(page: Page) -> None:
    """The first page of the help, and its list of flags."""
    answer = await answered(page, "/help", "First steps")
    await answer.get_by_role("combobox").click()
    await expect(page.get_by_role("option", name="Privacy")).to_be_visible()


async def describe(page: Page) -> None:
    """Four prompts for a picture of the channel."""
    alone = await single(page, "hamburger --seed 5")
    await menu_of(page, alone, "Describe")
    answer = messages(page).filter(has_text="how I would ask for it").last
    await expect(answer).to_be_visible(timeout=PATIENCE_MS)
    await at_rest(page, answer)


async def history(page: Page) -> None:
    """What I made, with thumbnails."""
    for prompt in ("a red heart", "sunflower", "panda"):
        await painted(page, prompt)
    await answered(page, "/history", "panda")


async def permutations(page: Page) -> None:
    """The question before several jobs."""
    await answered(page, "/imagine a {red, blue, green} bird --ar {1:1, 3:2}", "This makes 6 jobs")


async def mistake(page: Page) -> None:
    """A flag that is not known, with its place and a button that mends it."""
    await answered(page, "/imagine a red heart --stylise 50 --ar 3:2", "--stylize")


async def menu_of(page: Page, message: Locator, entry: str) -> None:
    """Choose an entry of a message's menu."""
    await message.hover()
    await message.get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name=entry, exact=True).click()


async def message_menu(page: Page) -> None:
    """The entries of a message's menu."""
    grid = await painted(page, "mushroom --seed 12")
    await grid.hover()
    await grid.get_by_role("button", name="More").click()
    await expect(page.get_by_role("menuitem", name="Describe")).to_be_visible()


async def japanese(page: Page) -> None:
    """The same in Japanese."""
    await page.get_by_role("radio", name="日本語").click()
    await expect(page.get_by_role("radio", name="日本語")).to_have_attribute("aria-checked", "true")
    grid = await painted(page, "a red heart --seed 21")
    await grid.get_by_role("button", name="U2", exact=True).click()
    alone = messages(page).last
    await expect(alone.locator(".row")).to_have_count(5, timeout=PATIENCE_MS)
    await at_rest(page, alone)


Flow = Callable[[Page], Awaitable[None]]
FLOWS: Final[dict[str, Flow]] = {
    "01-imagine": imagine,
    "02-progress": progress,
    "03-upscale": upscale,
    "04-vary": vary,
    "05-zoom": zoom,
    "06-pan": pan,
    "07-remix": remix,
    "08-region": region,
    "09-settings": settings,
    "10-help": help_pages,
    "11-describe": describe,
    "12-history": history,
    "13-permutations": permutations,
    "14-mistake": mistake,
    "15-message-menu": message_menu,
    "16-japanese": japanese,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A running demo and a browser to look at it with."""

    browser: Browser
    address: str

    @asynccontextmanager
    async def visit(self, wrong: list[str]) -> AsyncIterator[Page]:
        """Open the page afresh; what it complains of is put into `wrong`."""
        context = await self.browser.new_context(
            viewport=SCREEN, locale="en-US", timezone_id="UTC", device_scale_factor=1
        )
        try:
            page = await context.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on(
                "console", lambda line: wrong.append(line.text) if line.type == "error" else None
            )
            await page.goto(f"{self.address}#alice")
            alice = page.get_by_role("radio", name="Alice")
            await expect(alice).to_have_attribute("aria-checked", "true", timeout=PATIENCE_MS)
            yield page
        finally:
            await context.close()


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[Stage]:
    """Start the bot on a loopback Discord, and the system's Chromium."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise RuntimeError("no Chromium on this machine: apt-get install chromium")
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    demo = asyncio.create_task(run_demo(port=0, folder=folder, announce=ready.set_result))
    try:
        both: set[asyncio.Future[Any]] = {demo, ready}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if demo.done():
            await demo
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=path, args=ARGUMENTS.split(), headless=True
            )
            yield Stage(browser=browser, address=await ready)
            await browser.close()
    finally:
        demo.cancel()
        with suppress(asyncio.CancelledError):
            await demo


async def photograph(stage: Stage, name: str, folder: Path) -> Path:
    """Walk one flow on a fresh page and keep what the page shows at its end."""
    wrong: list[str] = []
    async with stage.visit(wrong) as page:
        await FLOWS[name](page)
        # The pointer rests where it brings no tools up.
        await page.mouse.move(2, SCREEN["height"] - 2)
        path = folder / f"{name}.png"
        await page.screenshot(path=path)
        # The next flow begins when nothing of this one is being painted any more.
        unfinished = messages(page).get_by_role("button", name="Cancel", exact=True)
        await expect(unfinished).to_have_count(0, timeout=PATIENCE_MS)
    if wrong:
        raise RuntimeError(f"{name}: the page complained: {wrong}")
    return path


async def photograph_all(names: Sequence[str], folder: Path) -> None:
    """Photograph flows one after another, each in a demo that the ones before have used."""
    with tempfile.TemporaryDirectory() as data:
        async with open_stage(Path(data)) as stage:
            for name in names:
                path = await photograph(stage, name, folder)
                sys.stdout.write(f"{path}\n")
                sys.stdout.flush()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.flows", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FLOWS))
    asked = parser.parse_args()
    unknown = set(asked.names) - set(FLOWS)
    if unknown:
        parser.error(f"no such flow: {', '.join(sorted(unknown))}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(photograph_all(asked.names or list(FLOWS), asked.folder))
    # Threads of the engine may still be ending; nothing is left to do.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
