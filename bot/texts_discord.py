"""From a job to the text of its message: which of `bot.texts` applies, with which values.

Promises that a message says the same about the same job whoever writes it, and that all text of
people goes through `bot.texts`. Never sends, never reads the database.
"""

from collections.abc import Sequence

from bot import texts, texts_pictures
from bot.jobs import details_of
from bot.texts import Card, Field, HistoryLine, QueueLine
from diffusion import ModelInfo, Params, TokenCount
from storage import Job, JobKind, QueueFull, StorageError, StoreFull, UserQueueFull


def waiting(job: Job, *, position: int, eta: float | None) -> str:
    """Say where a job stands in the queue."""
    return texts.waiting(job.prompt, job.requester_id, position=position, eta=eta)


def running(job: Job, *, step: int, total: int, eta: float | None) -> str:
    """Say how far a job is."""
    return texts.running(job.prompt, job.requester_id, step=step, total=total, eta=eta)


def posting(job: Job) -> str:
    """Say that the pictures are on their way."""
    return texts.posting(job.prompt, job.requester_id)


def final(job: Job) -> str:
    """Head the pictures."""
    return texts_pictures.heading(job, details_of(job))


def ended(job: Job, sentence: str) -> str:
    """Say why a job has no pictures."""
    return texts.ended(job.prompt, job.requester_id, sentence)


def alt_text(job: Job, tiles: Sequence[int] | None = None) -> str:
    """Describe a job's picture; `tiles` are the numbers of those it has, where some were dropped.

    A single picture has the number that it has in its grid.
    """
    if job.kind in (JobKind.UPSCALE, JobKind.ENLARGE):
        return texts.alt_text(job.prompt, index=job.parent_index)
    numbers = tuple(tiles or range(1, job.images + 1))
    return texts.alt_text(job.prompt, index=numbers[0] if len(numbers) == 1 else None)


def film_text(job: Job) -> str:
    """Describe the film of a job's making."""
    return texts_pictures.film_alt(job.prompt)


def not_accepted(error: StorageError) -> str:
    """Say why a job was not accepted."""
    match error:
        case UserQueueFull():
            return texts.user_queue_full(limit=error.limit)
        case QueueFull():
            return texts.queue_full(position=error.position, limit=error.limit)
        case StoreFull():
            return texts.disk_full()
        case _:
            return texts.storage_failed()


def failure(code: str, job: Job) -> str:
    """Say why a job failed, from the code that is stored with it."""
    match code:
        case "memory":
            return texts.out_of_memory()
        case "unjudged":
            return texts.not_judged(job.model)
        case "numbers":
            return texts.not_a_number(job.model)
        case "model":
            return texts.unknown_model(job.model)
        case "damaged_model":
            return texts.model_damaged(job.model)
        case "source":
            return texts.picture_gone(job.parent_index or 1)
        case "upscaler":
            return texts_pictures.upscaler_failed()
        case "poison":
            return texts.poisoned()
        case "undeliverable":
            return texts.undeliverable(job.channel_id)
        case _:
            return texts.engine_failed(job.id)


def link(job: Job) -> str | None:
    """Return the address of the message that shows the result."""
    if job.post_message_id is None:
        return None
    place = "@me" if job.guild_id is None else str(job.guild_id)
    channel = job.progress_channel_id or job.channel_id
    return f"https://discord.com/channels/{place}/{channel}/{job.post_message_id}"


def history_line(job: Job) -> HistoryLine:
    """Return what a list shows about a job."""
    return HistoryLine(
        job_id=job.id,
        prompt=job.prompt,
        state="deleted" if job.deleted_at is not None else str(job.state),
        created_at=job.created_at,
        link=link(job),
    )


def queue_line(
    job: Job, *, position: int | None, percent: int | None, eta: float | None
) -> QueueLine:
    """Return what /info shows about a job."""
    return QueueLine(job_id=job.id, prompt=job.prompt, position=position, percent=percent, eta=eta)


def lineage(job: Job, parent: Job | None, children: Sequence[Job]) -> Field | None:
    """Return what Info says about where a job's pictures come from and what was made of them."""
    origin = None if parent is None else texts_pictures.origin(_linked(parent), job.parent_index)
    made = [_linked(child) for child in children]
    return texts_pictures.lineage(origin, made)


def _linked(job: Job) -> str:
    address = link(job)
    name = texts.code(job.id, 40)
    return name if address is None else f"[{name}]({address})"


def card(
    job: Job,
    params: Params,
    model: ModelInfo | None,
    command: str,
    tokens: TokenCount | None = None,
) -> Card:
    """Return what Info shows."""
    return Card(
        job_id=job.id,
        params=params,
        requester_id=job.requester_id,
        model_name="" if model is None else model.name,
        model_sha256=None if model is None else model.sha256,
        created_at=job.created_at,
        command=command,
        device_seconds=job.device_seconds,
        parent_id=job.parent_id,
        parent_index=job.parent_index,
        tokens=tokens,
    )
