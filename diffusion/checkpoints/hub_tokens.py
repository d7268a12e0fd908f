"""The padding token of a hub folder's tokenizer.

Promises: reads bounded JSON only; never builds the tokenizer. Never imports torch.
"""

from pathlib import Path
from typing import Any, Final

from diffusion.checkpoints.hub_fields import read_object

_DESCRIPTIONS: Final = ("special_tokens_map.json", "tokenizer_config.json")


def pad_id(folder: Path) -> int | None:
    """Return the id of the padding token, or None where the folder does not tell."""
    token = next((t for name in _DESCRIPTIONS if (t := _pad_token(folder / name))), None)
    if token is None:
        return None
    if (folder / "vocab.json").is_file():
        return _id(read_object(folder / "vocab.json").get(token))
    if not (folder / "tokenizer.json").is_file():
        return None
    whole = read_object(folder / "tokenizer.json")
    added = whole.get("added_tokens")
    for each in added if isinstance(added, list) else ():
        if isinstance(each, dict) and each.get("content") == token:
            return _id(each.get("id"))
    model = whole.get("model")
    table = model.get("vocab") if isinstance(model, dict) else None
    return _id(table.get(token)) if isinstance(table, dict) else None


def _pad_token(path: Path) -> str | None:
    if not path.is_file():
        return None
    token: Any = read_object(path).get("pad_token")
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _id(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
