"""What people read about what is kept of them: taking it along, and having it deleted.

Promises what `bot.texts` promises. Counts are given as they are, zero included.
"""

from bot.language import tr, trn
from storage import Export, Forgotten


def forget_asked() -> str:
    """Ask before everything about a person is deleted."""
    return tr(
        "Delete **everything** that is kept about you, for good? Your jobs, their pictures and "
        "their messages, your settings, shortcuts and favourites go, and what waits or runs is "
        "cancelled. Pictures that others made from yours stay theirs. There is no way back; "
        "/my-data gives you a copy first."
    )


def forget_yes() -> str:
    """Label the button that does it."""
    return tr("Yes, delete everything about me")


def forget_them_asked(user_id: int) -> str:
    """Ask an admin before everything about somebody is deleted."""
    return tr(
        "Delete **everything** that is kept about <@{user}> ({user}), everywhere and for good? "
        "Their jobs, pictures and messages, settings, shortcuts and favourites go, and what waits "
        "or runs is cancelled. There is no way back.",
        user=user_id,
    )


def forget_them_yes() -> str:
    """Label the button that does it."""
    return tr("Yes, delete everything about them")


def forgetting(gone: Forgotten, messages: int) -> str:
    """Say what went, while messages are still being removed."""
    lines = [_gone(gone)]
    if messages:
        lines.append(
            trn(
                "One message is being removed …",
                "{count} messages are being removed …",
                messages,
            )
        )
    return "\n".join(lines)


def forgotten_all(
    *, is_own: bool = True, removed: int, messages: int, later: int, still: int
) -> str:
    """Say how it ended; `later` counts the messages that are still to be removed."""
    counted = {"removed": removed, "messages": messages}
    lines = [
        tr(
            "Nothing is kept about you any more. {removed} of {messages} messages were removed.",
            **counted,
        )
        if is_own
        else tr(
            "Nothing is kept about this person any more. "
            "{removed} of {messages} messages were removed.",
            **counted,
        )
    ]
    if later:
        lines.append(
            trn(
                "One more will be removed later.",
                "{count} more will be removed later.",
                later,
            )
        )
    if removed + later < messages:
        lines.append(tr("The others were gone already, or stand where I may not delete them."))
    if still:
        lines.append(
            trn(
                "One job is just being sent; it goes when it has arrived.",
                "{count} jobs are just being sent; they go when they have arrived.",
                still,
            )
        )
    return "\n".join(lines)


def _gone(gone: Forgotten) -> str:
    return tr(
        "Deleted: {jobs} jobs, {pictures} pictures, {settings} settings, {macros} shortcuts, "
        "{favourites} favourites.",
        jobs=gone.jobs,
        pictures=gone.pictures,
        settings=gone.preferences,
        macros=gone.macros,
        favourites=gone.favourites,
    )


def data(export: Export, *, pictures: int) -> str:
    """Head the files that hold everything about a person."""
    lines = [
        tr("Everything that is kept about you; only you see this."),
        tr(
            "- {jobs} jobs, {pictures} pictures\n- {settings} settings, {macros} shortcuts, "
            "{favourites} favourites, {notes} notes, {reports} reports",
            jobs=len(export.jobs),
            pictures=len(export.pictures),
            settings=len(export.preferences),
            macros=len(export.macros),
            favourites=len(export.favourites),
            notes=len(export.notes),
            reports=len(export.reports),
        ),
    ]
    if export.messages:
        lines.append(
            trn(
                "- One message beside those of the jobs: a copy, ping or notice",
                "- {count} messages beside those of the jobs: copies, pings and notices",
                len(export.messages),
            )
        )
    if export.used is not None:
        seconds = sum(export.used["seconds"].values())
        lines.append(
            tr(
                "- {seconds} s of the quota of {day}, used by jobs that were forgotten since",
                seconds=f"{seconds:.1f}",
                day=export.used["day"],
            )
        )
    if pictures < len(export.pictures):
        lines.append(
            tr(
                "Discord's limit for files leaves room for {some} of the pictures, the newest. "
                "/history and /show have the others.",
                some=pictures,
            )
        )
    return "\n".join(lines)


def data_too_large() -> str:
    """Say that a person's data fits no message."""
    return tr("Your data is larger than a file may be here. Ask the admin for it.")
