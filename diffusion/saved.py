"""The state of a job that was stopped early, as bytes: what `Continue` goes on from.

A sampler is a coroutine, and what it has in mind is a function of its start and of the answers it
was given. So the answers are the state: a job that goes on starts afresh from the same seeds, hears
the same answers, at no cost, and asks its next question with the same bits as if nobody had ever
stopped it. Promises: safetensors, never a pickle; bytes of another job are refused.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from diffusion.errors import ParamsError
from diffusion.params import Params

_DIGEST: Final = "_params"


def pack(params: Params, answers: Sequence[Sequence[Tensor]]) -> bytes:
    """Write every picture's answers (each C x h x w) to bytes: float32, all of one length."""
    tensors = {str(i): torch.stack(list(given)) for i, given in enumerate(answers)}
    digest = torch.frombuffer(bytearray(_digest(params)), dtype=torch.uint8)
    return save({**tensors, _DIGEST: digest})


def unpack(params: Params, state: bytes, most: int) -> list[list[Tensor]]:
    """Return every picture's answers. Raises ParamsError for bytes that are not of this job, and
    when they are more than the `most` that it asks for before it stops.
    """
    try:
        tensors = load(state)
    except SafetensorError as error:
        raise ParamsError("state", f"{len(state)} bytes", f"it is damaged ({error})") from error
    digest = tensors.pop(_DIGEST, torch.empty(0, dtype=torch.uint8))
    names = {str(i) for i in range(params.images)}
    if bytes(digest.tolist()) != _digest(params) or set(tensors) != names:
        raise ParamsError(
            "state",
            f"{len(state)} bytes",
            "it belongs to another job: nothing but `stop` may change when a job goes on",
        )
    answers = [list(tensors[str(i)]) for i in range(params.images)]
    if len(answers[0]) > most:
        raise ParamsError("stop", params.stop, "the job had got further than that when it stopped")
    return answers


def _digest(params: Params) -> bytes:
    """All that decides what is painted until the stop."""
    written = json.loads(replace(params, stop=100).to_json())
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).digest()
