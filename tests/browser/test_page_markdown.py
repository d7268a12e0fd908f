"""The markdown of messages, asked of the page's own module inside the browser."""

from __future__ import annotations

import pytest

from tests.browser.hands import Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

RENDER = """async texts => {
    const { markdown } = await import(new URL('static/markdown.js', location.href).href);
    const context = {
        meId: () => '1', userName: id => `user${id}`, channelName: id => `room${id}`,
        openChannel: () => {}, fillCommand: () => {},
    };
    const inside = node => [...node.childNodes].map(outline).join('');
    const outline = node => {
        if (node.nodeType === Node.TEXT_NODE) return node.data;
        if (node.className === 'text-run') return inside(node);
        return `<${node.localName}>${inside(node)}</>`;
    };
    return texts.map(text => {
        const holder = document.createElement('div');
        holder.append(markdown(text, context));
        return inside(holder);
    });
}"""

CASES = {
    "a **b** *c* _d_ __e__ ~~f~~": "a <strong>b</> <em>c</> <em>d</> <u>e</> <s>f</>",
    "***x*** and *a **b** c*": "<strong><em>x</></> and <em>a <strong>b</> c</>",
    "snake_case_stays _a_b_": "snake_case_stays <em>a_b</>",
    "2 * 3 * 4, **open, `open": "2 * 3 * 4, **open, `open",
    r"\*plain\*": "*plain*",
    "`**x**` ``a`b``": "<code>**x**</> <code>a`b</>",
    "```py\nx = **1**\n```after": "<pre><code>x = **1**</></>after",
    "||a **b**||": "<span><span>a <strong>b</></></>",
    "<@1> <#2> </imagine:3>": "<span>@user1</> <button>#room2</> <button>/imagine</>",
    "[go](https://e.org/x) https://e.org/y.": "<a>go</> <a>https://e.org/y</>.",
    "https://discord.com/channels/1/2/3": "<a>#room2 › message</>",
    "<https://discord.com/channels/1/2/3> [go](https://discord.com/channels/1/2/3)": (
        "<a>#room2 › message</> <a>go</>"
    ),
    "[no](javascript:alert(1))": "[no](javascript:alert(1))",
    "# big\n> said\n- one\n- two\n-# small": (
        "<div>big</><blockquote>said</><ul><li>one</><li>two</></><div>small</>"
    ),
    "<script>alert(1)</script>": "<script>alert(1)</script>",
    "<t:1700000000:D>": "<time>November 14, 2023</>",
}
HOSTILE = [mark * 2000 for mark in ("*", "_", "|", "`", "[(", "> ")] + [
    "*" + "a**b**" * 600,
    "_" + "a_b" * 900,
    "[a](https://" * 300,
    "<t:1:" * 600,
]


async def test_marks_become_elements_and_everything_else_stays_text(visit: Visit) -> None:
    page = await visit()
    assert await page.evaluate(RENDER, list(CASES)) == list(CASES.values())


async def test_hostile_text_is_drawn_at_once(visit: Visit) -> None:
    page = await visit()
    started = await page.evaluate("performance.now()")
    drawn = await page.evaluate(RENDER, HOSTILE)
    assert len(drawn) == len(HOSTILE)
    assert await page.evaluate("performance.now()") - started < 2000
