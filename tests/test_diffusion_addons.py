"""What lies beside a model: tables of names, and files that are read when they are asked for."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffusion import CheckpointError, OutOfMemoryError, Params, ParamsError, addons
from diffusion.addon_files import enumerate_files
from diffusion.addons import Addons, Styles, styles_for
from diffusion.model import Model
from tests.parity.pipelines import model
from tests.tiny import tiny_model

PARAMS = Params(prompt="a fox", steps=2, width=64, height=64)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def beside(own: Model, loras: dict[str, Path]) -> Model:
    return replace(own, addons=Addons(loras=loras))


def ink(own: Model) -> Path:
    return own.addons.loras["ink"]


def test_a_folder_is_a_table_of_names(tmp_path: Path) -> None:
    ink = touch(tmp_path / "ink.safetensors")
    deep = touch(tmp_path / "styles" / "clay.safetensors")
    touch(tmp_path / "notes.txt")
    touch(tmp_path / "old.ckpt")
    touch(tmp_path / "edges" / "config.json")
    touch(tmp_path / "edges" / "diffusion_pytorch_model.safetensors")
    found = enumerate_files(tmp_path)
    assert found == {"ink": ink, "clay": deep, "edges": tmp_path / "edges"}
    assert enumerate_files(None) == {}
    with pytest.raises(CheckpointError, match="no folder"):
        enumerate_files(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name", ["../secret", "..", "/etc/passwd", "styles/clay", "clay.safetensors"]
)
def test_a_name_is_never_a_path(name: str, tmp_path: Path) -> None:
    touch(tmp_path / "secret.safetensors")
    touch(tmp_path / "loras" / "styles" / "clay.safetensors")
    own = beside(model("sd1", "folder"), enumerate_files(tmp_path / "loras"))
    with pytest.raises(ParamsError, match="no LoRA of that name"):
        styles_for(own, replace(PARAMS, prompt=f"a fox <lora:{name}:1>"))
    with pytest.raises(ParamsError, match="no ControlNet"):
        own.addons.control(name, own)


def test_an_unknown_name_is_told_the_nearest() -> None:
    own = model("sd1", "folder")
    with pytest.raises(ParamsError, match="did you mean 'ink'"):
        own.addons.lora("inkk", own)
    with pytest.raises(ParamsError, match="there are clay, ink"):
        own.addons.lora("watercolour", own)
    with pytest.raises(ParamsError, match="no LoRA here"):
        Addons().lora("ink", own)
    with pytest.raises(ParamsError, match="did you mean 'edges'"):
        own.addons.control("edgess", own)


def test_the_last_weight_of_a_lora_holds() -> None:
    own = model("sd1", "folder")
    text = "a <lora:ink:0.5> fox <lora:clay:0.3:0> <lora:ink:0.8:0.2>"
    found = styles_for(own, replace(PARAMS, prompt=text))
    inks, clays = (own.addons.lora(name, own) for name in ("ink", "clay"))
    assert found.backbone == ((inks.unet, 0.8), (clays.unet, 0.3))
    assert found.texts == (((inks.texts[0], 0.2),),)
    assert found.key != styles_for(own, replace(PARAMS, prompt="<lora:ink:0.8>")).key
    assert styles_for(own, PARAMS).key == Styles().key == ()


def test_text_encoders_are_as_before_after_the_block() -> None:
    own = model("sd1", "folder")
    assert own.text is not None
    plain = own.encode_prompts(["a fox"]).context
    with styles_for(own, replace(PARAMS, prompt="<lora:ink:1>")).on_text(own):
        changed = own.encode_prompts(["a fox"]).context
    assert not torch.allclose(changed, plain, atol=0.01)
    assert torch.equal(own.encode_prompts(["a fox"]).context, plain)


def test_a_lora_of_another_family_is_refused() -> None:
    path = ink(model("sd1", "folder"))
    own = beside(model("sdxl", "folder"), {"ink": path})
    with pytest.raises(CheckpointError, match="ink"):
        own.addons.lora("ink", own)


def test_a_controlnet_of_another_family_is_refused() -> None:
    own = model("sd1", "folder")
    with pytest.raises(CheckpointError, match="steers another family: its context_dim is 192"):
        own.addons.control("edges-xl", own)
    lora = replace(own, addons=Addons(controls={"ink": ink(own)}))
    with pytest.raises(CheckpointError, match="is a LoRA"):
        lora.addons.control("ink", lora)


def test_a_model_without_a_unet_takes_no_lora() -> None:
    own = beside(model("ddpm", "folder"), {"ink": ink(model("sd1", "folder"))})
    with pytest.raises(ParamsError, match="takes no LoRA"):
        own.addons.lora("ink", own)


def test_files_are_kept_until_others_were_used_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = next(n for n, _ in tiny_model().backbone.named_modules() if n.endswith("attn1.to_q"))
    weight = tiny_model().backbone.get_submodule(layer).weight
    assert isinstance(weight, torch.Tensor)
    key = "lora_unet_" + layer.replace(".", "_")
    for name in "abc":
        parts = {
            f"{key}.lora_down.weight": torch.ones(1, weight.shape[1]),
            f"{key}.lora_up.weight": torch.ones(weight.shape[0], 1),
        }
        save_file(parts, tmp_path / f"{name}.safetensors")
    monkeypatch.setattr(addons, "_KEPT_LORAS", 2)
    own = beside(tiny_model(), enumerate_files(tmp_path))
    first, second = (own.addons.lora(name, own) for name in "ab")
    assert own.addons.lora("a", own) is first
    own.addons.lora("c", own)
    assert own.addons.lora("a", own) is first
    assert own.addons.lora("b", own) is not second


def test_what_was_read_is_counted() -> None:
    own = model("sd1", "folder")
    fresh = replace(own, addons=Addons(loras=own.addons.loras, controls=own.addons.controls))
    assert fresh.addons.bytes == 0
    fresh.addons.lora("ink", fresh)
    lora = fresh.addons.loras["ink"].stat().st_size
    assert fresh.addons.bytes == lora
    name = next(iter(fresh.addons.controls))
    control = fresh.addons.control(name, fresh)
    assert fresh.addons.bytes == lora + sum(p.nbytes for p in control.parameters())


def test_a_controlnet_without_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("the device is full")

    own = model("sd1", "folder")
    fresh = replace(own, addons=Addons(controls=own.addons.controls))
    monkeypatch.setattr(addons, "load_part", full)
    name = next(iter(fresh.addons.controls))
    with pytest.raises(OutOfMemoryError, match=rf"{name}.*does not fit .*use fewer"):
        fresh.addons.control(name, fresh)
    assert fresh.addons.bytes == 0


def test_a_folder_is_looked_at_again_and_what_changed_is_read_anew() -> None:
    own = model("sd1", "folder")
    beside_it = beside(own, {"ink": ink(own)})
    first = beside_it.addons.lora("ink", beside_it)
    with pytest.raises(ParamsError, match="no LoRA of that name"):
        beside_it.addons.lora("fresh", beside_it)
    beside_it.addons.look_again({"ink": ink(own), "fresh": ink(own)}, ())
    assert beside_it.addons.lora("ink", beside_it) is first
    beside_it.addons.lora("fresh", beside_it)
    beside_it.addons.look_again({"ink": ink(own)}, {"ink"})
    assert beside_it.addons.lora("ink", beside_it) is not first
    with pytest.raises(ParamsError, match="no LoRA of that name"):
        beside_it.addons.lora("fresh", beside_it)
