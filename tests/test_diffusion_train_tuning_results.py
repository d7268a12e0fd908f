"""What training on a folder leaves: LoRA, word, whole model. Each is loaded as people load it and
gives what the training network gave.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open
from safetensors.torch import load_file

from diffusion.adapters import load_lora, match, patched
from diffusion.generation import generate
from diffusion.loading import load_model
from diffusion.params import Params
from diffusion.text import ClipStack
from diffusion.text.inversions import load_inversion
from diffusion.train.tuning.begin import Wish, open_run, recipe_for
from diffusion.train.tuning.lowrank import LowRank, write_lora
from diffusion.train.tuning.recipe import TuningError
from diffusion.train.tuning.subject import fingerprint, open_subject
from diffusion.train.tuning.tune import go_on
from diffusion.train.tuning.watching import finish
from tests.parity.pipelines import system
from tests.thinning import thinned
from tests.tiny import tiny_folder
from tests.tuning import (
    CAPTION,
    Quiet,
    ask,
    bits,
    fixed_loss,
    opened,
    picture,
    recipe,
    same,
    trained,
)

# Tiny ones of a large family learn small pictures.
SD: dict[str, Any] = {"side": 32, "learning_rate": 1e-3, "batch": 2}


@pytest.mark.parametrize("extra", [{}, {"text": True, "convolutions": True}])
def test_a_lora_learns_and_its_file_is_what_was_trained(
    tmp_path: Path, extra: dict[str, Any]
) -> None:
    run = opened(tmp_path, recipe(steps=24, learning_rate=1e-2, **extra)).run
    subject, factors = run.subject, run.trained
    assert isinstance(factors, LowRank)
    networks = (subject.unet, subject.encoder.model, subject.vae)
    before, plain = [bits(each) for each in networks], ask(subject)
    loss = fixed_loss(run)
    assert go_on(run, Quiet())
    assert fixed_loss(run) < 0.93 * loss
    assert all(same(bits(n), b) for n, b in zip(networks, before, strict=True))
    assert torch.equal(ask(subject), plain), "nothing stays attached"
    with run.attached():
        learned = ask(subject)
    assert float((learned - plain).abs().max()) > 0.05
    path = write_lora(tmp_path / "x.safetensors", factors, run.weights, {}, dtype=torch.float32)
    matched = match(load_lora(path), subject.unet, [subject.encoder.model])
    assert matched.unmatched == ()
    assert bool(matched.texts[0]) == bool(extra)
    unet, text = [(matched.unet, 1.0)], [(matched.texts[0], 1.0)]
    with patched(subject.unet, unet), patched(subject.encoder.model, text):
        ours = ask(subject)
    assert torch.allclose(ours, learned, atol=1e-5, rtol=1e-4)


def test_the_file_is_laid_beside_the_model_and_named_in_a_prompt(tmp_path: Path) -> None:
    run = trained(tmp_path, recipe(learning_rate=1e-2), name="inky")
    path = finish(run, tmp_path / "drawings")
    with safe_open(path, framework="pt") as file:
        told = file.metadata()
        kinds = {str(file.get_tensor(key).dtype) for key in file.keys()}  # noqa: SIM118
    assert told["ss_network_dim"] == "4"
    assert told["ss_network_alpha"] == "2.0"
    assert told["ss_base_model_version"] == "emoji"
    assert told["easel_pictures"] == "12 of drawings"
    assert "rank=4" in told["easel_recipe"]
    assert kinds == {"torch.float16"}
    model = load_model(tiny_folder(), loras=path.parent)
    one, other = (picture(model, f"red square <lora:inky:{w}>") for w in ("0.8", "0"))
    assert one.tobytes() != other.tobytes()
    assert picture(model, "red square").tobytes() == other.tobytes()


def test_a_new_word_is_learned_alone_and_used_by_its_name(tmp_path: Path) -> None:
    chosen = recipe("inversion", vectors=3, learning_rate=0.05, initial="red fish")
    run = opened(tmp_path, chosen).run
    subject = run.subject
    before, loss = [bits(n) for n in (subject.unet, subject.encoder.model)], fixed_loss(run)
    assert go_on(run, Quiet())
    assert fixed_loss(run) < loss
    networks = (subject.unet, subject.encoder.model)
    assert all(same(bits(n), b) for n, b in zip(networks, before, strict=True))
    path = finish(run, tmp_path / "drawings")
    width = subject.encoder.config.width
    vectors = load_inversion(path, (width,)).vectors[0]
    assert torch.equal(vectors, run.weights["inversion.vectors"].detach())
    assert list(load_file(path)) == ["inky"]
    # Prompts and training see the same sequence.
    (tmp_path / "words").mkdir()
    path.rename(tmp_path / "words" / path.name)
    taught = load_model(subject.source, embeddings=tmp_path / "words")
    assert isinstance(taught.text, ClipStack)
    for caption in ("a red square, inky", "inky", "the <INKY> fish"):
        with torch.no_grad():
            ours = run.trained.context([caption])
        assert torch.allclose(taught.encode_prompts([caption]).context, ours, atol=1e-6)
    assert not torch.allclose(
        taught.encode_prompts(["inky fish"]).context,
        subject.model.encode_prompts(["inky fish"]).context,
    )


def test_captions_without_the_word_get_it_and_long_ones_keep_it(tmp_path: Path) -> None:
    run = opened(tmp_path, recipe("inversion", vectors=3)).run
    worded = run.trained.worded
    assert worded("a fish") == "a fish, inky"
    assert worded("an Inky fish") == "an Inky fish"
    assert worded("an inky-like fish") == "an inky-like fish, inky"
    with torch.no_grad():
        long = run.trained.context(["fish " * 30 + "inky"])
        run.trained.word.vectors.mul_(2)  # type: ignore[attr-defined]
        assert not torch.equal(run.trained.context(["fish " * 30 + "inky"]), long)


def test_all_weights_of_the_shipped_format_become_a_folder_that_loads(tmp_path: Path) -> None:
    chosen = recipe("full", learning_rate=2e-3, text=True, average=0.8)
    run = opened(tmp_path, chosen, name="mine").run
    loss, base = fixed_loss(run), bits(run.subject.unet)
    assert go_on(run, Quiet())
    path = finish(run, tmp_path / "drawings")
    model = load_model(path)
    assert model.info.name == "mine"
    assert not same(bits(run.subject.unet), base)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, run.weights[f"unet.{name}"].detach().half().float()), name
    with run.averaged():
        expected = ask(run.subject)
    assert torch.allclose(ask(open_subject(path)), expected, atol=0.02, rtol=0.02)
    again = opened(tmp_path, recipe("full"), name="again", model=path).run
    assert fixed_loss(again) < 0.9 * loss


@pytest.mark.parametrize("name", ["sd1", "sd2"])
@pytest.mark.parametrize("layout", thinned(["single", "folder"], every=2))
def test_all_weights_of_stable_diffusion_become_one_file(
    tmp_path: Path, name: str, layout: str
) -> None:
    source = getattr(system(name), layout)
    chosen = recipe("full", steps=2, text=True, average=0.0, **SD)
    run = trained(tmp_path, chosen, model=source)
    path = finish(run, tmp_path / "drawings")
    again, own = open_subject(path), run.subject
    assert again.model.family == own.model.family
    assert again.model.noise_schedule.prediction_type == own.model.noise_schedule.prediction_type
    assert again.model.noise_schedule.alphas_cumprod == own.model.noise_schedule.alphas_cumprod
    assert again.vae.config == own.vae.config
    for ours, theirs in (
        (own.unet, again.unet),
        (own.vae, again.vae),
        (own.encoder.model, again.encoder.model),
    ):
        halves = {n: t.half().float() for n, t in bits(ours).items()}
        assert same(halves, bits(theirs))


def test_velocity_and_a_schedule_that_ends_in_noise_survive_the_file(tmp_path: Path) -> None:
    run = trained(tmp_path, recipe("full", steps=1, warmup=0, **SD), model=system("sd2-v").folder)
    schedule = open_subject(finish(run, tmp_path / "drawings")).model.noise_schedule
    assert schedule.prediction_type == "v_prediction"
    assert schedule.alphas_cumprod == run.subject.model.noise_schedule.alphas_cumprod


def test_from_nothing_learns_on_the_models_own_autoencoder(tmp_path: Path) -> None:
    chosen = recipe("scratch", steps=40, learning_rate=3e-3, average=0.0)
    assert chosen.text
    run = opened(tmp_path, chosen, name="fresh").run
    base = open_subject(tiny_folder())
    assert fingerprint(run.subject) != fingerprint(base)
    assert same(bits(run.subject.vae), bits(base.vae))
    loss = fixed_loss(run)
    assert go_on(run, Quiet())
    assert fixed_loss(run) < 0.9 * loss
    model = load_model(finish(run, tmp_path / "drawings"))
    assert picture(model, CAPTION).size == (32, 32)


def test_stable_diffusion_xl_is_learned_as_a_lora_of_its_unet_alone(tmp_path: Path) -> None:
    source = system("sdxl").single
    run = trained(tmp_path, recipe(steps=2, **SD), model=source)
    path = finish(run, tmp_path / "drawings")
    matched = match(load_lora(path), run.subject.unet, [e.model for e in run.subject.encoders])
    assert matched.unmatched == ()
    assert "lora_unet_input_blocks_" in next(iter(load_file(path)))
    for method, given in (("full", {}), ("lora", {"text": True}), ("inversion", {})):
        with pytest.raises(TuningError, match="Stable Diffusion XL"):
            opened(tmp_path, recipe(method, **given), name=method, model=source)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_shipped_model_learns_a_style(tmp_path: Path) -> None:
    """Coloured emoji become black drawings on white, also those that were not in the folder."""
    pictures = tmp_path / "drawings"
    pictures.mkdir()
    for number, name in enumerate(("heart", "star", "moon", "apple") * 4):
        picture = Image.new("RGB", (128, 128), "white")
        pen, edge = ImageDraw.Draw(picture), 12 + 3 * number
        pen.ellipse((edge // 2, edge // 2, 128 - edge, 128 - edge), outline="black", width=6)
        picture.save(pictures / f"{name} {number}.png")
    chosen = recipe_for("emoji", "lora", {"steps": 150})
    out = tmp_path / "loras" / "ink.safetensors"
    out.parent.mkdir()
    run = open_run(Wish(pictures=pictures, model="emoji", recipe=chosen, out=out)).run
    assert go_on(run, Quiet())
    finish(run, pictures)
    model = load_model("emoji", loras=out.parent)

    def colour(prompt: str) -> float:
        params = Params(prompt=prompt, width=64, height=64, images=2, guidance_scale=3.0)
        *_, last = generate(model, params)
        pixels = np.stack([np.asarray(p.convert("RGB"), dtype=float) for p in last.pictures or ()])
        return float((pixels.max(axis=-1) - pixels.min(axis=-1)).mean())

    for name, share in (("heart", 0.4), ("cat face", 0.7)):
        assert colour(f"{name} <lora:ink:0.8>") < share * colour(name)
