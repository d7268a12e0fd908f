"""Components as the loopback Discord gives them back."""

from bot.playground.components import as_given_back


def test_a_plain_emoji_comes_back_without_what_it_lacks() -> None:
    sent = {"type": 2, "style": 2, "custom_id": "x", "emoji": {"id": None, "name": "🔄"}}
    (row,) = as_given_back([{"type": 1, "components": [sent]}], lambda url: {"url": url})
    assert row["components"][0]["emoji"] == {"name": "🔄"}
    assert sent["emoji"] == {"id": None, "name": "🔄"}, "what was sent stays as it was"
