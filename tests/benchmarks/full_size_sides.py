"""One side of the comparison, in a process of its own: Easel's loader, or diffusers' pipelines.

Promises: the two sides are asked for the same work in the same words, and neither knows the other.
Only what a side needs is imported, before the clock starts. Run:
python -m tests.benchmarks.full_size_sides measure|compare easel|diffusers FAMILY LAYOUT DIR [FILE]
"""

import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.benchmarks.full_size_families import FAMILIES, FILES, FOLDER, Family

EASEL: Final = "easel"
DIFFUSERS: Final = "diffusers"
PROMPT: Final = "a lighthouse at dusk, oil on canvas, waves breaking on black rocks"
NEGATIVE_PROMPT: Final = "blurry, lowres"
TIMESTEP: Final = 601.0
State = dict[str, Tensor]
_PAGE: Final = resource.getpagesize()


def load_easel(family: Family, path: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401 - either side
    """Load by our loader. A single file of SD 2 does not tell what it predicts, so it is told, as
    diffusers is by its configuration.
    """
    from diffusion.loading import load_model

    told = family.prediction if path.is_file() and family.writer == "sd2" else None
    name = str(dtype).removeprefix("torch.")
    return load_model(path, dtype=name, prediction_type=told)


def load_diffusers(family: Family, path: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401 - either side
    """Load by diffusers, in its fastest documented way: offline, low_cpu_mem_usage (the default
    where accelerate is installed), the single file's configuration from a folder.
    """
    kind = _pipeline(family)
    if path.is_file():
        folder = str(path.parent / FILES[FOLDER])
        return kind.from_single_file(
            str(path), config=folder, torch_dtype=dtype, local_files_only=True
        )
    return kind.from_pretrained(
        path, torch_dtype=dtype, local_files_only=True, low_cpu_mem_usage=True
    )


LOADERS: Final[dict[str, Callable[[Family, Path, torch.dtype], Any]]] = {
    EASEL: load_easel,
    DIFFUSERS: load_diffusers,
}


def measure(side: str, family: Family, path: Path) -> dict[str, float]:
    """Load once; return seconds and bytes.

    seconds: from the call to the loaded pipeline. seconds_touched: until every page of every weight
    has been read once, which a lazily mapped file still owes. weights: bytes of the weights in the
    precision asked for. peak: the growth of the process's resident memory from before the call to
    its highest, until everything was touched; mapped pages of files count. private: the growth in
    the end, of memory that is no file's.
    """
    _import_everything(side, family)
    gc.collect()
    # Forgets the highest resident size so far: imports may have had one of their own.
    Path("/proc/self/clear_refs").write_text("5")
    before, private = _resident("VmHWM"), _resident("RssAnon")
    start = time.perf_counter()
    loaded = LOADERS[side](family, path, family.dtype)
    seconds = time.perf_counter() - start
    weights = list(_weights(loaded))
    touched = sum(_touch(weight) for weight in weights)
    until_touched = time.perf_counter() - start
    if not weights or touched != touched:
        raise SystemExit(f"{side} loaded nothing that can be used")
    return {
        "seconds": seconds,
        "seconds_touched": until_touched,
        "weights": sum(w.numel() for w in weights) * family.dtype.itemsize,
        "peak": _resident("VmHWM") - before,
        "private": _resident("RssAnon") - private,
    }


@torch.inference_mode()
def step(side: str, family: Family, path: Path, *, dtype: torch.dtype = torch.float32) -> State:
    """Return what one guided denoising step consists of, from the same seeded inputs on both sides.

    text (and pooled): both prompts encoded by the side's own tokenizers and encoders. unet: the
    prediction for two rows. vae: the picture that the latents decode to.
    """
    loaded = LOADERS[side](family, path, dtype)
    return (_step_easel if side == EASEL else _step_diffusers)(loaded, family)


def _step_easel(model: Any, family: Family) -> State:  # noqa: ANN401 - either side
    from diffusion.conditions import guide_for
    from diffusion.params import Params
    from diffusion.text import Conditioning

    found = model.encode_prompts([PROMPT, NEGATIVE_PROMPT])
    inputs = _inputs(family, found.context.shape[-1], found.pooled)
    params = Params(prompt=PROMPT, negative_prompt=NEGATIVE_PROMPT)
    given = Conditioning(context=inputs["context"], pooled=inputs["pooled"])
    guide = guide_for(model, params, lambda _: given, width=768, height=512)
    rows = guide.at(0)
    contexts = torch.stack([row.context for row in rows if row.context is not None])
    added = [row.added for row in rows if row.added is not None]
    timesteps = torch.full((2,), TIMESTEP)
    prediction = model.backbone(
        inputs["latents"].repeat(2, 1, 1, 1),
        timesteps,
        contexts,
        torch.stack(added) if added else None,
    )
    out = {"text": found.context, "unet": prediction, "vae": model.vae.decode(inputs["latents"])}
    return out | ({"pooled": found.pooled} if family.is_xl else {})


def _step_diffusers(pipe: Any, family: Family) -> State:  # noqa: ANN401 - either side
    prompts = [PROMPT, NEGATIVE_PROMPT]
    found = pipe.encode_prompt(
        prompts, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    context, pooled = found[0], found[2] if family.is_xl else None
    inputs = _inputs(family, context.shape[-1], pooled)
    extra = None
    if family.is_xl:
        ids = torch.tensor([[512.0, 768.0, 0.0, 0.0, 512.0, 768.0]]).repeat(2, 1)
        extra = {"text_embeds": inputs["pooled"], "time_ids": ids}
    latents = inputs["latents"]
    prediction = pipe.unet(
        latents.repeat(2, 1, 1, 1),
        TIMESTEP,
        inputs["context"],
        added_cond_kwargs=extra,
    ).sample
    images = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    out = {"text": context, "unet": prediction, "vae": images}
    return out | ({"pooled": pooled} if family.is_xl and pooled is not None else {})


def _inputs(family: Family, width: int, pooled: Tensor | None) -> dict[str, Any]:
    """Return seeded latents, context and pooled text: what both sides' U-Nets are given."""
    generator = torch.Generator().manual_seed(5)
    inputs: dict[str, Any] = {
        "latents": torch.randn(1, 4, family.side, family.side, generator=generator),
        "context": torch.randn(2, 77, width, generator=generator),
        "pooled": None,
    }
    if family.is_xl and pooled is not None:
        inputs["pooled"] = torch.randn(2, pooled.shape[-1], generator=generator)
    return inputs


def _weights(loaded: Any) -> Iterable[Tensor]:  # noqa: ANN401 - either side
    """Yield every parameter of either side's pipeline once."""
    components = getattr(loaded, "components", None)
    if components is not None:
        modules = [part for part in components.values() if isinstance(part, torch.nn.Module)]
    else:
        encoders = [encoder.model for encoder in loaded.text.encoders]
        modules = [loaded.backbone, loaded.vae, *encoders]
    for module in modules:
        yield from module.parameters()


def _touch(weight: Tensor) -> float:
    """Read one number of every page."""
    return float(weight.detach().reshape(-1)[:: _PAGE // weight.itemsize].float().sum())


def _import_everything(side: str, family: Family) -> None:
    if side == EASEL:
        import diffusion.loading  # noqa: F401 - imported before the clock starts
    else:
        _pipeline(family)


def _pipeline(family: Family) -> Any:  # noqa: ANN401 - a foreign class without annotations
    import diffusers

    return (
        diffusers.StableDiffusionXLPipeline if family.is_xl else diffusers.StableDiffusionPipeline
    )


def _resident(field: str) -> int:
    """Return one line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def main(what: str, side: str, name: str, layout: str, root: str, target: str = "") -> None:
    """Answer one question; numbers go to standard output as JSON, tensors into a file."""
    family, path = FAMILIES[name], Path(root) / FILES[layout]
    if what == "measure":
        sys.stdout.write(json.dumps(measure(side, family, path)))
    else:
        save_file({k: v.contiguous() for k, v in step(side, family, path).items()}, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
