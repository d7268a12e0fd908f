"""Whether the influence of a word is what a picture would lose without it.

Run: python -m tests.benchmarks.influence [--model emoji]
Paints every prompt whole and without each of its words, four pictures from the same seeds, and
prints how well two measurements rank the words by the mean change of the pixels: the attention that
a word's own tokens get, and `diffusion.influence`; beside them how well two of the four pictures
rank the change of the other two, more than which nothing can. Then what is under and over the
thresholds of `bot.shortening` changes, beside a word's fair part. Promises the same numbers each
time.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from bot.shortening import IDLE, STRONG
from diffusion import Influence, Model, Params, generate, load_model
from diffusion.influence import _asked, _guide, influence_of, listen_params
from diffusion.inputs import Inputs
from diffusion.painting import Painting
from diffusion.plan import plan_for
from diffusion.starts import start_paintings
from diffusion.tiles import finish
from diffusion.words import without

Numbers = NDArray[np.float64]

PROMPTS: Final = (
    "a lovely big red heart on a very bright green background",
    "please a beautiful yellow star on a dark blue background",
    "very nice beautiful red rose flower",
    "a cute smiling cat face with heart eyes",
    "the smiling face with tears of joy",
    "a small green tree in a garden",
    "a shiny yellow car and a blue house",
    "a big blue fish under water",
    "black and white soccer ball, 3d style",
    "a delicious slice of pizza with cheese",
    "an orange pumpkin with a scary face",
    "a purple umbrella in the rain",
    "a wonderful golden crown, twemoji style",
    "please paint a pink pig, noto style",
    "a really very angry red face",
    "a tiny brown bear on a white background",
    "two red cherries with a green leaf",
    "a stunning rocket on a purple background, 3d style",
    "a gorgeous glass of cold orange juice",
    "the full moon on a black background",
    "a lovely green apple on a red background",
    "an amazing grey elephant, very big, 3d style",
    "a bright rainbow over a white cloud",
    "a beautiful blue butterfly on a yellow background",
    "a sleepy brown dog wearing a green hat",
    "a very simple purple heart",
)


def paint(model: Model, prompt: str) -> Numbers:
    """Paint four small pictures of a prompt: 4 x H x W x 3."""
    info = model.info
    params = Params(
        prompt=prompt,
        seed=11,
        steps=10,
        images=4,
        width=info.native_width,
        height=info.native_height,
        guidance_scale=info.defaults.guidance_scale,
        schedule=info.defaults.schedule,
    )
    pictures = list(generate(model, params))[-1].pictures or ()
    return np.stack([np.asarray(each, dtype=np.float64) for each in pictures])


def changes(model: Model, prompt: str, words: Sequence[Influence]) -> Numbers:
    """Return how far the pictures change without each word: words x 4."""
    whole = paint(model, prompt)
    lacking = (paint(model, without(prompt, [word])) for word in words)
    return np.stack([np.abs(each - whole).mean(axis=(1, 2, 3)) for each in lacking])


@torch.inference_mode()
def attention(model: Model, prompt: str, words: Sequence[Influence]) -> Numbers:
    """Return how much attention each word's own tokens get in the same short painting."""
    text = model.text
    if text is None:
        raise ValueError("a model without words")
    params = listen_params(model, prompt)
    plan = plan_for(model, params, has_image=False)
    guide = _guide(model, params, prompt)
    (started,) = finish(start_paintings(model, params, plan, (guide,), Inputs(), None))
    context = model.encode_prompts([prompt]).context.to(model.device, model.dtype)
    heard = [
        layer.weights(x, layer.keys_values(context)[0]).mean(dim=(0, 1, 2))
        for asked in _asked(model, cast(Painting, started))
        for layer, x in asked
    ]
    mass = torch.stack(heard).mean(dim=0)[text.places(prompt)].tolist()
    ends = [0, *(len(text.places(prompt[: word.end])) for word in words)]
    return np.array([sum(mass[a:b]) for a, b in pairwise(ends)])


def agreement(one: Numbers, other: Numbers) -> float:
    """Return Spearman's rank correlation; equal numbers share their mean rank."""
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def _ranks(numbers: Numbers) -> Numbers:
    below = (numbers[:, None] > numbers).sum(axis=1)
    equal = (numbers[:, None] == numbers).sum(axis=1)
    return np.asarray(below + (equal - 1) / 2, dtype=np.float64)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="emoji")
    model = load_model(parser.parse_args().model)
    columns: dict[str, list[float]] = {"attention": [], "influence": [], "other seeds": []}
    parts: dict[str, list[float]] = {"struck": [], "plain": [], "bold": []}
    for prompt in PROMPTS:
        with torch.inference_mode():
            words = finish(influence_of(model, listen_params(model, prompt)))
        changed = changes(model, prompt, words)
        truth, shares = changed.mean(axis=1), np.array([word.share for word in words])
        columns["attention"].append(agreement(attention(model, prompt, words), truth))
        columns["influence"].append(agreement(shares, truth))
        columns["other seeds"].append(
            agreement(changed[:, :2].mean(axis=1), changed[:, 2:].mean(axis=1))
        )
        for share, part in zip(shares * len(words), truth / truth.mean(), strict=True):
            how = "struck" if share <= IDLE else "bold" if share >= STRONG else "plain"
            parts[how].append(part)
    for name, found in columns.items():
        print(f"{name}: {np.mean(found):.3f}, worst {min(found):.3f}")  # noqa: T201 - its purpose
    for name, found in parts.items():
        print(f"{name}: {len(found)} words change {np.mean(found):.2f}")  # noqa: T201 - its purpose


if __name__ == "__main__":
    main()
