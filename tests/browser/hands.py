"""What the page's tests do again and again: find the parts of the page, and let people act."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import discord
from playwright.async_api import Locator, Page, expect

from bot.playground import Playground
from tests.browser.studio import Studio

DESKTOP = (1280, 800)
PHONE = (390, 844)
Visit = Callable[..., Awaitable[Page]]


def composer(page: Page) -> Locator:
    """The box for plain words and for the slash."""
    return page.get_by_role("combobox", name="Message")


def option(page: Page, name: str) -> Locator:
    """A chip of the command being written."""
    return page.locator("#command").get_by_label(name, exact=True)


def messages(page: Page) -> Locator:
    """Every message of the channel that is open."""
    return page.locator("#messages .message")


def press(page: Page, name: str) -> Locator:
    """A button under a message."""
    return messages(page).get_by_role("button", name=name, exact=True)


async def paint(page: Page, studio: Studio, prompt: str = "a red heart") -> Locator:
    """Use /imagine and wait for the finished picture; returns its message."""
    studio.finish.set()
    await composer(page).press_sequentially(f"/imagine {prompt}")
    await page.keyboard.press("Enter")
    message = messages(page).filter(has=page.get_by_role("button", name="U1"))
    await expect(message.last).to_be_visible()
    return message.last


async def say(studio: Studio, playground: Playground, text: str) -> None:
    """Let the bot post something of its own accord."""
    channel = await studio.fetch_channel(playground.channel_id)
    assert isinstance(channel, discord.TextChannel)
    await channel.send(text)
