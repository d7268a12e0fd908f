"""Messages that are more than answers: noted when they are sent, so that forgetting finds them.

Promises that what was sent about a job is in the store as soon as Discord has said its id, also
while the disk is full; that it goes at once where the job was forgotten on the way; and that what
is deleted is dropped there too. What a crash between the two loses is lost to forgetting.
"""

import logging
from dataclasses import dataclass
from functools import partial

from bot.patience import until_stored
from bot.talk import Letter, Passing, Refused, Talk
from storage import Job, SentKind, StorageError, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a message is, which job it is about, and whom it is for or, of a notice, by."""

    kind: SentKind
    job_id: str
    user_id: int


def to_requester(kind: SentKind, job: Job) -> About:
    """Return what a message is that a job's requester gets."""
    return About(kind=kind, job_id=job.id, user_id=job.requester_id)


async def send(
    store: Store,
    talk: Talk,
    channel_id: int,
    letter: Letter,
    *,
    about: About,
    nonce: str,
    reply_to: int | None = None,
) -> None:
    """Send a message and note it; raises what `Talk.send` does."""
    message_id = await talk.send(channel_id, letter, nonce=nonce, reply_to=reply_to)
    await note(store, talk, about, channel_id, message_id)


async def note(store: Store, talk: Talk, about: About, channel_id: int, message_id: int) -> None:
    """Note a message that was just sent; where its job was forgotten meanwhile it is deleted."""
    act = partial(
        store.sent.note,
        about.kind,
        job_id=about.job_id,
        user_id=about.user_id,
        channel_id=channel_id,
        message_id=message_id,
    )
    try:
        if not await until_stored(act):
            await remove(store, talk, channel_id, message_id)
    except StorageError as error:
        log.error("job %s: message %d is not noted: %s", about.job_id, message_id, error)


async def remove(store: Store, talk: Talk, channel_id: int, message_id: int) -> bool | None:
    """Delete a message that a forgetting noted for it; True when it went, False when it never can,
    None when it may later.
    """
    try:
        await talk.delete(channel_id, message_id)
    except Refused as refusal:
        log.info("a message of a forgotten person stays: %s", refusal)
        is_gone = False
    except Passing as trouble:
        log.info("a message of a forgotten person is deleted later: %s", trouble)
        return None
    else:
        is_gone = True
    await store.aftermath.settled([message_id])
    return is_gone


async def delete(store: Store, talk: Talk, channel_id: int, message_id: int) -> None:
    """Delete a message of ours, and drop what is noted of it; raises what `Talk.delete` does."""
    await talk.delete(channel_id, message_id)
    try:
        await store.sent.gone(message_id)
    except StorageError as error:
        # It costs a forgetting one vain request.
        log.warning("message %d is gone, but still noted: %s", message_id, error)
