"""Every sentence a person reads on Discord, as functions of plain values.

Promises that each text fits into a message (2,000 UTF-16 units), that text typed by people went
through `bot.escape` first, and that a refusal says what to do next. Sends nothing, and knows
neither Discord's objects nor the database's. `<@id>` names a person; who is pinged is decided by
the sender's allowed mentions, never in here.
"""

from typing import Final

from bot.escape import (
    ALT_LIMIT,
    MESSAGE_LIMIT,
    code,
    code_block,
    cut_utf16,
    escape,
    one_line,
    plain,
    utf16_length,
)
from bot.language import languages, mark, speaking, tr, trn
from bot.prompt.errors import PromptError
from bot.texts_help import COMMANDS, LABELS, OPTIONS, about, flag_lines
from bot.texts_jobs import (
    Card,
    Field,
    HistoryLine,
    QueueLine,
    alt_text,
    done,
    ended,
    group_done,
    history,
    history_line,
    info_card,
    posting,
    queue_line,
    queue_overview,
    running,
    seconds,
    show_choice,
    waiting,
)

_MENDED: Final = mark("This would work: {prompt}")

__all__ = [
    "ALT_LIMIT",
    "COMMANDS",
    "LABELS",
    "MESSAGE_LIMIT",
    "OPTIONS",
    "Card",
    "Field",
    "HistoryLine",
    "QueueLine",
    "about",
    "already_ended",
    "alt_text",
    "blocked_word",
    "cancelled",
    "code",
    "code_block",
    "cut_utf16",
    "delete_asked",
    "deleted",
    "deleted_job",
    "disk_full",
    "done",
    "ended",
    "engine_failed",
    "escape",
    "flag_lines",
    "group_done",
    "history",
    "history_line",
    "info_card",
    "internal_error",
    "interrupted",
    "login_refused",
    "mended_prompt",
    "model_damaged",
    "not_a_number",
    "not_yours",
    "one_line",
    "out_of_memory",
    "picture_gone",
    "plain",
    "poisoned",
    "port_forbidden",
    "port_in_use",
    "posting",
    "prompt_error",
    "prompt_too_long",
    "queue_full",
    "queue_line",
    "queue_overview",
    "restarting",
    "running",
    "seconds",
    "show_choice",
    "starting",
    "storage_failed",
    "too_many_images",
    "too_many_pixels",
    "too_many_repeats",
    "too_many_steps",
    "undeliverable",
    "unknown_button",
    "unknown_job",
    "unknown_model",
    "user_queue_full",
    "utf16_length",
    "waiting",
]


def prompt_error(error: PromptError) -> str:
    """Show a prompt's fault: the sentence, the place under a caret, and the mended prompt.

    A mended prompt that can be shown sign for sign stands last, where `mended_prompt` finds it.
    """
    text = f"{escape(error.message, 400)}\n{code_block(error.caret())}"
    if error.suggestion is None:
        return text
    shown = code(error.suggestion, MESSAGE_LIMIT)
    exact = f"{text}\n{tr(_MENDED, prompt=shown)}"
    if shown == f"`{error.suggestion}`" and utf16_length(exact) <= MESSAGE_LIMIT:
        return exact
    shorter = tr("Something like this would work: {prompt}", prompt=code(error.suggestion, 300))
    return f"{text}\n{shorter}"


def mended_prompt(text: str) -> str | None:
    """Find, in what `prompt_error` wrote in any language, the prompt that works, or None."""
    *_, last = text.split("\n")
    for language in languages():
        with speaking(language):
            before, _, after = tr(_MENDED, prompt="`\0`").partition("\0")
        if last.startswith(before) and last.endswith(after) and len(last) > len(before + after):
            return last[len(before) : len(last) - len(after)]
    return None


def prompt_too_long(*, length: int, limit: int) -> str:
    """Refuse a prompt for its length."""
    return tr(
        "This prompt is {length:,} characters long; {limit:,} is the most here. "
        "The model reads only its first words anyway: shorten it.",
        length=length,
        limit=limit,
    )


def blocked_word(word: str) -> str:
    """Refuse a prompt for a word; only its writer reads this."""
    return tr(
        "The word {word} is not allowed on this server. Nobody else sees this.",
        word=code(word, 80),
    )


def too_many_steps(*, steps: int, limit: int) -> str:
    """Refuse a job for its steps."""
    return tr(
        "This would take {steps} steps; {limit} is the most here. Lower --steps or --quality.",
        steps=steps,
        limit=limit,
    )


def too_many_pixels(*, width: int, height: int, limit: int) -> str:
    """Refuse a job for its size."""
    return tr(
        "Pictures of {width} × {height} are too large here; {limit:,} pixels are the most.",
        width=width,
        height=height,
        limit=limit,
    )


def too_many_images(*, images: int, limit: int) -> str:
    """Refuse a job for its number of pictures."""
    return tr(
        "This would be {images} pictures; a grid has at most {limit}.", images=images, limit=limit
    )


def too_many_repeats(*, repeats: int, limit: int) -> str:
    """Refuse a prompt for its runs."""
    return tr(
        "This would be {repeats} runs of one prompt; {limit} is the most here.",
        repeats=repeats,
        limit=limit,
    )


def queue_full(*, position: int, limit: int) -> str:
    """Refuse a job because too many wait."""
    return tr(
        "The queue is full: {limit} jobs wait, and this one would be number {position}. "
        "Try again in some minutes; nothing was started.",
        limit=limit,
        position=position,
    )


def user_queue_full(*, limit: int) -> str:
    """Refuse a job because its requester has too many waiting."""
    return trn(
        "You already have one job waiting, which is the most for one person. Wait for it to "
        "finish, or cancel it; /info lists them.",
        "You already have {count} jobs waiting, which is the most for one person. Wait for one to "
        "finish, or cancel one; /info lists them.",
        limit,
    )


def unknown_button() -> str:
    """Answer a button that this version of the bot never made."""
    return tr("I do not know this button. It may come from another version of me.")


def unknown_job(job_id: str) -> str:
    """Answer a job id that is not in the records."""
    return tr("There is no job {job} here. /history lists yours.", job=code(job_id, 40))


def unknown_model(alias: str) -> str:
    """Answer a button whose model this server no longer has."""
    return tr("The model {model} of this job is no longer on this server.", model=code(alias, 40))


def deleted_job() -> str:
    """Answer a button whose job has been deleted."""
    return tr("This job has been deleted, so nothing can be made of it any more.")


def not_yours(action: str) -> str:
    """Refuse somebody else's button; `action` is what it would do, as in `delete this`."""
    return tr(
        "Only the person who asked for these pictures, or a moderator, can {action}.",
        action=action,
    )


def already_ended() -> str:
    """Answer Cancel on a job that is no longer waiting or running."""
    return tr("This job has already ended; there is nothing left to cancel.")


def delete_asked() -> str:
    """Ask before pictures are deleted."""
    return tr("Delete this message and its pictures for good?")


def deleted() -> str:
    """Confirm a deletion."""
    return tr("Deleted.")


def picture_gone(index: int) -> str:
    """Answer a button whose picture file is missing or damaged."""
    return tr("The file of picture {index} is missing or damaged. 🔄 paints it again.", index=index)


def disk_full() -> str:
    """Refuse a job because the disk is nearly full."""
    return tr("The disk of this server is nearly full, so nothing new is started. Tell its admin.")


def storage_failed() -> str:
    """Refuse a job because it cannot be recorded."""
    return tr("The job could not be recorded, so it was not started. Try again, or tell the admin.")


def starting() -> str:
    """Answer while the model is still being loaded."""
    return tr("Still loading the model. Try again in a few seconds.")


def restarting() -> str:
    """Tell a requester that the bot stops while their job waits or runs."""
    return tr("The bot is restarting. This job is kept and goes on by itself afterwards.")


def interrupted() -> str:
    """Tell a requester that their job begins anew after a crash."""
    return tr(
        "The bot was interrupted. This job starts again by itself and gives the same pictures."
    )


def cancelled(canceller_id: int | None = None) -> str:
    """Say that a job was cancelled."""
    if canceller_id is None:
        return tr("Cancelled.")
    return tr("Cancelled by {who}.", who=f"<@{canceller_id}>")


def engine_failed(job_id: str) -> str:
    """Say that a job failed in the engine."""
    return tr(
        "Painting failed. Try it once more; if it fails again, give the admin the job's id, {job}.",
        job=code(job_id, 40),
    )


def out_of_memory() -> str:
    """Say that a job did not fit into the device."""
    return tr("These pictures do not fit into the device's memory. Ask for a smaller shape.")


def not_a_number(alias: str) -> str:
    """Say that the network computed no picture."""
    return tr(
        "The model {model} computed no picture from this. Lower --cfg or take another sampler.",
        model=code(alias, 40),
    )


def not_judged(alias: str) -> str:
    """Say that pictures without a verdict are not shown."""
    return tr(
        "The safety checker of the model {model} gave no verdict, so its pictures are not shown. "
        "An admin finds the reason in the log.",
        model=code(alias, 40),
    )


def model_damaged(alias: str) -> str:
    """Say that a model's files cannot be used."""
    return tr("The files of the model {model} are damaged. Tell the admin.", model=code(alias, 40))


def poisoned() -> str:
    """Say that a job is given up because it stopped the bot again and again."""
    return tr(
        "This job stopped the bot several times, so it is not tried again. The admin is told."
    )


def undeliverable(channel_id: int) -> str:
    """Say, elsewhere, that a result could not be posted where it was asked for."""
    return tr(
        "The pictures are ready, but I may not post in {channel}. They are kept: "
        "/show posts them where I may.",
        channel=f"<#{channel_id}>",
    )


def internal_error(reference: str) -> str:
    """Say that something unforeseen happened, with a reference into the log."""
    return tr(
        "Something went wrong that should not. The admin finds it as {reference}.",
        reference=code(reference, 40),
    )


def port_in_use(port: int) -> str:
    """Say that a port is taken."""
    return (
        f"Port {port} on 127.0.0.1 is in use by another program. Choose another with --port, or 0 "
        "for any free one."
    )


def port_forbidden(port: int) -> str:
    """Say that this user may not open a port."""
    return f"Port {port} may not be opened by this user. Choose one from 1024 up with --port."


def login_refused() -> str:
    """Say that Discord does not know the token."""
    return (
        "Discord refused the token. It was changed or revoked: make a new one on the "
        "application's Bot page and give it in DISCORD_TOKEN."
    )
