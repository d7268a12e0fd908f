"""What people read of order in a community: bans, quotas, pauses, reports, and /admin.

Promises that a refusal names the rule that hit to the one person it hit, and says what to do next;
that admins read what happened, where, and what to do. Sends nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from bot.escape import MESSAGE_LIMIT, code, cut_utf16, escape
from bot.language import mark, tr, trn

COMMANDS: Final = MappingProxyType(
    {
        "admin": mark("Keep order: pause, drain, clear, bans, quotas, settings"),
        "pause": mark("Start no more jobs; those that run go on"),
        "resume": mark("Take jobs again after a pause or a drain"),
        "drain": mark("Accept nothing new; what waits is still painted"),
        "clear": mark("Cancel the jobs that wait"),
        "reload": mark("Read config.toml again now"),
        "ban": mark("Let somebody make no more pictures, for a time or for good"),
        "quota": mark("Give somebody their own seconds of the device a day"),
        "forget": mark("Delete everything about somebody who cannot ask for it themselves"),
    }
)
OPTIONS: Final = MappingProxyType(
    {
        "user": mark("Whom this is about"),
        "whose": mark("Whose jobs; everybody's without it"),
        "time": mark("For how long: 1 hour, 7 days, for good, or lift"),
        "reason": mark("What the person reads when they try"),
        "seconds": mark("Seconds a day, or none to go back to what holds for all"),
    }
)
LABELS: Final = MappingProxyType(
    {
        "rrm": mark("Remove"),
        "rkeep": mark("Keep"),
        "rban": mark("Ban requester"),
        "report": mark("Report"),
    }
)
_HALTS: Final = MappingProxyType({"paused": mark("paused"), "draining": mark("draining")})


def blocked_pattern(pattern: str) -> str:
    """Refuse a prompt for a pattern; only its writer reads this."""
    return tr(
        "This prompt contains what the rule {rule} forbids on this server. Nobody else sees this.",
        rule=code(pattern, 120),
    )


def model_not_allowed(alias: str, allowed: Sequence[str]) -> str:
    """Refuse a model that the person's roles may not use."""
    names = ", ".join(code(name, 40) for name in allowed[:20])
    return tr(
        "Your roles may not use the model {model}; they may use {names}.",
        model=code(alias, 40),
        names=names or "–",
    )


def restricted_only() -> str:
    """Refuse to show a picture outside of age-restricted channels."""
    return tr("This picture may be shown in age-restricted channels alone.")


def banned(reason: str, until: datetime | None) -> str:
    """Refuse somebody who may make no pictures here."""
    why = f" {escape(reason, 300)}" if reason.strip() else ""
    if until is None:
        return tr("The moderators do not let you make pictures here.{why}", why=why)
    return tr(
        "The moderators do not let you make pictures here until {moment}.{why}",
        moment=moment(until, "f"),
        why=why,
    )


def quota_used_up(*, limit: float, resets: datetime) -> str:
    """Refuse somebody who used up the day's seconds."""
    return tr(
        "You have used your {limit} seconds of the device for today, with what waits; there are "
        "new ones {moment}.",
        limit=f"{limit:,.0f}",
        moment=moment(resets, "R"),
    )


def draining() -> str:
    """Refuse a job because nothing new is taken in."""
    return tr("An admin has closed the queue for now: what waits is painted, nothing new is taken.")


def paused() -> str:
    """Say that a job waits for longer than its place in the queue."""
    return tr("An admin has paused painting; this goes on by itself afterwards.")


def used_today(*, used: float, limit: float | None, resets: datetime) -> str:
    """Say how much of the day's seconds is used."""
    if limit is None:
        return tr("Today you have used {used} s of the device.", used=f"{used:.1f}")
    return tr(
        "Today you have used {used} of your {limit} s of the device; new ones {moment}.",
        used=f"{used:.1f}",
        limit=f"{limit:,.0f}",
        moment=moment(resets, "R"),
    )


def moment(when: datetime, style: str) -> str:
    """Write a moment so that Discord shows it in the reader's own time zone."""
    return f"<t:{int(when.timestamp())}:{style}>"


# Reports.


def reported() -> str:
    """Thank for a report."""
    return tr("Thank you. The moderators will look at this picture.")


def report_notice(
    *, report_id: str, job_id: str, requester_id: int, reporter_id: int, link: str
) -> str:
    """Tell the moderators of a report.

    The prompt is behind the link, where it goes when its writer wants to be forgotten.
    """
    return tr(
        "Report {report}: <@{reporter}> reported job {job} of <@{requester}>: {link}",
        report=code(report_id, 40),
        reporter=reporter_id,
        job=code(job_id, 40),
        requester=requester_id,
        link=link,
    )


def report_settled(verdict: str, by: int) -> str:
    """Say what became of a report."""
    done = {
        "rrm": tr("Removed by <@{by}>.", by=by),
        "rkeep": tr("Kept by <@{by}>.", by=by),
        "rban": tr("Removed, and its requester banned, by <@{by}>.", by=by),
    }
    return done.get(verdict, tr("Settled by <@{by}>.", by=by))


def unknown_report() -> str:
    """Answer a button whose report is not kept any more."""
    return tr("This report is no longer in the records.")


def already_settled(by: int | None) -> str:
    """Answer a second verdict."""
    return tr("This report is already settled, by <@{by}>.", by=by or 0)


def moderators_only() -> str:
    """Refuse a moderator's button or command."""
    return tr(
        "Only who may manage this server, or an admin named in the bot's settings, can do this."
    )


def admins_only() -> str:
    """Refuse what reaches beyond a server."""
    return tr("Only an admin named in the bot's settings can do this: it holds for every server.")


def banned_for_report(report_id: str) -> str:
    """Give the reason of a ban that follows a report."""
    return tr("A picture of yours was reported and removed ({report}).", report=report_id)


# /admin.


def halted(halt: str | None, *, everywhere: bool) -> str:
    """Confirm a pause, a drain or their end."""
    here = tr("everywhere") if everywhere else tr("on this server")
    match halt:
        case "paused":
            return tr("Paused {here}: nothing is started; what runs goes on.", here=here)
        case "draining":
            return tr("Draining {here}: nothing new is taken; what waits is painted.", here=here)
        case _:
            return tr("Jobs are taken and painted again {here}.", here=here)


def still_halted(halt: str) -> str:
    """Say that work stays halted by those who may halt it everywhere."""
    how = tr(_HALTS[halt])
    return tr("An admin of the bot has halted everything, though ({halt}).", halt=how)


def cleared(count: int) -> str:
    """Confirm that waiting jobs were cancelled."""
    return trn("{count} waiting job cancelled.", "{count} waiting jobs cancelled.", count)


def cleared_by(admin_id: int) -> str:
    """Tell a requester why a waiting job is gone."""
    return tr("Cancelled by <@{admin}>, who cleared the queue.", admin=admin_id)


def ban_set(user_id: int, until: datetime | None) -> str:
    """Confirm a ban."""
    if until is None:
        return tr("<@{user}> makes no more pictures here.", user=user_id)
    when = moment(until, "f")
    return tr("<@{user}> makes no pictures here until {moment}.", user=user_id, moment=when)


def ban_lifted(user_id: int, *, was: bool) -> str:
    """Confirm the end of a ban."""
    if was:
        return tr("<@{user}> may make pictures again.", user=user_id)
    return tr("<@{user}> was not banned here.", user=user_id)


def not_a_time(text: str) -> str:
    """Refuse a time that cannot be read."""
    return tr(
        "{text} is no time I can read. Write for instance 30 minutes, 1 hour, 7 days, for good, "
        "or lift.",
        text=code(text, 60),
    )


def not_seconds(text: str) -> str:
    """Refuse a number of seconds that cannot be read."""
    return tr(
        "{text} is no number of seconds from 0 to 86400. Write for instance 600, or none.",
        text=code(text, 60),
    )


def quota_set(user_id: int, seconds: float | None) -> str:
    """Confirm a quota."""
    if seconds is None:
        return tr("<@{user}> has what their roles have again.", user=user_id)
    return tr("<@{user}> has {seconds} s a day.", user=user_id, seconds=f"{seconds:g}")


def reloaded(changes: Sequence[str]) -> str:
    """Confirm that the settings were read again."""
    if not changes:
        return tr("config.toml is read, and says nothing new.")
    lines = "\n".join(f"- {escape(line, 200)}" for line in changes[:20])
    return cut_utf16(tr("config.toml is in force now:") + f"\n{lines}", MESSAGE_LIMIT)


def reload_refused(reason: str) -> str:
    """Say why the settings were not taken over."""
    told = escape(reason, 1500)
    return cut_utf16(
        tr("config.toml is not applied; the settings before stay in force: {reason}", reason=told),
        MESSAGE_LIMIT,
    )


def no_reload() -> str:
    """Answer /admin reload where there is no file."""
    return tr("This bot runs without a config.toml, so there is nothing to read.")
