"""What the page shows and keeps showing: edits, scrolling, a phone, a lost connection."""

from __future__ import annotations

import asyncio

import discord
import pytest
from playwright.async_api import WebSocketRoute, expect

from bot.playground import Playground
from tests.browser.hands import PHONE, Visit, composer, messages, paint, press, say
from tests.browser.studio import Grid, Studio

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_edit_keeps_the_old_picture_until_the_new_one_is_there(
    visit: Visit, studio: Studio
) -> None:
    page = await visit()
    await composer(page).press_sequentially("/imagine a cat")
    await page.keyboard.press("Enter")
    image = messages(page).locator("img")
    await expect(image).to_have_js_property("naturalWidth", 256)
    # From here on, note every moment in which the message shows no decoded picture.
    await page.evaluate("""() => {
        window.gaps = 0;
        const look = () => {
            const images = [...document.querySelectorAll('#messages img')];
            if (images.length !== 1 || !images[0].complete || !images[0].naturalWidth) gaps += 1;
        };
        const all = { subtree: true, childList: true, attributes: true };
        new MutationObserver(look).observe(document.querySelector('#messages'), all);
    }""")
    studio.finish.set()
    await expect(messages(page).get_by_role("img", name="a cat", exact=True)).to_be_visible()
    assert await page.evaluate("window.gaps") == 0


async def test_an_edit_leaves_the_parts_that_did_not_change(
    visit: Visit, studio: Studio, playground: Playground
) -> None:
    page = await visit()
    message = await paint(page, studio)
    button = await press(page, "U1").element_handle()
    assert button is not None
    await press(page, "U1").focus()
    channel = await studio.fetch_channel(playground.channel_id)
    assert isinstance(channel, discord.TextChannel)
    posted = await channel.fetch_message(int(await message.get_attribute("data-message-id") or 0))
    await posted.edit(content="another caption")
    await expect(message).to_contain_text("another caption")
    assert await button.evaluate("node => node === document.activeElement")
    fewer = Grid(timeout=None)
    fewer.remove_item(fewer.children[-1])
    await posted.edit(view=fewer)
    await expect(message.get_by_role("combobox", name="Model")).to_have_count(0)
    await expect(press(page, "U1")).to_be_focused()


async def test_what_one_says_the_other_sees(visit: Visit) -> None:
    alice, bob = await visit("alice"), await visit("bob")
    await composer(alice).fill("hello **there**")
    await alice.keyboard.press("Enter")
    await expect(messages(bob).last.locator("strong")).to_have_text("there")
    await expect(messages(bob).last).to_contain_text("Alice")
    await expect(bob.locator("#announcer")).to_have_text("Alice: hello there")


async def test_a_prompt_full_of_markup_stays_text(visit: Visit, studio: Studio) -> None:
    page = await visit()
    nasty = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
    await paint(page, studio, nasty)
    await expect(messages(page).last.locator("strong")).to_have_text(nasty)
    await expect(messages(page).locator("img")).to_have_count(1)
    assert await page.evaluate("window.hit") is None


async def test_a_phone_never_scrolls_sideways(
    visit: Visit, studio: Studio, playground: Playground
) -> None:
    page = await visit(screen=PHONE)
    await paint(page, studio, "wide " + "x" * 150)
    await say(studio, playground, "```\n" + "y" * 300 + "\n```")
    await press(page, "Info").click()
    await expect(messages(page).locator("pre")).to_have_count(2)
    await composer(page).press_sequentially("/imagine " + "z" * 80)
    width = await page.evaluate("document.scrollingElement.scrollWidth")
    assert width == PHONE[0]
    # Only code may be wider than its box, and it scrolls by itself.
    assert (
        await page.evaluate("""() => [...document.querySelectorAll('#scroll *')]
        .filter(node => !node.closest('pre code') && !node.closest('.unseen'))
        .filter(node => node.getBoundingClientRect().right > innerWidth)
        .map(node => node.className)""")
        == []
    )
    await page.get_by_role("button", name="Channels").click()
    await page.get_by_role("button", name="gallery").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("#gallery")
    await expect(page.get_by_role("navigation")).to_be_hidden()


async def test_the_view_follows_only_a_reader_at_the_bottom(
    visit: Visit, studio: Studio, playground: Playground
) -> None:
    page = await visit()
    await say(studio, playground, "first\n" * 60)
    await say(studio, playground, "second")
    await expect(messages(page).last).to_be_in_viewport()
    await page.locator("#scroll").hover()
    await page.mouse.wheel(0, -5000)
    await expect(messages(page).first.get_by_text("first")).to_be_in_viewport()
    await say(studio, playground, "third")
    pill = page.get_by_role("button", name="1 new message")
    await expect(pill).to_be_visible()
    await expect(messages(page).last).not_to_be_in_viewport()
    await pill.click()
    await expect(messages(page).last).to_be_in_viewport()
    await expect(pill).to_be_hidden()


async def test_a_lost_connection_comes_back_with_what_was_missed(
    visit: Visit, studio: Studio, playground: Playground
) -> None:
    page = await visit()
    sockets: list[WebSocketRoute] = []
    mended = asyncio.Event()

    async def through(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        if len(sockets) > 1:
            await mended.wait()
        socket.connect_to_server()

    await page.route_web_socket("**/live*", through)
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("#easel")
    await sockets[0].close(code=1001)
    banner = page.get_by_text("Connection lost")
    await expect(banner).to_be_visible()
    await composer(page).fill("still here")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Not connected.")).to_be_visible()
    await say(studio, playground, "said meanwhile")
    mended.set()
    await expect(banner).to_be_hidden()
    await expect(messages(page).last).to_contain_text("said meanwhile")
    await expect(composer(page)).to_have_value("still here")
    await page.keyboard.press("Enter")
    await expect(messages(page).last).to_contain_text("still here")


async def test_a_picture_opens_large(visit: Visit, studio: Studio) -> None:
    page = await visit()
    await paint(page, studio)
    await page.get_by_role("button", name="Open picture: a red heart").click()
    light = page.get_by_role("dialog", name="Picture")
    await expect(light.get_by_role("img", name="a red heart")).to_be_visible()
    await expect(light.get_by_role("link", name="Open original")).to_have_attribute(
        "href", await page.locator("#messages img").get_attribute("src") or ""
    )
    await page.keyboard.press("Escape")
    await expect(light).to_be_hidden()


async def test_the_newer_components_are_laid_out(visit: Visit) -> None:
    page = await visit()
    await composer(page).press_sequentially("/board ")
    await page.keyboard.press("Enter")
    message = messages(page).last
    await expect(message.get_by_role("heading", name="History")).to_be_visible()
    await expect(message.locator("strong")).to_have_text("newest")
    fish = message.get_by_role("img", name="a blue fish")
    await expect(fish).to_have_js_property("naturalWidth", 256)
    docs = message.get_by_role("link", name="Docs")
    await expect(docs).to_have_attribute("href", "https://example.org/docs")
    await expect(message.locator("img")).to_have_count(3)
    cover = message.get_by_role("button", name="Spoiler, press to show the picture")
    await cover.click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await message.get_by_role("button", name="Open picture: a surprise").click()
    await expect(page.get_by_role("dialog", name="Picture")).to_be_visible()
