"""LoRAs and words that were trained here, in diffusers and peft: the same file on the same weights
gives what the training network gave.
"""

import copy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.train.tuning.lowrank import LowRank, write_lora
from diffusion.train.tuning.tune import Run
from diffusion.train.tuning.watching import finish
from diffusion.train.tuning.words import added_vector, captions_context, encode_captions
from tests.parity.pipelines import system
from tests.parity.test_lora import BOUND, relative
from tests.thinning import thinned
from tests.tuning import CAPTION, recipe, trained

# Large steps, so that there is something to compare.
LEARNED: dict[str, Any] = {"steps": 3, "batch": 2, "side": 32, "learning_rate": 0.02}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The peers warn about one another's versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def theirs_with(name: str, path: Path) -> Any:  # noqa: ANN401 - a foreign class
    """A copy of diffusers' pipeline that has loaded the file by its own reader."""
    pipeline = copy.deepcopy(system(name).pipeline)
    pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="ours")
    return pipeline


def written(run: Run, path: Path) -> Path:
    assert isinstance(run.trained, LowRank)
    return write_lora(path, run.trained, run.weights, {}, dtype=torch.float32)


def ids(pipeline: Any, caption: str) -> Tensor:  # noqa: ANN401 - a foreign class
    found = pipeline.tokenizer(caption, padding="max_length", max_length=77, truncation=True,
                               return_tensors="pt").input_ids  # fmt: skip
    return torch.as_tensor(found)


@pytest.mark.parametrize("convolutions", thinned([True, False], every=2))
@pytest.mark.parametrize("name", ["sd1", "sd2"])
@torch.no_grad()
def test_diffusers_loads_a_lora_of_ours(name: str, convolutions: bool, tmp_path: Path) -> None:
    chosen = recipe(text=True, convolutions=convolutions, **LEARNED)
    with torch.enable_grad():
        run = trained(tmp_path, chosen, model=system(name).folder)
    subject = run.subject
    generator = torch.Generator().manual_seed(5)
    x, t = torch.randn(2, 4, 16, 16, generator=generator), torch.tensor([200, 700])
    # diffusers' reader needs to be told nothing: names, ranks and alphas are kohya's.
    peer = theirs_with(name, written(run, tmp_path / "lora.safetensors"))
    with run.attached():
        context = captions_context(subject.encoder, [CAPTION, CAPTION])
        ours = subject.unet(x, t, context)
    plain = subject.unet(x, t, captions_context(subject.encoder, [CAPTION, CAPTION]))
    states = peer.text_encoder(ids(peer, CAPTION))[0].expand(2, -1, -1)
    assert relative(context, states) <= BOUND
    assert relative(ours, peer.unet(x, t, states).sample) <= BOUND
    assert relative(plain, ours) > 100 * BOUND, "nothing was learned: the test is blind"


@torch.no_grad()
def test_diffusers_loads_a_lora_of_stable_diffusion_xl(tmp_path: Path) -> None:
    with torch.enable_grad():
        run = trained(tmp_path, recipe(**LEARNED), model=system("sdxl").folder)
    subject = run.subject
    found = encode_captions(subject, [CAPTION])[CAPTION]
    added = added_vector(subject, [found], 48, 32)
    generator = torch.Generator().manual_seed(5)
    x, t = torch.randn(1, 4, 16, 24, generator=generator), torch.tensor([300])
    peer = theirs_with("sdxl", written(run, tmp_path / "lora.safetensors"))
    with run.attached():
        ours = subject.unet(x, t, found.context[None], added)
    assert found.pooled is not None
    sizes = torch.tensor([[32.0, 48, 0, 0, 32, 48]])
    extra = {"text_embeds": found.pooled[None], "time_ids": sizes}
    theirs = peer.unet(x, t, found.context[None], added_cond_kwargs=extra).sample
    assert relative(ours, theirs) <= BOUND
    plain = subject.unet(x, t, found.context[None], added)
    assert relative(plain, ours) > 100 * BOUND, "nothing was learned: the test is blind"


@torch.no_grad()
def test_diffusers_loads_a_word_of_ours(tmp_path: Path) -> None:
    with torch.enable_grad():
        chosen = recipe("inversion", vectors=2, **LEARNED)
        run = trained(tmp_path, chosen, model=system("sd1").folder)
    path = finish(run, tmp_path / "drawings")
    pipeline = copy.deepcopy(system("sd1").pipeline)
    pipeline.load_textual_inversion(str(path))
    prompt = pipeline.maybe_convert_prompt("a fish, inky", pipeline.tokenizer)
    theirs = pipeline.text_encoder(ids(pipeline, prompt))[0]
    assert relative(run.trained.context(["a fish, inky"]), theirs) <= BOUND
