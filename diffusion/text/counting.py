"""How many tokens a prompt has, and which of its words fall into a later window.

Promises the same cutting as painting does; nothing is encoded. A model that reads no words, or not
in windows, has no count.
"""

from diffusion.model import Model
from diffusion.params import Params
from diffusion.prompts import parse_prompt
from diffusion.text.clip import ClipEncoder
from diffusion.text.windows import Window
from diffusion.words import TokenCount


def count_tokens(model: Model, params: Params) -> TokenCount | None:
    """Count the tokens of a job's prompt at its first step, over all its parts."""
    encoders = () if model.text is None else model.text.encoders
    if not encoders:
        return None
    first, parts = encoders[0], parse_prompt(params.prompt, params.steps).parts
    cuts = [first.windows(part.at(1)) for part in parts]
    return TokenCount(
        tokens=sum(window.length for windows in cuts for window in windows),
        windows=max(map(len, cuts)),
        later=" … ".join(filter(None, (_said(first, windows[1:]) for windows in cuts))),
    )


def _said(encoder: ClipEncoder, windows: list[Window]) -> str:
    """Return the words of windows; vectors of an embedding have none."""
    ids = [token.id for window in windows for token in window.tokens if token.vectors is None]
    return " ".join(encoder.tokenizer.decode(ids).replace("</w>", " ").split())
