"""Sentences: each fits its place on Discord, says what is needed, and echoes people safely."""

import inspect
import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot import texts, texts_pictures
from bot.escape import MESSAGE_LIMIT, utf16_length
from bot.prompt import FLAGS, PromptError, parse
from bot.texts import Card, HistoryLine, QueueLine
from diffusion import Params
from storage import JobKind, NewJob

WHEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PARAMS = Params(prompt="a red heart", negative_prompt="blur", seed=7, steps=20, stop=60, tile=True)
EVIL = "`@everyone` **<@5>** [x](https://evil.example)\n\u202e" * 200
ANY = st.text(alphabet=st.characters(exclude_categories=()), max_size=300)


def card(params: Params = PARAMS, command: str = "a red heart --seed 7") -> Card:
    """Make an info card with everything on it."""
    return Card(
        job_id="abcdefghijklm",
        params=params,
        requester_id=5,
        model_name="Easel emoji",
        model_sha256="ab" * 32,
        created_at=WHEN,
        command=command,
        device_seconds=3.21,
        parent_id="zyxwvutsrqpon",
        parent_index=3,
    )


def history_entry(prompt: str = "a red heart") -> HistoryLine:
    """Make one line of a list."""
    link = "https://discord.com/channels/1/2/3"
    return HistoryLine(
        job_id="abcdefghijklm", prompt=prompt, state="failed", created_at=WHEN, link=link
    )


def test_the_progress_line_is_the_one_people_know() -> None:
    assert texts.waiting("a cat", 5, position=3, eta=20) == (
        "`a cat` - <@5> (waiting, position 3, ~20 s)"
    )
    assert texts.running("a cat", 5, step=9, total=28, eta=6) == (
        "`a cat` - <@5> (32 %, step 9/28, ~6 s)"
    )
    assert texts.waiting("a cat", 5, position=1) == "`a cat` - <@5> (waiting, position 1)"
    assert texts.running("a cat", 5, step=0, total=0) == "`a cat` - <@5> (0 %, step 0/0)"
    assert texts.posting("a cat", 5) == "`a cat` - <@5> (100 %, sending)"


DETAILS = {"way": "panl", "factor": 2, "axes": {"x": ["steps 4"], "y": ["赤"]}}


def heading(kind: JobKind, prompt: str = "a cat", **details: object) -> str:
    """Head the pictures of a job of some kind."""
    job = NewJob(
        kind=kind,
        params=PARAMS.to_json(),
        prompt=prompt,
        images=4,
        model="emoji",
        requester_id=5,
        guild_id=1,
        channel_id=2,
        interaction_id=3,
        parent_index=2,
    )
    return texts_pictures.heading(job, {**DETAILS, **details})


def test_the_heading_names_what_it_holds_and_that_a_machine_made_it() -> None:
    assert heading(JobKind.IMAGINE) == "`a cat` - <@5> · AI-generated"
    without_a_picture = {"imagine", "reroll", "continue", "blend", "morph", "grid"}
    for kind in JobKind:
        line = heading(kind)
        assert line.startswith("`a cat` - ")
        assert "<@5>" in line
        assert line.endswith(" · AI-generated")
        assert ("icture 2" in line) == (kind not in without_a_picture)
    lines = [heading(kind) for kind in JobKind]
    assert len(set(lines)) == len(lines)
    assert heading(JobKind.ENLARGE, how="creative") != heading(JobKind.ENLARGE)


@pytest.mark.parametrize(
    ("duration", "shown"),
    [(0, "~1 s"), (0.4, "~1 s"), (6.4, "~6 s"), (59.4, "~59 s"), (90, "~2 min"), (7200, "~2 h")],
)
def test_estimates(duration: float, shown: str) -> None:
    assert texts.seconds(duration) == shown


def test_a_prompt_error_shows_sentence_place_and_mended_prompt() -> None:
    with pytest.raises(PromptError) as caught:
        parse("a `cat` --apsect 3:2")
    shown = texts.prompt_error(caught.value)
    sentence, *block, mended = shown.split("\n")
    assert "nearest is --aspect" in sentence
    assert block[0] == block[-1] == "```"
    assert block[2].index("^") == block[1].index("--apsect")
    assert block[2].count("^") == len("--apsect")
    assert mended == "Something like this would work: `a ˋcatˋ --aspect 3:2`"
    assert texts.mended_prompt(shown) is None


@given(ANY, st.sampled_from(["--apsect 3:2", "--seed x", "--ar 3:2 in a hat", "--chaos 5"]))
@settings(max_examples=200, deadline=None)
def test_a_mended_prompt_is_found_again_sign_for_sign_or_not_at_all(words: str, flag: str) -> None:
    try:
        parse(f"a {words} {flag}")
    except PromptError as error:
        found = texts.mended_prompt(texts.prompt_error(error))
        assert found in {None, error.suggestion}
        if words.isascii() and words.isalnum():
            assert found is not None


def test_a_mended_prompt_too_long_for_a_message_is_only_hinted_at() -> None:
    with pytest.raises(PromptError) as caught:
        parse("cat " * 900 + "--apsect 3:2")
    shown = texts.prompt_error(caught.value)
    assert texts.utf16_length(shown) <= 2000
    assert "Something like this" in shown
    with pytest.raises(PromptError) as caught:
        parse("cat " * 300 + "--apsect 3:2")
    assert texts.mended_prompt(texts.prompt_error(caught.value)) == caught.value.suggestion
    for text in ("", "x", "This would work: ", "This would work: `a` b"):
        assert texts.mended_prompt(text) is None


def test_a_prompt_error_without_a_way_out_offers_none() -> None:
    with pytest.raises(PromptError) as caught:
        parse("--tile")
    assert "would work" not in texts.prompt_error(caught.value)


@given(ANY)
@example("\ud800")
@settings(max_examples=300, deadline=None)
def test_no_prompt_breaks_a_message(prompt: str) -> None:
    # A job with half a character in its prompt cannot be: the grammar takes halves out.
    whole = prompt.encode("utf-8", "ignore").decode("utf-8")
    shown = [
        texts.waiting(prompt, 5, position=1, eta=1),
        texts.running(prompt, 5, step=1, total=2),
        *(heading(kind, whole) for kind in JobKind),
        texts.ended(prompt, 5, texts.out_of_memory()),
        texts.history([history_entry(prompt)] * 30, search=prompt),
        texts.queue_overview(
            [QueueLine(job_id="x", prompt=prompt, position=1)] * 30,
            waiting=1,
            running=1,
            models=[prompt],
            device=prompt,
        ),
    ]
    try:
        parse(prompt)
    except PromptError as error:
        shown.append(texts.prompt_error(error))
    for text in shown:
        assert texts.utf16_length(text) <= texts.MESSAGE_LIMIT
        assert text.encode("utf-8")
        assert "@everyone" not in text
    for text in shown[:3]:
        assert len(text.splitlines()) == 1
        assert text.count("`") == 2
    assert texts.utf16_length(texts.alt_text(prompt)) <= texts.ALT_LIMIT


def test_an_evil_prompt_does_nothing_anywhere() -> None:
    for text in (
        texts.waiting(EVIL, 5, position=1),
        texts.history_line(history_entry(EVIL)),
        texts.unknown_job(EVIL),
        texts.blocked_word(EVIL),
        texts.unknown_model(EVIL),
        texts.show_choice(history_entry(EVIL)),
    ):
        assert "@everyone" not in text
        assert "://" not in text.replace("https://discord.com/channels", "")
        assert "\u202e" not in text
        assert texts.utf16_length(text) <= 2000
    assert re.findall(r"<@\d+>", texts.waiting(EVIL, 5, position=1)) == ["<@5>"]


def test_alt_text_is_cut_to_discords_limit() -> None:
    assert texts.alt_text("a cat", index=2).startswith("Picture 2")
    assert "a cat" in texts.alt_text("a cat")
    long = texts.alt_text("🦊" * 4000)
    assert texts.utf16_length(long) in {1023, 1024}
    assert long.endswith("…")


def test_the_info_card_holds_every_parameter() -> None:
    fields = {field.name: field.value for field in texts.info_card(card())}
    shown = " ".join(fields.values())
    for value in ("a red heart", "blur", "7", "20, stopped at 60 %", "7.5", "DPM++ 2M", "Uniform"):
        assert value in shown
    assert fields["Size"] == "512 × 512"
    assert fields["Tile"] == "yes"
    assert fields["Made from"] == "`zyxwvutsrqpon`, picture 3"
    assert fields["To copy"] == "`a red heart --seed 7`"
    assert fields["Asked"] == "<t:1772366400:f>"
    assert fields["Device time"] == "3.2 s"
    assert "(ababababab)" in fields["Model"]


@given(ANY.filter(lambda text: "\0" not in text and not re.search("[\ud800-\udfff]", text)))
@settings(max_examples=100, deadline=None)
def test_the_info_card_fits_an_embed(prompt: str) -> None:
    long = prompt * 15
    params = Params(prompt=long, negative_prompt=long[::-1])
    fields = texts.info_card(card(params, long))
    assert len(fields) <= 25
    assert all(0 < texts.utf16_length(field.value) <= 1024 for field in fields)
    assert all(field.name for field in fields)
    total = sum(texts.utf16_length(field.name + field.value) for field in fields)
    assert total <= 6000


def test_lists_show_what_fits_and_count_the_rest() -> None:
    shown = texts.history([history_entry("🦊" * 90)] * 60)
    assert texts.utf16_length(shown) <= 2000
    listed = shown.count("abcdefghijklm")
    assert listed >= 5
    assert shown.endswith(f"… and {60 - listed} more")
    assert "No pictures with `x` yet" in texts.history([], search="x")
    assert "failed" in texts.history_line(history_entry())


def test_the_queue_overview() -> None:
    line = QueueLine(job_id="abc", prompt="a cat", position=2, eta=30)
    shown = texts.queue_overview([line], waiting=3, running=1, models=["emoji"], device="cpu")
    assert shown.splitlines()[0] == "1 running, 3 waiting · models `emoji` · cpu"
    assert shown.splitlines()[2] == "`abc` waiting, position 2, ~30 s · `a cat`"
    running = QueueLine(job_id="abc", prompt="a cat", percent=40)
    assert texts.queue_line(running) == "`abc` 40 % · `a cat`"
    assert "nothing waiting" in texts.queue_overview(
        [], waiting=0, running=0, models=["emoji"], device="cpu"
    )


def test_a_choice_fits_discords_limit() -> None:
    assert texts.show_choice(history_entry()) == "03-01 12:00 a red heart"
    assert texts.utf16_length(texts.show_choice(history_entry("🦊" * 200))) <= 100


def test_help_is_made_from_the_table_of_flags() -> None:
    lines = texts.flag_lines()
    assert len(lines) == len(FLAGS)
    for line, flag in zip(lines, FLAGS, strict=True):
        assert texts.utf16_length(line) <= 300
        for name in flag.names:
            assert f"--{name}" in line
        assert flag.help in line
        assert f"Default: {flag.default}." in line


def test_words_on_commands_and_buttons_fit() -> None:
    for table in (texts.COMMANDS, texts.OPTIONS):
        for name, about in table.items():
            assert re.fullmatch(r"[a-z]{1,32}", name)
            assert 0 < len(about) <= 100
    assert all(0 < len(label) <= 80 for label in texts.LABELS.values())
    assert "{index}" in texts.LABELS["upscale"]


SAMPLES = {
    "str": EVIL,
    "int": 123456789,
    "float": 12.5,
    "int | None": None,
    "str | None": None,
    "float | None": None,
}


TOOLS = {
    "escape",
    "one_line",
    "plain",
    "code",
    "cut_utf16",
    "code_block",
    "utf16_length",
    "mended_prompt",
}


def spelled(annotation: object) -> str:
    """Write an annotation as the source has it."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def simple_sentences() -> list[str]:
    """List the sentences that take nothing but texts and numbers."""
    names = [name for name in texts.__all__ if name.islower() and name not in TOOLS]
    return [
        name
        for name in names
        if all(
            spelled(one.annotation) in SAMPLES
            for one in inspect.signature(getattr(texts, name)).parameters.values()
        )
    ]


def test_most_sentences_are_simple() -> None:
    assert len(simple_sentences()) > 35


@pytest.mark.parametrize("name", simple_sentences())
def test_every_sentence_fits_a_message_whatever_it_is_given(name: str) -> None:
    function = getattr(texts, name)
    parameters = inspect.signature(function).parameters.values()
    values = {one.name: SAMPLES[spelled(one.annotation)] for one in parameters}
    # These two are our own words, never a person's.
    values |= {own: "delete this" for own in ("action", "sentence") if own in values}
    told = function(**values)
    if isinstance(told, str):
        assert texts.utf16_length(told) <= 2000
        assert told.strip() == told != ""
        assert "@everyone" not in told
        assert "None" not in told


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (texts.queue_full(position=101, limit=100), ("101", "100", "again")),
        (texts.user_queue_full(limit=5), ("5 jobs", "cancel")),
        (texts.user_queue_full(limit=1), ("one job",)),
        (texts.unknown_job("abc"), ("`abc`", "/history")),
        (texts.not_yours("delete this"), ("can delete this", "moderator")),
        (texts.deleted_job(), ("deleted",)),
        (texts.disk_full(), ("disk", "admin")),
        (texts.engine_failed("abc"), ("`abc`", "again")),
        (texts.model_damaged("emoji"), ("`emoji`", "damaged")),
        (texts.cancelled(5), ("<@5>",)),
        (texts.cancelled(), ("Cancelled",)),
        (texts.restarting(), ("kept",)),
        (texts.interrupted(), ("same pictures",)),
        (texts.undeliverable(9), ("<#9>", "/show")),
        (texts.prompt_too_long(length=6000, limit=4000), ("6,000", "4,000")),
        (texts.port_in_use(8090), ("8090", "--port")),
        (texts.port_forbidden(80), ("80", "--port")),
        (texts.login_refused(), ("DISCORD_TOKEN",)),
    ],
)
def test_a_refusal_says_what_and_what_next(text: str, parts: tuple[str, ...]) -> None:
    for part in parts:
        assert part in text
    assert text.endswith(".")


def test_credits_cannot_speak_for_the_bot() -> None:
    """They stand in a file that may come with anybody's model."""
    shown = texts.about("Easel", {"ink": ["@everyone: **look** [here](https://x.example)"] * 64})
    assert utf16_length(shown) <= MESSAGE_LIMIT
    assert "@everyone" not in shown
    assert "**look**" not in shown
    assert "](" not in shown
    assert "ink" not in texts.about("Easel", {"ink": []})


def test_only_a_project_at_the_end_of_a_credit_is_a_link() -> None:
    shown = texts.about("Easel", {"ink": ["a: B, MIT, https://github.com/b/art"]})
    assert ", <https://github.com/b/art>" in shown
    for hostile in (
        "https://github.com.x.example/b/art",
        "https://x.example/b",
        "https://github.com/b/art?to=x",
    ):
        assert "https://" not in texts.about(
            "Easel", {"ink": [f"a: B, {hostile}", f"{hostile} MIT"]}
        )
