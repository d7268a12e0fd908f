"""In which language a sentence is said: English in the code, others in `bot/languages/*.po`.

Promises that a sentence without a translation is said in English, that values are put in after the
translation, and that a further language is one more file. `speaking` sets the language of the task
it is entered in, and of the tasks that one starts. Sends nothing and knows no sentence.

A sentence is written where it is said, as `tr("There is no job {job} here.", job=...)`: Babel finds
it there, and a test compares what it finds with the files. A text that is made before anybody asks
for it, such as a table at the top of a module, is wrapped in `mark` and translated when it is used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "languages"
SOURCE: Final = "en"

_spoken: ContextVar[str] = ContextVar("easel-language", default=SOURCE)


def tr(message: str, /, **values: object) -> str:
    """Return a sentence in the language that is spoken now, with its values put in."""
    return _catalogue(_spoken.get()).gettext(message).format(**values)


def trn(one: str, many: str, count: int, /, **values: object) -> str:
    """Return the form of a sentence that fits a count, which it may show as `{count}`."""
    found = _catalogue(_spoken.get()).ngettext(one, many, count)
    return found.format(count=count, **values)


def mark(message: str) -> str:
    """Return the text as it is; it is translated where `tr` uses it."""
    return message


@contextmanager
def speaking(locale: str | None) -> Iterator[None]:
    """Speak a language inside the block, named as Discord names it: "ja", "en-GB", "pt-BR"."""
    token = _spoken.set(language_of(locale))
    try:
        yield
    finally:
        _spoken.reset(token)


def speak(locale: str | None) -> None:
    """Speak a language for the rest of the task that calls this."""
    _spoken.set(language_of(locale))


def spoken() -> str:
    """Return the language that is spoken now."""
    return _spoken.get()


def language_of(locale: str | None) -> str:
    """Return the language to speak to somebody with this locale: their own, or English."""
    known = languages()
    if locale in known:
        return str(locale)
    plain = (locale or "").partition("-")[0]
    return plain if plain in known else SOURCE


@cache
def languages() -> tuple[str, ...]:
    """Return all languages there are, English first."""
    return (SOURCE, *sorted(path.stem for path in FOLDER.glob("*.po")))


def read_all() -> None:
    """Read every language's file now, instead of at its first sentence. Blocks for tenths of a
    second each: call it in a thread.
    """
    for language in languages():
        _catalogue(language)


@cache
def _catalogue(language: str) -> NullTranslations:
    if language == SOURCE:
        return NullTranslations()
    # Babel is needed once a language; importing it here keeps the start quick.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = BytesIO()
    with (FOLDER / f"{language}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=language.replace("-", "_")))
    compiled.seek(0)
    return GNUTranslations(compiled)
