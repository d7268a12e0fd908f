"""Flags that ask for what a model or this engine does not have: one clear sentence each.

Promises that such a flag is never ignored. What the flags mean is in the parser's table.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bot.language import mark, tr
from bot.prompt import ParsedPrompt
from bot.refusals import refuse

_NO_ADAPTER: Final = mark(
    "--{flag} needs an image adapter, and the model {model} has none here. Give the picture to "
    "/imagine as the option image instead; --strength says how much of it stays."
)
_NOTHING_TO_WEIGH: Final = mark("--{flag} weighs --{other}, and there is no --{other} here.")
_OTHER: Final[Mapping[str, str]] = MappingProxyType({"sw": "sref", "cw": "cref"})
_OWN_VAE: Final = frozenset({"auto", "automatic", "none", "default"})


def check_abilities(parsed: ParsedPrompt, model: str) -> None:
    """Refuse references without an adapter, foreign autoencoders, and `--weird`."""
    if parsed.weird:
        message = tr("--weird is not supported here; --chaos spreads a grid, and can be repeated.")
        raise refuse(parsed, "weird", message, None)
    for flag in ("sref", "cref"):
        if getattr(parsed, flag) is not None:
            raise refuse(parsed, flag, tr(_NO_ADAPTER, flag=flag, model=model), None)
    for flag, other in _OTHER.items():
        if getattr(parsed, flag) is not None:
            raise refuse(parsed, flag, tr(_NOTHING_TO_WEIGH, flag=flag, other=other), None)
    if parsed.vae is not None and parsed.vae not in _OWN_VAE:
        message = tr(
            "The model {model} has one autoencoder here, which its admin chooses; --vae takes auto "
            "alone.",
            model=model,
        )
        raise refuse(parsed, "vae", message, "auto")


def check_picture(parsed: ParsedPrompt, *, has_picture: bool) -> None:
    """Refuse what weighs a picture where there is none, and a strength that would paint nothing."""
    for flag in ("iw", "strength"):
        if getattr(parsed, flag) is not None and not has_picture:
            message = tr(
                "--{flag} is about a picture, and there is none: give one to /imagine as the "
                "option image.",
                flag=flag,
            )
            raise refuse(parsed, flag, message, None)
    if parsed.strength == 0:
        message = tr("--strength 0 would paint nothing: the picture stays as it is.")
        raise refuse(parsed, "strength", message, "0.1")
