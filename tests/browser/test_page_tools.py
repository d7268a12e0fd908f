"""What a reader does with messages: menus, reactions, answers, languages, places, emoji."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from playwright.async_api import Page, expect

from bot.playground import Playground
from tests.browser.extras import EMOJI
from tests.browser.hands import PHONE, Visit, composer, messages, option, paint, press, say
from tests.browser.studio import Studio

pytestmark = pytest.mark.asyncio(loop_scope="session")


def square(colour: str = "white") -> bytes:
    """A small PNG to upload."""
    out = io.BytesIO()
    Image.new("RGB", (24, 24), colour).save(out, "PNG")
    return out.getvalue()


async def said(page: Page, text: str) -> None:
    """Write an ordinary message and wait for it."""
    await composer(page).fill(text)
    await page.keyboard.press("Enter")
    await expect(messages(page).last).to_contain_text(text)


async def test_a_messages_menu_offers_the_bots_commands(visit: Visit) -> None:
    page = await visit()
    await said(page, "a fox")
    await messages(page).last.get_by_text("a fox").click(button="right")
    menu = page.get_by_role("menu", name="Message")
    await expect(menu.get_by_role("group", name="Apps").get_by_role("menuitem")).to_have_text(
        ["Card", "Region"]
    )
    await page.keyboard.press("Escape")
    await expect(menu).to_have_count(0)
    await messages(page).last.hover()
    await messages(page).last.get_by_role("button", name="More").click()
    await menu.get_by_role("menuitem", name="Card").click()
    answer = messages(page).filter(has_text="Only you can see this")
    await expect(answer).to_contain_text("card of 'a fox'")
    await expect(answer).to_contain_text(re.compile(r"Alice\s*used\s*Card"))
    # What only one person sees takes neither a reaction nor an answer.
    await expect(answer.get_by_role("button", name="Reply")).to_have_count(0)


async def test_a_persons_menu_opens_at_the_name(visit: Visit) -> None:
    page = await visit()
    await said(page, "hello")
    await messages(page).last.get_by_role("button", name="Alice", exact=True).click()
    await page.get_by_role("menuitem", name="Profile").click()
    await expect(messages(page).last).to_contain_text("profile of alice")


async def test_a_modal_takes_a_file_and_every_kind_of_choice(
    visit: Visit, playground: Playground
) -> None:
    page = await visit()
    await said(page, "a fox")
    await messages(page).last.get_by_text("a fox").click(button="right")
    await page.get_by_role("menuitem", name="Region").click()
    dialog = page.get_by_role("dialog", name="Vary region")
    await expect(dialog.locator("strong")).to_have_text("white")
    await dialog.get_by_role("button", name="Submit").click()
    await expect(dialog.get_by_role("alert").filter(visible=True)).to_have_text(
        ["Choose a file.", "Choose at least 1."]
    )
    await dialog.locator("input[type=file]").set_input_files(
        {"name": "mask.png", "mimeType": "image/png", "buffer": square()}
    )
    await expect(dialog.get_by_text("mask.png ·")).to_be_visible()
    await dialog.get_by_role("radio", name="Strong").check()
    await dialog.get_by_role("checkbox", name="Model").check()
    await dialog.get_by_role("combobox", name="For").click()
    await page.get_by_role("option", name="Bob").click()
    await dialog.get_by_role("button", name="Submit").click()
    await expect(dialog).to_be_hidden()
    await expect(messages(page).last).to_contain_text("mask.png strong ['model', 'seed'] ['bob']")


async def test_reactions_are_switches(visit: Visit, playground: Playground) -> None:
    alice, bob = await visit("alice"), await visit("bob")
    await said(alice, "look")
    message = messages(alice).last
    await message.hover()
    await message.get_by_role("button", name="Add reaction").click()
    await expect(alice.get_by_role("menuitem")).to_have_count(4)
    await alice.get_by_role("menuitem", name="React with ⭐").click()
    mine = message.get_by_role("button", name="⭐, 1")
    await expect(mine).to_have_attribute("aria-pressed", "true")
    theirs = messages(bob).last.get_by_role("button", name=re.compile("⭐"))
    await expect(theirs).to_have_attribute("aria-pressed", "false")
    await theirs.click()
    await expect(theirs).to_have_attribute("aria-pressed", "true")
    await expect(message.get_by_role("button", name="⭐, 2")).to_be_visible()
    await theirs.click()
    await mine.click()
    await expect(message.get_by_role("button", name=re.compile("⭐"))).to_have_count(0)
    assert all(not item.data["reactions"] for item in playground.ledger.messages.values())


async def test_an_answer_quotes_its_message(visit: Visit) -> None:
    page = await visit()
    await said(page, "first")
    await messages(page).last.hover()
    await messages(page).last.get_by_role("button", name="Reply").click()
    await expect(page.get_by_text("Replying to Alice")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("Replying to Alice")).to_be_hidden()
    await messages(page).last.get_by_role("button", name="Reply").click()
    await said(page, "second")
    await expect(messages(page).last.get_by_title("Show the original message")).to_have_text(
        "first"
    )
    await expect(page.get_by_text("Replying to Alice")).to_be_hidden()


async def test_the_address_of_a_message_leads_to_it(
    visit: Visit, studio: Studio, playground: Playground
) -> None:
    page = await visit()
    await said(page, "the very first")
    first = max(playground.ledger.messages.values(), key=lambda each: each.id)
    place = f"https://discord.com/channels/{playground.guild_id}/{first.channel_id}"
    await say(studio, playground, f"{place}/{first.id} [here]({place}/{first.id}) {place}/x")
    links = messages(page).last.get_by_role("link")
    await expect(links).to_have_text(["#easel › message", "here", f"{place}/x"])
    await say(studio, playground, "line\n" * 60)
    await page.get_by_role("button", name="gallery").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("#gallery")
    await composer(page).fill(f"{place}/{first.id}")
    await page.keyboard.press("Enter")
    await messages(page).last.get_by_role("link").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("#easel")
    found = page.locator("#messages .message.found")
    await expect(found).to_contain_text("the very first")
    await expect(found).to_be_in_viewport()
    assert len(page.context.pages) == 1, "a link to a message here opens no window"


async def test_commands_are_read_in_the_chosen_language(
    visit: Visit, studio: Studio, playground: Playground
) -> None:
    page = await visit()
    await page.get_by_role("radio", name="日本語").click()
    await expect(page.get_by_role("radio", name="日本語")).to_have_attribute("aria-checked", "true")
    assert playground.people["alice"].locale == playground.guilds[0].locale == "ja"
    await composer(page).press_sequentially("/想")
    await expect(page.get_by_role("option")).to_contain_text(["/想像"])
    await expect(page.get_by_role("option")).to_contain_text(["説明した絵を描きます"])
    await page.keyboard.press("Enter")
    studio.finish.set()
    await option(page, "プロンプト").fill("赤い狐")
    await page.keyboard.press("Enter")
    await expect(press(page, "U1")).to_be_visible()
    assert studio.calls[0]["prompt"] == "赤い狐"
    await messages(page).last.get_by_role("button", name="More").click()
    await expect(page.get_by_role("menuitem", name="詳細")).to_be_visible()
    await page.keyboard.press("Escape")
    # The bot's own words are understood in every language.
    await composer(page).press_sequentially("/film a cat")
    await page.keyboard.press("Enter")
    await expect(messages(page).last).to_contain_text("a cat / none / none for ja")


async def test_names_with_a_colon_begin_their_option(visit: Visit) -> None:
    page = await visit()
    await composer(page).press_sequentially("/film prompt: a heart model:")
    await expect(option(page, "prompt")).to_have_value("a heart")
    await expect(option(page, "model")).to_be_focused()
    await expect(page.get_by_role("option")).to_contain_text(["emoji", "large"])
    await page.keyboard.type("lar")
    await expect(page.get_by_role("option")).to_have_count(1)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await option(page, "prompt").press("End")
    async with page.expect_file_chooser() as chooser:
        await page.keyboard.type(" image:")
    await (await chooser.value).set_files(
        {"name": "fox.png", "mimeType": "image/png", "buffer": square()}
    )
    await expect(page.get_by_text("fox.png ·")).to_be_visible()
    await page.get_by_role("button", name="Send").click()
    await expect(messages(page).last).to_contain_text("a heart / large / fox.png for en-US")


async def test_a_whole_command_can_be_pasted(visit: Visit) -> None:
    page = await visit()
    await composer(page).fill("/film a cat: the second model: emoji")
    await expect(option(page, "prompt")).to_have_value("a cat: the second")
    await expect(option(page, "model")).to_have_value("emoji")
    await page.keyboard.press("Enter")
    await expect(messages(page).last).to_contain_text("a cat: the second / emoji / none")


async def test_backspace_gives_the_words_back(visit: Visit) -> None:
    page = await visit()
    await composer(page).press_sequentially("/film a sign that says model:")
    await expect(option(page, "model")).to_be_focused()
    await page.keyboard.press("Backspace")
    await expect(option(page, "prompt")).to_be_focused()
    await page.keyboard.type(" T")
    await expect(option(page, "prompt")).to_have_value("a sign that says model: T")


async def test_buttons_show_their_emoji_without_a_font(visit: Visit, studio: Studio) -> None:
    page = await visit()
    await composer(page).press_sequentially("/buttons")
    await page.keyboard.press("Enter")
    message = messages(page).last
    await expect(message.locator(".row")).to_have_count(5)
    drawn = message.locator("button.press .emoji.drawn svg")
    await expect(drawn).to_have_count(len(EMOJI))
    boxes = [await drawn.nth(index).bounding_box() for index in range(len(EMOJI))]
    assert all(box is not None and box["width"] >= 18 for box in boxes)
    await expect(press(page, "🔄")).to_be_enabled()
    await expect(message.locator("button.press:disabled")).to_have_count(1)
    await expect(message.locator(".content svg")).to_have_count(1)
    await expect(message.get_by_label("Sent silently")).to_be_visible()


async def test_several_attachments_with_alt_text_and_a_spoiler(visit: Visit) -> None:
    page = await visit()
    await composer(page).press_sequentially("/film x")
    await page.keyboard.press("Enter")
    message = messages(page).last
    film = message.get_by_role("img", name="three colours in turn")
    await expect(film).to_have_js_property("naturalWidth", 96)
    await expect(message.locator(".alt-badge").filter(visible=True)).to_have_count(1)
    # The same element shows other colours as time goes by: it is alive.
    await page.evaluate(
        """async image => {
        const canvas = document.createElement('canvas');
        const pen = canvas.getContext('2d', { willReadFrequently: true });
        const seen = new Set();
        while (seen.size < 2) {
            await new Promise(requestAnimationFrame);
            const decoder = new ImageDecoder({
                data: await (await fetch(image.src)).arrayBuffer(), type: 'image/webp' });
            await decoder.tracks.ready;
            const count = decoder.tracks.selectedTrack.frameCount;
            for (let index = 0; index < count; index++) {
                const { image: frame } = await decoder.decode({ frameIndex: index });
                pen.drawImage(frame, 0, 0);
                seen.add(String(pen.getImageData(5, 5, 1, 1).data));
            }
        }
    }""",
        await film.element_handle(),
    )
    cover = message.get_by_role("button", name="Spoiler, press to show the picture")
    await cover.click()
    await expect(message.get_by_role("button", name="Open picture: a secret")).to_be_visible()


async def test_every_place_has_its_marks_and_its_commands(visit: Visit) -> None:
    page = await visit()
    await page.get_by_role("button", name="after-dark").click()
    await expect(page.locator("#marks")).to_have_text("18+")
    await page.get_by_role("button", name="notices").click()
    await expect(page.locator("#marks")).to_have_text("the bot may not post")
    await page.get_by_role("button", name="Easel", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("@Easel")
    await composer(page).press_sequentially("/film in private")
    await page.keyboard.press("Enter")
    await expect(messages(page).last).to_contain_text("in private / none")
    await page.get_by_role("radio", name="Bob").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("#easel")
    await page.get_by_role("button", name="Easel", exact=True).click()
    await expect(messages(page)).to_have_count(0)


async def test_a_phone_shows_the_tools_without_hovering(visit: Visit, studio: Studio) -> None:
    page = await visit(screen=PHONE)
    await paint(page, studio)
    await composer(page).press_sequentially("/buttons")
    await page.keyboard.press("Enter")
    await expect(messages(page).last.locator(".row")).to_have_count(5)
    assert await page.evaluate("document.scrollingElement.scrollWidth") == PHONE[0]
    for row in await messages(page).last.locator(".row").all():
        tops = {
            round((await button.bounding_box() or {"y": 0})["y"])
            for button in await row.get_by_role("button").all()
        }
        assert len(tops) == 1, "five buttons stand in one line on a phone too"
