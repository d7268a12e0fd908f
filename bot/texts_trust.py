"""What people read about files of weights that are no longer those which were trusted.

Promises what `bot.texts` promises. Hashes and paths are for the admin's log, not for these.
"""

from bot.escape import cut_utf16, escape
from bot.language import tr


def changed_file(kind: str, name: str) -> str:
    """Say that a file of weights is not the one that was trusted, so that it is not loaded."""
    return escape(changed_words(kind, name), 400)


def changed_words(kind: str, name: str) -> str:
    """Say the same in plain words, for what is escaped later."""
    name = cut_utf16(name, 40)
    match kind:
        case "lora":
            what = tr("The LoRA “{name}” is not the file that was trusted here.", name=name)
        case "embedding":
            what = tr("The embedding “{name}” is not the file that was trusted here.", name=name)
        case "upscaler":
            what = tr("The upscaler of this server is not the file that was trusted here.")
        case "describer":
            what = tr("What describes pictures is not the file that was trusted here.")
        case _:
            what = tr("The file “{name}” is not the one that was trusted here.", name=name)
    return f"{what} {tr('It is not used until the admin, whose log says more, accepts it.')}"
