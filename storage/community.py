"""Order in communities, as an open store keeps it: reports, bans, quotas, the device's time.

What holds of each is in `storage.moderation`; here are its transactions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from storage import moderation
from storage.database import Database
from storage.entries import Ban, Report


class Community:
    """What a store knows of communities."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        """Ask and tell this database."""
        self._database = database
        self._clock = clock

    async def add_report(
        self, *, job_id: str, index: int, guild_id: int | None, reporter_id: int, reason: str
    ) -> Report:
        """Keep a report; a person's second one of a picture is the first, while it is open."""
        new = moderation.new_report(
            job_id=job_id,
            index=index,
            guild_id=guild_id,
            reporter_id=reporter_id,
            reason=reason,
            now=self._clock(),
        )
        return await self._database.write(partial(moderation.add_report, new=new))

    async def report(self, report_id: str) -> Report | None:
        """Return a report; None if it is unknown."""
        return await self._database.read(partial(moderation.report, report_id=report_id))

    async def reports(self, guild_id: int | None, *, open_only: bool = True) -> list[Report]:
        """Return a guild's reports, oldest first; None asks for those of direct messages."""
        return await self._database.read(
            partial(moderation.reports, guild_id=guild_id, open_only=open_only)
        )

    async def settle_report(self, report_id: str, *, by: int, verdict: str) -> Report | None:
        """Record a verdict, unless the report has one; return it as it stands then."""
        now = self._clock()
        return await self._database.write(
            partial(moderation.settle_report, report_id=report_id, by=by, verdict=verdict, now=now)
        )

    async def ban(
        self, guild_id: int | None, user_id: int, *, until: datetime | None, reason: str, by: int
    ) -> Ban:
        """Shut somebody out of a guild, or of everywhere for None."""
        new = Ban(
            guild_id=guild_id,
            user_id=user_id,
            until=until,
            reason=reason,
            by=by,
            created_at=self._clock(),
        )
        return await self._database.write(partial(moderation.ban, new=new))

    async def unban(self, guild_id: int | None, user_id: int) -> bool:
        """Let somebody in again; return whether they were shut out."""
        return await self._database.write(
            partial(moderation.unban, guild_id=guild_id, user_id=user_id)
        )

    async def ban_of(self, guild_id: int | None, user_id: int) -> Ban | None:
        """Return the ban that holds for somebody now, in this guild or everywhere."""
        return await self._database.read(
            partial(moderation.ban_of, guild_id=guild_id, user_id=user_id, now=self._clock())
        )

    async def set_quota(self, guild_id: int | None, user_id: int, seconds: float | None) -> None:
        """Set somebody's own quota of device seconds; None takes it back."""
        await self._database.write(
            partial(moderation.set_quota, guild_id=guild_id, user_id=user_id, seconds=seconds)
        )

    async def quota_of(self, guild_id: int | None, user_id: int) -> float | None:
        """Return somebody's own quota in this guild, or everywhere; None if there is none."""
        return await self._database.read(
            partial(moderation.quota_of, guild_id=guild_id, user_id=user_id)
        )

    async def device_seconds(
        self, requester_id: int, *, since: datetime, guild_id: int | None = None
    ) -> float:
        """Return how long the device worked on what was finished for somebody since then."""
        return await self._database.read(
            partial(
                moderation.device_seconds,
                requester_id=requester_id,
                since=since,
                guild_id=guild_id,
            )
        )
