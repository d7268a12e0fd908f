"""The inventories against the networks: the same names, the same shapes, nothing more or less."""

from collections.abc import Mapping

import pytest
import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from diffusion.checkpoints.inventory import Inventory
from diffusion.checkpoints.inventory_text import bert_inventory, class_inventory, text_inventory
from diffusion.checkpoints.inventory_unet import controlnet_inventory, unet_inventory
from diffusion.checkpoints.inventory_vae import (
    ddpm_inventory,
    tiny_decoder_inventory,
    tiny_encoder_inventory,
    vae_inventory,
)
from diffusion.networks.bert import BERTTransformer
from diffusion.networks.configs import (
    BERTConfig,
    ClassConfig,
    ControlNetConfig,
    DDPMConfig,
    TextConfig,
    TinyVAEConfig,
    UNetConfig,
    VAEConfig,
)
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.ddpm import DDPMUNet
from diffusion.networks.tiny import TinyDecoder, TinyEncoder
from diffusion.networks.unet import UNet
from diffusion.networks.vae import AutoencoderKL
from diffusion.networks.vq import AutoencoderVQ

SDXL = UNetConfig(
    channel_mult=(1, 2, 4),
    transformer_depth=(0, 2, 10),
    middle_depth=10,
    heads=None,
    head_dim=64,
    context_dim=2048,
    linear_projection=True,
    added_dim=2816,
)
UNETS = {
    "sd1": UNetConfig(),
    "inpainting": UNetConfig(in_channels=9),
    "lcm": UNetConfig(guidance_dim=256),
    "sdxl": SDXL,
    "upscaler": UNetConfig(in_channels=7, num_classes=1000, transformer_depth=(0, 1, 1, 1)),
    "no middle attention": UNetConfig(middle_depth=0),
    "faces": UNetConfig(
        in_channels=3,
        out_channels=3,
        model_channels=224,
        channel_mult=(1, 2, 3, 4),
        transformer_depth=(0, 1, 1, 1),
        heads=None,
        head_dim=32,
        context_dim=None,
        attention="plain",
    ),
    "churches": UNetConfig(
        model_channels=192,
        channel_mult=(1, 2, 2, 4, 4),
        transformer_depth=(1, 1, 1, 1, 0),
        context_dim=None,
        attention="plain",
        scale_shift_norm=True,
        resblock_updown=True,
    ),
}
VAES = {
    "kl": VAEConfig(),
    "no quantisation": VAEConfig(quant_convs=False),
    "levels attend": VAEConfig(attention=(False, False, False, True), embed_dim=3),
    "no attention": VAEConfig(middle_attention=False),
    "vq": VAEConfig(kind="vq", codes=64, z_channels=3, channel_mult=(1, 2, 4), embed_dim=5),
}


def same(inventory: Inventory, network: nn.Module, prefix: str = "") -> None:
    wanted: Mapping[str, torch.Tensor] = network.state_dict()
    shapes = {k.removeprefix(prefix): tuple(v.shape) for k, v in wanted.items()}
    found = {key: entry.shape for key, entry in inventory.entries.items()}
    assert found == {k: v for k, v in shapes.items() if not k.endswith("position_ids")}


@pytest.mark.parametrize("name", UNETS)
def test_unet(name: str) -> None:
    with torch.device("meta"):
        same(unet_inventory(UNETS[name]), UNet(UNETS[name]))


@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_controlnet(name: str) -> None:
    config = ControlNetConfig(unet=UNETS[name])
    with torch.device("meta"):
        same(controlnet_inventory(config), ControlNet(config))


@pytest.mark.parametrize("name", VAES)
def test_vae(name: str) -> None:
    config = VAES[name]
    with torch.device("meta"):
        network = AutoencoderVQ(config) if config.kind == "vq" else AutoencoderKL(config)
        same(vae_inventory(config), network)


def test_ddpm() -> None:
    with torch.device("meta"):
        same(ddpm_inventory(DDPMConfig()), DDPMUNet(DDPMConfig()))


def test_tiny() -> None:
    config = TinyVAEConfig()
    with torch.device("meta"):
        same(tiny_decoder_inventory(config), TinyDecoder(config))
        same(tiny_encoder_inventory(config), TinyEncoder(config))


def test_bert_and_classes() -> None:
    with torch.device("meta"):
        same(bert_inventory(BERTConfig()), BERTTransformer(BERTConfig()))
        same(class_inventory(ClassConfig()), nn.ModuleDict({"embedding": nn.Embedding(1001, 512)}))


@pytest.mark.parametrize("projection", [0, 32])
def test_clip(projection: int) -> None:
    config = TextConfig(width=64, layers=2, heads=1, feed_forward=96, projection_dim=projection)
    theirs = CLIPTextConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=96,
        projection_dim=projection or 512,
    )
    with torch.device("meta"):
        network = (CLIPTextModelWithProjection if projection else CLIPTextModel)(theirs)
    same(text_inventory(config), network, "text_model.")
