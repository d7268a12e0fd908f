"""The page of the playground, driven as a person would: commands, buttons, modals, people."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from playwright.async_api import expect

from tests.browser.hands import Visit, composer, messages, option, paint, press
from tests.browser.studio import Studio

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_command_chosen_by_keyboard_ends_in_a_picture(visit: Visit, studio: Studio) -> None:
    page = await visit()
    await expect(page.get_by_role("heading", name="A blank canvas")).to_be_visible()
    await composer(page).press("/")
    listed = page.get_by_role("option")
    await expect(listed).to_contain_text(["/imagine", "/show"])
    await page.keyboard.type("im")
    await expect(listed).to_have_count(1)
    await page.keyboard.press("Tab")
    await expect(option(page, "prompt")).to_be_focused()
    await page.keyboard.type("a red heart")
    await page.keyboard.press("Enter")

    message = messages(page).last
    await expect(message.get_by_role("img", name="preview of a red heart")).to_be_visible()
    await expect(message).to_contain_text(re.compile(r"Alice\s*used\s*/imagine"))
    await expect(page.get_by_role("heading", name="A blank canvas")).to_be_hidden()
    before = await message.element_handle()
    studio.finish.set()
    picture = message.get_by_role("img", name="a red heart", exact=True)
    await expect(picture).to_have_js_property("naturalWidth", 256)
    await expect(press(page, "U1")).to_be_visible()
    assert before is not None
    assert await before.evaluate("node => node.isConnected"), "the edit built a new message"
    assert [call["prompt"] for call in studio.calls] == ["a red heart"]
    await expect(composer(page)).to_be_focused()


async def test_options_are_typed_and_wrong_values_never_leave_the_page(
    visit: Visit, studio: Studio
) -> None:
    page = await visit()
    studio.finish.set()
    await composer(page).press_sequentially("/imagine ")
    await page.keyboard.press("Enter")
    hint = page.locator("#composer-hint")
    await expect(hint).to_have_text("prompt is needed.")
    await option(page, "prompt").fill("a fox")
    await page.get_by_role("button", name="Add option seed").click()
    await option(page, "seed").fill("101")
    await page.keyboard.press("Enter")
    await expect(hint).to_have_text("seed is at most 100.")
    await expect(option(page, "seed")).to_have_attribute("aria-invalid", "true")
    await option(page, "seed").fill("7")

    await page.get_by_role("button", name="Add option sampler").click()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(option(page, "sampler")).to_have_value("Euler a")
    await page.get_by_role("button", name="Add option tile").click()
    await page.get_by_role("option", name="True").click()
    await page.get_by_role("button", name="Add option image").click()
    await page.locator("#command input[type=file]").set_input_files(
        {"name": "fox.png", "mimeType": "image/png", "buffer": square()}
    )
    await expect(page.get_by_text("fox.png ·")).to_be_visible()
    assert studio.calls == []
    await page.get_by_role("button", name="Send").click()
    await expect(press(page, "U1")).to_be_visible()
    assert studio.calls == [
        {"prompt": "a fox", "seed": 7, "sampler": "euler_a", "tile": True, "image": ("fox.png", 24)}
    ]


async def test_a_command_that_needs_nothing_is_sent_at_once(visit: Visit, studio: Studio) -> None:
    page = await visit()
    await composer(page).press_sequentially("/board")
    await page.keyboard.press("Enter")
    await expect(messages(page).last).to_contain_text(re.compile(r"Alice\s*used\s*/board"))
    await expect(composer(page)).to_have_value("")
    assert studio.calls == [{"board": ""}]
    # A name that was not typed to its end is chosen first, so that its options can be seen.
    await composer(page).press_sequentially("/boa")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Add option note")).to_be_visible()
    await expect(option(page, "note")).to_have_count(0)
    await page.keyboard.press("Enter")
    await expect(messages(page)).to_have_count(2)


async def test_escape_and_backspace_leave_a_command(visit: Visit) -> None:
    page = await visit()
    await composer(page).press_sequentially("/imagine ")
    await expect(option(page, "prompt")).to_be_focused()
    await page.keyboard.press("Backspace")
    await expect(composer(page)).to_have_value("/imagine")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await expect(composer(page)).to_have_value("")
    await composer(page).press_sequentially("/nonsense")
    await expect(page.get_by_text("No command fits.")).to_be_visible()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("There is no command /nonsense.")).to_be_visible()


async def test_autocompletion_asks_the_bot(visit: Visit) -> None:
    page = await visit()
    await composer(page).press_sequentially("/show c")
    await expect(page.get_by_role("option")).to_contain_text(["cat face"])
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(option(page, "job")).to_have_value("cat face")
    await page.keyboard.press("Enter")
    await expect(messages(page).last).to_contain_text("Job: job-cat face")


async def test_an_example_fills_in_the_command(visit: Visit, studio: Studio) -> None:
    page = await visit()
    await page.get_by_role("button", name="panda").click()
    await expect(option(page, "prompt")).to_have_value("panda")
    await page.keyboard.press("Enter")
    await expect(messages(page).get_by_role("img", name="preview of panda")).to_be_visible()


async def test_a_button_waits_visibly_and_silence_is_a_failure(
    visit: Visit, studio: Studio
) -> None:
    page = await visit()
    message = await paint(page, studio)
    await expect(press(page, "Later")).to_be_disabled()
    await press(page, "U1").click()
    await expect(messages(page).get_by_role("img", name="the first tile")).to_be_visible()
    await press(page, "Silence").click()
    await expect(press(page, "Silence")).to_have_attribute("aria-busy", "true")
    await expect(message.get_by_role("status")).to_contain_text("did not respond")
    await expect(press(page, "Silence")).not_to_have_attribute("aria-busy", "true")
    await page.get_by_role("radio", name="Bob").click()
    await expect(message.get_by_role("status")).to_be_hidden()


async def test_a_menu_sends_the_choice(visit: Visit, studio: Studio) -> None:
    page = await visit()
    await paint(page, studio)
    await messages(page).get_by_role("combobox", name="Model").press("ArrowDown")
    await page.keyboard.press("End")
    await page.keyboard.press("Enter")
    await expect(messages(page).last).to_contain_text("Model: Large")


async def test_a_modal_checks_its_fields_and_sends_them(visit: Visit, studio: Studio) -> None:
    page = await visit()
    await paint(page, studio)
    await press(page, "Remix").click()
    dialog = page.get_by_role("dialog", name="Remix")
    await expect(dialog.get_by_label("Prompt")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_have_text("Prompt is needed.")
    await page.keyboard.type("ab")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_have_text("At least 3 characters; these are 2.")
    await page.keyboard.type(" moon")
    await dialog.get_by_role("combobox", name="Strength").click()
    await page.get_by_role("option", name="Strong").click()
    await dialog.get_by_role("button", name="Submit").click()
    await expect(dialog).to_be_hidden()
    await expect(messages(page).last).to_contain_text("Remixed: ab moon, strong")


async def test_an_ephemeral_answer_is_for_one_person_and_can_be_dismissed(
    visit: Visit, studio: Studio
) -> None:
    page = await visit()
    await paint(page, studio)
    await press(page, "Info").click()
    card = messages(page).filter(has_text="Only you can see this")
    await expect(card.get_by_role("heading", name="Parameters")).to_be_visible()
    await expect(card).to_contain_text("seed 7")

    await page.get_by_role("radio", name="Alice").press("ArrowRight")
    await expect(page.get_by_role("radio", name="Bob")).to_have_attribute("aria-checked", "true")
    await expect(press(page, "U1")).to_be_visible()
    await expect(card).to_have_count(0)

    await page.get_by_role("radio", name="Alice").click()
    await expect(card).to_have_count(1)
    await card.get_by_role("button", name="Dismiss message").click()
    await expect(card).to_have_count(0)
    await page.reload()
    await expect(press(page, "U1")).to_be_visible()
    await expect(card).to_have_count(0)


def square() -> bytes:
    """A small PNG to upload."""
    out = io.BytesIO()
    Image.new("RGB", (24, 24), "orange").save(out, "PNG")
    return out.getvalue()
