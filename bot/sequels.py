"""What follows a result: one ping for what was asked for together, and a copy to who wants it.

Promises that a prompt which made several jobs pings once, when the last of them has ended, with the
addresses of all its pictures; and that a lost ping costs nothing but the ping. Never touches the
result itself.
"""

import asyncio
import logging
from collections.abc import Callable

from bot import sent, texts, texts_discord
from bot.config import Config
from bot.judged import is_barred
from bot.patience import until_stored
from bot.preferences import Name
from bot.talk import Letter, Passing, Refused, Talk
from storage import FINAL_STATES, Job, JobKind, JobState, Scope, SentKind, StorageError, Store

log = logging.getLogger(__name__)


class Sequels:
    """The messages that come after a job's own."""

    def __init__(
        self, *, store: Store, talk: Talk, settings: Callable[[], Config], first_pause: float
    ) -> None:
        self._store = store
        self._talk = talk
        self._settings = settings
        self._first_pause = first_pause

    async def ended(self, job: Job, *, message_id: int | None = None) -> None:
        """Ping the requester about a job that ended, in `message_id` if it was posted by an edit,
        which pings nobody; about a group of jobs once, when it is the last.
        """
        if not self._settings().delivery.mention_requester or job.kind is JobKind.UPSCALE:
            return
        group = await until_stored(lambda: self._store.group(job.id))
        if len(group) == 1 and message_id is not None:
            letter = Letter(content=texts.done(job.requester_id), ping=job.requester_id)
            await self._ping(job, letter, reply_to=message_id)
        elif len(group) > 1 and all(each.state in FINAL_STATES for each in group):
            links = [texts_discord.link(each) for each in group if each.state is JobState.POSTED]
            if links:
                text = texts.group_done(job.requester_id, [link for link in links if link])
                letter = Letter(content=text, ping=job.requester_id)
                # The first one's nonce: two that end at once say it once.
                await self._ping(group[0], letter, reply_to=message_id)

    async def copy_home(self, job: Job, letter: Letter) -> None:
        """Send a result to the requester's direct messages too, where they want that."""
        if job.guild_id is None:
            return
        try:
            wanted = await self._store.people.preferences(Scope.USER, job.requester_id)
            if wanted.get(Name.DM) is True and await self._may_leave(job):
                channel_id = await self._talk.direct(job.requester_id)
                about = sent.to_requester(SentKind.COPY, job)
                await sent.send(
                    self._store, self._talk, channel_id, letter, about=about, nonce=f"{job.id}h"
                )
        except (StorageError, Passing, Refused) as trouble:
            log.info("job %s: no copy was sent home (%s)", job.id, trouble)

    async def _may_leave(self, job: Job) -> bool:
        """Say whether a job's pictures may be shown outside of age-restricted channels."""
        pictures = await self._store.pictures(job.id)
        return not any(is_barred(each.media_type, restricted=False) for each in pictures)

    async def _ping(self, job: Job, letter: Letter, *, reply_to: int | None) -> None:
        about = sent.to_requester(SentKind.PING, job)
        for _ in range(2):
            try:
                await sent.send(
                    self._store,
                    self._talk,
                    job.channel_id,
                    letter,
                    about=about,
                    nonce=f"{job.id}m",
                    reply_to=reply_to,
                )
            except (Passing, Refused) as trouble:
                log.info("job %s: the mention failed (%s)", job.id, trouble)
                if isinstance(trouble, Refused):
                    return
                await asyncio.sleep(self._first_pause)
            else:
                return
