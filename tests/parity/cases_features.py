"""Clip skip, guidance rescale, eta, ControlNets, LoRAs, textual inversion."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from transformers import CLIPTextModel

from diffusion.params import Control
from tests.parity.addons import CONTROL_XL, WORD, controlnet, controlnet_xl, lora, vectors
from tests.parity.cases import Case
from tests.parity.pipelines import LAYOUTS, Layout, system
from tests.parity.schedulers import scheduler
from tests.parity.shots import HASH, Shot, compare, photo

CONTROL = "StableDiffusionControlNetPipeline"
SKIPPED = (
    "the negative prompt is skipped, too (A1111); diffusers, which encodes it in full, is handed it"
)


def skipped(name: str, layout: Layout, layers: int) -> float:
    """Compare with the last layers of the text encoders left out."""
    shot, pipe = Shot(ours={"clip_skip": layers}), system(name).pipeline

    def encoded(prompt: str) -> tuple[Any, Any]:
        # Flat since transformers 5.6, which its clip skip does not know.
        flat = patch.object(CLIPTextModel, "text_model", property(lambda self: self), create=True)
        with flat, torch.inference_mode():
            context, _, *pooled = pipe.encode_prompt(
                prompt=[prompt] * shot.images,
                device="cpu",
                num_images_per_prompt=1,
                do_classifier_free_guidance=False,
                clip_skip=layers,
            )
        return context, pooled[0] if pooled else None

    context, pooled = encoded(shot.prompt)
    negative, negative_pooled = encoded(str(shot.negative_prompt))
    theirs = {
        "prompt": None,
        "negative_prompt": None,
        "prompt_embeds": context,
        "negative_prompt_embeds": negative,
        "pooled_prompt_embeds": pooled,
        "negative_pooled_prompt_embeds": negative_pooled,
    }
    return compare(name, layout, replace(shot, theirs=theirs))


def stirred(eta: float) -> float:
    """Compare DDIM with fresh noise."""
    return compare("sd1", "folder", Shot(ours={"eta": eta}, theirs={"eta": eta}))


def rescaled(name: str) -> float:
    """Compare guidance rescale 0.7 of predicted noise."""
    told = {"guidance_rescale": 0.7}
    return compare(name, "folder", Shot(ours=told, theirs=told))


def control(name: str, scale: float, **more: Any) -> Control:  # noqa: ANN401
    return Control(model=name, image=HASH, scale=scale, **more)


def steered(layout: Layout, sampler: str, controls: Sequence[Control]) -> float:
    """Compare with ControlNets beside the U-Net."""
    hints = [photo(seed=20 + i) for i in range(len(controls))]
    networks = [controlnet(each.model) for each in controls]

    def one_or_all(values: list[Any]) -> Any:  # noqa: ANN401
        return values[0] if len(values) == 1 else values

    shot = Shot(
        sampler=sampler,
        steps=5,
        ours={"controls": tuple(controls)},
        theirs={
            "image": one_or_all(hints),
            "controlnet_conditioning_scale": one_or_all([each.scale for each in controls]),
            "control_guidance_start": one_or_all([each.start for each in controls]),
            "control_guidance_end": one_or_all([each.end for each in controls]),
            "guess_mode": controls[0].guess,
        },
    )
    pipe = system("sd1").as_a(CONTROL, controlnet=one_or_all(networks))
    return compare("sd1", layout, shot, pipe=pipe, scheduler=scheduler(sampler), hints=hints)


def steered_xl(layout: Layout) -> float:
    """Compare with a ControlNet beside Stable Diffusion XL's U-Net: it is told the sizes, too."""
    hint = photo(seed=20)
    shot = Shot(
        sampler="euler",
        ours={"controls": (control(CONTROL_XL, 0.5),)},
        theirs={"image": hint, "controlnet_conditioning_scale": 0.5},
    )
    pipe = system("sdxl").as_a("StableDiffusionXLControlNetPipeline", controlnet=controlnet_xl())
    told = scheduler("euler")
    return compare("sdxl", layout, shot, pipe=pipe, scheduler=told, hints=[hint])


def styled(layout: Layout, prompt: str, weights: dict[str, float]) -> float:
    """Compare with LoRAs in kohya's names on U-Net and text encoder, loaded there by peft."""
    own, pipe = system("sd1").pipeline, _copied("sd1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in weights:
            pipe.load_lora_weights(lora(name, own.unet, own.text_encoder), adapter_name=name)
        pipe.set_adapters(list(weights), list(weights.values()))
    return _worded(layout, pipe, prompt, "a red fox")


def inverted(layout: Layout, prompt: str) -> float:
    """Compare with a textual inversion of three vectors in the prompt."""
    pipe, word = _copied("sd1"), f"<{WORD}>"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.load_textual_inversion({word: vectors(64)}, token=word)
    return _worded(layout, pipe, prompt, f"a {word} fox")


def _worded(layout: Layout, pipe: Any, ours: str, theirs: str) -> float:  # noqa: ANN401
    shot = Shot(prompt=ours, theirs={"prompt": [theirs] * 2})
    return compare("sd1", layout, shot, pipe=pipe)


def _copied(name: str) -> Any:  # noqa: ANN401 - a foreign class
    pipe = copy.deepcopy(system(name).pipeline)
    pipe.set_progress_bar_config(disable=True)
    return pipe


Feature = tuple[str, Callable[[Layout], float], str]


def _of_sd1() -> Iterator[Feature]:
    """Return what is compared in both layouts."""
    for layers in (1, 2):
        yield f"clip skip {layers}", partial(_skip, "sd1", layers), SKIPPED
    a, b = "edges", "depth"
    for what, sampler, controls in (
        ("ControlNet of a folder", "ddim", [control(a, 0.5)]),
        ("ControlNet of a single file", "ddim", [control(b, 0.5)]),
        ("two ControlNets", "ddim", [control(a, 0.5), control(b, 0.3)]),
        ("ControlNet, guess mode", "ddim", [control(a, 0.5, guess=True)]),
        ("ControlNet from 25 to 70 %", "ddim", [control(a, 0.5, start=0.25, end=0.7)]),
        ("ControlNet from 25 to 70 %, heun", "heun", [control(a, 0.5, start=0.25, end=0.7)]),
        (
            "two ControlNets, each for a part",
            "euler",
            [control(a, 0.5, start=0.25), control(b, 0.4, end=0.5)],
        ),
        (
            "two ControlNets, guess mode",
            "dpmpp_2m",
            [control(a, 0.5, guess=True), control(b, 0.7, guess=True)],
        ),
    ):
        yield what, partial(_steer, sampler, controls), ""
    yield "LoRA 0.7", partial(_style, "a red fox<lora:ink:0.7>", {"ink": 0.7}), ""
    two = {"ink": 0.7, "clay": -0.4}
    yield "two LoRAs", partial(_style, "a red<lora:ink:0.7> fox<lora:clay:-0.4>", two), ""
    for what, prompt in (("the bare word", f"a {WORD} fox"), ("<word>", f"a <{WORD}> fox")):
        yield f"textual inversion, {what}", partial(_invert, prompt), ""


def _skip(name: str, layers: int, layout: Layout) -> float:
    return skipped(name, layout, layers)


def _steer(sampler: str, controls: Sequence[Control], layout: Layout) -> float:
    return steered(layout, sampler, controls)


def _style(prompt: str, weights: dict[str, float], layout: Layout) -> float:
    return styled(layout, prompt, weights)


def _invert(prompt: str, layout: Layout) -> float:
    return inverted(layout, prompt)


def cases() -> Iterator[Case]:
    """Return them all."""
    for what, measure, note in _of_sd1():
        for layout in LAYOUTS:
            yield Case(
                family="sd1",
                layout=layout,
                what=what,
                measure=partial(measure, layout),
                note=note,
                # One layout tells of the feature, the families' pictures of the layouts.
                slow=layout == "single",
            )
    for name in ("sd2", "sdxl"):
        for layers in (1, 2):
            yield _case(name, f"clip skip {layers}", partial(skipped, name, "folder", layers),
                        note=SKIPPED, slow=layers == 2)  # fmt: skip
        yield _case(name, "guidance rescale 0.7", partial(rescaled, name))
    for layout in LAYOUTS:
        yield Case(
            family="sdxl",
            layout=layout,
            what="ControlNet of a folder",
            measure=partial(steered_xl, layout),
        )
    for eta in (0.5, 1.0):
        yield _case("sd1", f"ddim, eta {eta:g}", partial(stirred, eta))


def _case(
    name: str, what: str, measure: Callable[[], float], *, note: str = "", slow: bool = False
) -> Case:
    return Case(family=name, layout="folder", what=what, measure=measure, note=note, slow=slow)
