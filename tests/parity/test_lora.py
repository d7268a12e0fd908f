"""LoRA files against diffusers and peft: the same file, on the same weights, must change the
U-Net's and the text transformers' outputs by the same numbers.
"""

import copy
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin as Loader
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from diffusion.adapters import load_lora, match, patched
from diffusion.adapters.lora import Matched
from diffusion.adapters.names import diffusers_names
from diffusion.networks.configs import UNetConfig
from diffusion.networks.unet import UNet
from tests.parity.twins import fill, peer_unet

BOUND = 1e-5
RANK = 3
SD1 = UNetConfig(
    model_channels=32, context_dim=24, channel_mult=(1, 2), transformer_depth=(1, 1), heads=4
)
SDXL = UNetConfig(
    model_channels=32,
    context_dim=40,
    channel_mult=(1, 2, 2),
    transformer_depth=(0, 1, 2),
    middle_depth=2,
    heads=None,
    head_dim=32,
    linear_projection=True,
    added_dim=16 + 6 * 8,
)
UNETS = {"sd1": SD1, "sdxl": SDXL}
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in")
CONVOLUTIONS = ("conv1", "conv2", "conv_in", "conv_out", "conv_shortcut", "downsamplers.0.conv")
EMBEDDINGS = ("time_emb_proj", "linear_1", "linear_2", "upsamplers.0.conv")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The peers warn about one another's versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def unet_of(name: str) -> tuple[UNet, UNet2DConditionModel]:
    unet = UNet(UNETS[name]).eval()
    fill(unet, seed=3)
    return unet, peer_unet(unet)


def text_of(kind: type[nn.Module], seed: int) -> nn.Module:
    config = CLIPTextConfig(
        vocab_size=99,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        projection_dim=16,
        max_position_embeddings=12,
        bos_token_id=97,
        eos_token_id=98,
        pad_token_id=98,
    )
    model = kind(config).eval()
    fill(model, seed)
    return model


def unet_inputs(config: UNetConfig) -> tuple[Tensor, Tensor, Tensor, Tensor | None, object]:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(2, config.in_channels, 10, 12, generator=generator)
    context = torch.randn(2, 5, config.context_dim or 0, generator=generator)
    added, extra = None, None
    if config.added_dim:
        pooled = torch.randn(2, 16, generator=generator)
        sizes = torch.tensor([[64.0, 48, 0, 0, 64, 48], [512, 512, 8, 4, 512, 512]])
        extra = {"text_embeds": pooled, "time_ids": sizes}
        added = (pooled, sizes)
    return x, torch.tensor([1.0, 803.5]), context, added, extra  # type: ignore[return-value]


def run_ours(unet: UNet, peer: UNet2DConditionModel) -> Tensor:
    x, timesteps, context, added, _ = unet_inputs(unet.config)
    vector = None
    if added is not None:
        pooled, sizes = added
        flat = peer.add_time_proj(sizes.flatten()).reshape(2, -1)
        vector = torch.cat([pooled, flat], dim=-1)
    return cast(Tensor, unet(x, timesteps, context, vector))


def run_theirs(peer: UNet2DConditionModel) -> Tensor:
    config = SDXL if peer.config.addition_embed_type else SD1
    x, timesteps, context, _, extra = unet_inputs(config)
    return cast(Tensor, peer(x, timesteps, context, added_cond_kwargs=extra).sample)


def run_text(model: nn.Module) -> Tensor:
    ids = torch.tensor([[97, 5, 8, 13, 98, 98]])
    output = model(input_ids=ids, output_hidden_states=True)
    final = output.text_embeds if hasattr(output, "text_embeds") else output.pooler_output
    return torch.cat([output.hidden_states[-1].flatten(), final.flatten()])


def adapted(model: nn.Module, targets: tuple[str, ...], seed: int, alpha: int) -> nn.Module:
    """A copy of a peer with a random peft adapter on the targets."""
    copied = copy.deepcopy(model)
    config = LoraConfig(r=RANK, lora_alpha=alpha, target_modules=list(targets))
    inject_adapter_in_model(config, copied, adapter_name="default")
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in copied.named_parameters():
        if "lora_" in name:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.copy_(0.5 * noise / parameter[0].numel() ** 0.5)
    return copied.eval()


def factors(model: nn.Module) -> dict[str, Tensor]:
    """`layer.lora_A.weight` -> tensor, in peft's names."""
    return {k: v.contiguous() for k, v in get_peft_model_state_dict(model).items()}


def kohya(state: Mapping[str, Tensor], head: str, alpha: float) -> dict[str, Tensor]:
    """The same factors as kohya's scripts spell them."""
    spelled = {}
    for key, tensor in state.items():
        layer, end = key.rsplit(".lora_", 1)
        flat = f"{head}_{layer.replace('.', '_')}"
        spelled[f"{flat}.{'lora_down' if end.startswith('A') else 'lora_up'}.weight"] = tensor
        spelled[f"{flat}.alpha"] = torch.tensor(alpha)
    return spelled


def peft(state: Mapping[str, Tensor], head: str, alpha: float) -> dict[str, Tensor]:
    """The same factors as diffusers saves them; they have no alpha, so it goes into one factor."""
    return {
        f"{head}.{key}": tensor * (alpha / RANK if "lora_B" in key else 1)
        for key, tensor in state.items()
    }


def old(state: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """As diffusers wrote attention's factors in 2023."""
    spelled = {}
    for key, tensor in peft(state, "unet", alpha).items():
        layer, end = key.rsplit(".lora_", 1)
        block, _, projection = layer.removesuffix(".0").rpartition(".")
        name = f"{block}.processor.{projection}_lora.{'down' if end.startswith('A') else 'up'}"
        spelled[f"{name}.weight"] = tensor
    return spelled


def sgm(state: Mapping[str, Tensor], unet: UNet, alpha: float) -> dict[str, Tensor]:
    """kohya's SDXL files name blocks as the original code does."""
    ours = {other: name for name, _ in unet.named_modules() for other in names(unet, name)}
    renamed = {}
    for key, tensor in state.items():
        layer, end = key.rsplit(".lora_", 1)
        renamed[f"{ours[layer]}.lora_{end}"] = tensor
    return kohya(renamed, "lora_unet", alpha)


def names(unet: UNet, name: str) -> tuple[str, ...]:
    return diffusers_names(unet, name) if "." in name and _is_layer(unet, name) else ()


def _is_layer(unet: UNet, name: str) -> bool:
    return not list(unet.get_submodule(name).children())


def bind(path: Path, state: dict[str, Tensor], unet: UNet, *texts: nn.Module) -> Matched:
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    matched = match(load_lora(path), unet, texts)
    assert matched.unmatched == ()
    return matched


@pytest.mark.parametrize("spelling", ["kohya", "peft", "sgm"])
@pytest.mark.parametrize("name", UNETS)
@torch.inference_mode()
def test_unet_with_a_lora_on_every_kind_of_layer(name: str, spelling: str, tmp_path: Path) -> None:
    unet, peer = unet_of(name)
    before = run_ours(unet, peer)
    theirs = adapted(peer, ATTENTION + CONVOLUTIONS + EMBEDDINGS, seed=5, alpha=2)
    state = factors(theirs)
    spelled = {
        "kohya": lambda: kohya(state, "lora_unet", 2.0),
        "peft": lambda: peft(state, "unet", 2.0),
        "sgm": lambda: sgm(state, unet, 2.0),
    }[spelling]()
    matched = bind(tmp_path / "a.safetensors", spelled, unet)
    assert len(matched.unet) == len(state) // 2
    with patched(unet, [(matched.unet, 1.0)]):
        ours = run_ours(unet, peer)
    expected = run_theirs(theirs)
    assert relative(before, expected) > 0.05, "the adapter changes nothing: the test is blind"
    assert relative(ours, expected) <= BOUND
    assert torch.equal(run_ours(unet, peer), before)


@torch.inference_mode()
def test_every_spelling_gives_the_same_patches(tmp_path: Path) -> None:
    unet, peer = unet_of("sd1")
    theirs = adapted(peer, ("to_q", "to_k", "to_v", "to_out.0"), seed=5, alpha=2)
    state = factors(theirs)
    outputs = []
    bare = {k.removeprefix("unet."): v for k, v in peft(state, "unet", 2.0).items()}
    generic = {
        k.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): v
        for k, v in peft(state, "unet", 2.0).items()
    }
    spellings = [
        kohya(state, "lora_unet", 2.0),
        kohya(state, "lycoris", 2.0),
        sgm(state, unet, 2.0),
        peft(state, "unet", 2.0),
        peft(state, "base_model.model", 2.0),
        old(state, 2.0),
        bare,
        generic,
    ]
    for number, spelled in enumerate(spellings):
        matched = bind(tmp_path / f"{number}.safetensors", spelled, unet)
        assert len(matched.unet) == len(state) // 2
        with patched(unet, [(matched.unet, 0.7)]):
            outputs.append(run_ours(unet, peer))
    for output in outputs[1:]:
        assert relative(output, outputs[0]) <= BOUND


@pytest.mark.parametrize("kind", [CLIPTextModel, CLIPTextModelWithProjection])
@pytest.mark.parametrize("spelling", ["kohya", "peft", "old"])
@torch.inference_mode()
def test_text_transformers(kind: type[nn.Module], spelling: str, tmp_path: Path) -> None:
    unet, _ = unet_of("sd1")
    first, model = text_of(CLIPTextModel, seed=6), text_of(kind, seed=7)
    before = run_text(model)
    theirs = adapted(model, TEXT, seed=8, alpha=4)
    state = factors(theirs)
    flat = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in state.items()}
    second = kind is CLIPTextModelWithProjection
    texts = (first, model) if second else (model,)
    spelled = {
        "kohya": lambda: kohya(flat, "lora_te2" if second else "lora_te", 4),
        "peft": lambda: peft(flat, "text_encoder_2" if second else "text_encoder", 4),
        "old": lambda: {
            k.replace("lora_A", "lora_linear_layer.down").replace(
                "lora_B", "lora_linear_layer.up"
            ): v
            for k, v in peft(flat, "text_encoder_2" if second else "text_encoder", 4).items()
        },
    }[spelling]()
    patches = bind(tmp_path / "t.safetensors", spelled, unet, *texts).texts[-1]
    with patched(model, [(patches, 1.0)]):
        ours = run_text(model)
    expected = run_text(theirs)
    assert relative(before, expected) > 0.05
    assert relative(ours, expected) <= BOUND
    assert torch.equal(run_text(model), before)


@torch.inference_mode()
def test_two_at_once_with_weights_agree_with_set_adapters_and_with_fusing(tmp_path: Path) -> None:
    """diffusers reads our very files, in its own loader."""
    unet, peer = unet_of("sd1")
    text = text_of(CLIPTextModel, seed=6)
    files = []
    for seed, alpha in ((10, 2), (11, 6)):
        state = kohya(factors(adapted(peer, ATTENTION, seed, alpha)), "lora_unet", alpha)
        words = {
            f"text_model.{k.removeprefix('text_model.')}": v
            for k, v in factors(adapted(text, TEXT, seed + 5, alpha)).items()
        }
        files.append(state | kohya(words, "lora_te", alpha))
    matched = [bind(tmp_path / f"{i}.safetensors", s, unet, text) for i, s in enumerate(files)]
    weights = (0.8, -0.35)
    pairs = [(m.unet, w) for m, w in zip(matched, weights, strict=True)]
    words_pairs = [(m.texts[0], w) for m, w in zip(matched, weights, strict=True)]
    with patched(unet, pairs), patched(text, words_pairs):
        ours, our_text = run_ours(unet, peer), run_text(text)

    their_text = copy.deepcopy(text)
    for number in range(2):
        converted, alphas = StableDiffusionPipeline.lora_state_dict(
            tmp_path / f"{number}.safetensors", unet_config=peer.config
        )
        Loader.load_lora_into_unet(converted, alphas, peer, adapter_name=f"a{number}")
        Loader.load_lora_into_text_encoder(
            converted, alphas, their_text, prefix="text_encoder", adapter_name=f"a{number}"
        )
    peer.set_adapters(["a0", "a1"], list(weights))
    assert relative(ours, run_theirs(peer)) <= BOUND
    from diffusers.utils.peft_utils import set_weights_and_activate_adapters

    set_weights_and_activate_adapters(their_text, ["a0", "a1"], list(weights))
    assert relative(our_text, run_text(their_text)) <= BOUND
    peer.fuse_lora()
    assert relative(ours, run_theirs(peer)) <= BOUND


@torch.inference_mode()
def test_an_sdxl_file_through_diffusers_own_loader(tmp_path: Path) -> None:
    unet, peer = unet_of("sdxl")
    # diffusers' reader of original block names knows only what trained files hold.
    state = factors(adapted(peer, ("to_q", "to_k", "to_v", "to_out.0", "ff.net.2"), 12, 2))
    path = tmp_path / "xl.safetensors"
    matched = bind(path, sgm(state, unet, 2.0), unet)
    with patched(unet, [(matched.unet, 1.0)]):
        ours = run_ours(unet, peer)
    converted, alphas = StableDiffusionXLPipeline.lora_state_dict(path, unet_config=peer.config)
    Loader.load_lora_into_unet(converted, alphas, peer, adapter_name="a")
    assert relative(ours, run_theirs(peer)) <= BOUND


@torch.inference_mode()
def test_the_alpha_in_the_head_of_a_file(tmp_path: Path) -> None:
    """diffusers keeps alpha, its exceptions and rank-stabilised scaling as JSON beside the
    tensors.
    """
    unet, peer = unet_of("sd1")
    copied = copy.deepcopy(peer)
    config = LoraConfig(
        r=RANK,
        lora_alpha=5,
        alpha_pattern={"attn1.to_k": 2.0},
        use_rslora=True,
        target_modules=["to_k", "to_q"],
        init_lora_weights=False,
    )
    torch.manual_seed(13)
    inject_adapter_in_model(config, copied, adapter_name="default")
    settings = {
        "r": RANK,
        "lora_alpha": 5,
        "alpha_pattern": {"attn1.to_k": 2.0},
        "use_rslora": True,
    }
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=factors(copied),
        unet_lora_adapter_metadata=settings,
    )
    matched = match(load_lora(tmp_path / "pytorch_lora_weights.safetensors"), unet)
    with patched(unet, [(matched.unet, 1.0)]):
        ours = run_ours(unet, peer)
    assert relative(ours, run_theirs(copied.eval())) <= BOUND


@torch.inference_mode()
def test_dora_agrees_with_peft(tmp_path: Path) -> None:
    unet, peer = unet_of("sd1")
    config = LoraConfig(
        r=RANK, lora_alpha=RANK, use_dora=True, target_modules=["to_k", "to_q", "fc1", "conv1"]
    )
    theirs = copy.deepcopy(peer)
    inject_adapter_in_model(config, theirs, adapter_name="default")
    generator = torch.Generator().manual_seed(14)
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data.mul_(1 + 0.2 * noise) if "magnitude" in name else parameter.data.copy_(
                0.3 * noise
            )
    matched = bind(tmp_path / "d.safetensors", peft(factors(theirs), "unet", RANK), unet)
    with patched(unet, [(matched.unet, 1.0)]):
        ours = run_ours(unet, peer)
    assert relative(ours, run_theirs(theirs.eval())) <= BOUND
