"""The inventories of the U-Net and of the ControlNet, which is its encoder half beside a hint.

Promises: names and shapes follow from the sizes alone; checked against the networks by tests. Never
imports torch. The original names are those of Rombach et al.'s code, the hub names those of the
`UNet2DConditionModel`, `UNet2DModel` and `ControlNetModel` files.
"""

from dataclasses import dataclass
from typing import Final

from diffusion.checkpoints.inventory import Entry, Inventory
from diffusion.networks.configs import ControlNetConfig, UNetConfig

GUIDANCE_KEY: Final = "time_embed.cond_proj"


@dataclass(frozen=True, slots=True)
class _Walk:
    """A walk through the blocks of a U-Net, noting what it passes."""

    config: UNetConfig
    found: Inventory

    @property
    def embedding_dim(self) -> int:
        return 4 * self.config.model_channels

    def resnet(self, key: str, hub: str, inputs: int, outputs: int) -> None:
        scale = 2 if self.config.scale_shift_norm else 1
        note = self.found
        note.norm(f"{key}.in_layers.0", f"{hub}.norm1", inputs)
        note.conv(f"{key}.in_layers.2", f"{hub}.conv1", inputs, outputs)
        note.linear(
            f"{key}.emb_layers.1", f"{hub}.time_emb_proj", self.embedding_dim, scale * outputs
        )
        note.norm(f"{key}.out_layers.0", f"{hub}.norm2", outputs)
        note.conv(f"{key}.out_layers.3", f"{hub}.conv2", outputs, outputs)
        if inputs != outputs:
            note.conv(f"{key}.skip_connection", f"{hub}.conv_shortcut", inputs, outputs, 1)

    def attention(self, key: str, hub: str, channels: int, level: int, depth: int) -> None:
        if self.config.attention == "plain":
            self._plain(key, hub, channels, self.config.heads_for(channels, level))
            return
        kernel = () if self.config.linear_projection else (1, 1)
        self.found.norm(f"{key}.norm", f"{hub}.norm", channels)
        self.found.linear(f"{key}.proj_in", f"{hub}.proj_in", channels, channels, kernel=kernel)
        for index in range(depth):
            name = f"transformer_blocks.{index}"
            self._transformer(f"{key}.{name}", f"{hub}.{name}", channels)
        self.found.linear(f"{key}.proj_out", f"{hub}.proj_out", channels, channels, kernel=kernel)

    def _transformer(self, key: str, hub: str, channels: int) -> None:
        note = self.found
        for name, width in (("attn1", channels), ("attn2", self.config.context_dim or channels)):
            ours, theirs = f"{key}.{name}", f"{hub}.{name}"
            note.linear(f"{ours}.to_q", f"{theirs}.to_q", channels, channels, bias=False)
            note.linear(f"{ours}.to_k", f"{theirs}.to_k", width, channels, bias=False)
            note.linear(f"{ours}.to_v", f"{theirs}.to_v", width, channels, bias=False)
            note.linear(f"{ours}.to_out.0", f"{theirs}.to_out.0", channels, channels)
        note.linear(f"{key}.ff.net.0.proj", f"{hub}.ff.net.0.proj", channels, 8 * channels)
        note.linear(f"{key}.ff.net.2", f"{hub}.ff.net.2", 4 * channels, channels)
        for name in ("norm1", "norm2", "norm3"):
            note.norm(f"{key}.{name}", f"{hub}.{name}", channels)

    def _plain(self, key: str, hub: str, channels: int, heads: int) -> None:
        note = self.found
        note.norm(f"{key}.norm", f"{hub}.group_norm", channels)
        for name, shape in (("weight", (3 * channels, channels, 1)), ("bias", (3 * channels,))):
            spellings = tuple(f"{hub}.{each}.{name}" for each in ("to_q", "to_k", "to_v"))
            note.entries[f"{key}.qkv.{name}"] = Entry(shape=shape, hub=spellings, heads=heads)
        note.linear(
            f"{key}.proj_out",
            f"{hub}.to_out.0",
            channels,
            channels,
            kernel=(1,),
            aliases=(f"{hub}.proj_attn",),
        )

    def head(self) -> None:
        config, note = self.config, self.found
        width, dim = config.model_channels, self.embedding_dim
        note.linear("time_embed.0", "time_embedding.linear_1", width, dim)
        note.linear("time_embed.2", "time_embedding.linear_2", dim, dim)
        if config.guidance_dim:
            note.linear(
                GUIDANCE_KEY, "time_embedding.cond_proj", config.guidance_dim, width, bias=False
            )
        if config.added_dim:
            note.linear("label_emb.0.0", "add_embedding.linear_1", config.added_dim, dim)
            note.linear("label_emb.0.2", "add_embedding.linear_2", dim, dim)
        if config.num_classes:
            note.tensor("label_emb.weight", "class_embedding.weight", config.num_classes, dim)

    def down(self) -> list[int]:
        """Walk through the contracting half; return the widths of its skip connections."""
        config = self.config
        channels = config.model_channels
        self.found.conv("input_blocks.0.0", "conv_in", config.in_channels, channels)
        widths = [channels]
        for level, mult in enumerate(config.channel_mult):
            for index in range(config.num_res_blocks):
                key, hub = f"input_blocks.{len(widths)}", f"down_blocks.{level}"
                outputs = mult * config.model_channels
                self.resnet(f"{key}.0", f"{hub}.resnets.{index}", channels, outputs)
                channels = outputs
                depth = config.transformer_depth[level]
                if depth:
                    self.attention(f"{key}.1", f"{hub}.attentions.{index}", channels, level, depth)
                widths.append(channels)
            if level + 1 < len(config.channel_mult):
                self._resample(f"input_blocks.{len(widths)}.0", level, channels, "down")
                widths.append(channels)
        return widths

    def middle(self, channels: int) -> None:
        depth, level = self.config.middle_depth, len(self.config.channel_mult) - 1
        self.resnet("middle_block.0", "mid_block.resnets.0", channels, channels)
        if depth:
            self.attention("middle_block.1", "mid_block.attentions.0", channels, level, depth)
            self.resnet("middle_block.2", "mid_block.resnets.1", channels, channels)

    def up(self, widths: list[int]) -> None:
        config, skips = self.config, list(widths)
        channels, block, levels = widths[-1], 0, len(config.channel_mult)
        for level in reversed(range(levels)):
            outputs, depth = (
                config.channel_mult[level] * config.model_channels,
                config.transformer_depth[level],
            )
            for index in range(config.num_res_blocks + 1):
                key, hub = f"output_blocks.{block}", f"up_blocks.{levels - 1 - level}"
                self.resnet(f"{key}.0", f"{hub}.resnets.{index}", channels + skips.pop(), outputs)
                channels = outputs
                if depth:
                    self.attention(f"{key}.1", f"{hub}.attentions.{index}", channels, level, depth)
                if level and index == config.num_res_blocks:
                    place = f"{key}.{2 if depth else 1}"
                    self._resample(place, levels - 1 - level, channels, "up")
                block += 1

    def _resample(self, key: str, level: int, channels: int, way: str) -> None:
        hub = f"{way}_blocks.{level}.{way}samplers.0"
        if self.config.resblock_updown:
            self.resnet(key, hub, channels, channels)
        else:
            name = "op" if way == "down" else "conv"
            self.found.conv(f"{key}.{name}", f"{hub}.conv", channels, channels)


def unet_inventory(config: UNetConfig) -> Inventory:
    """Return every tensor of a U-Net."""
    walk = _Walk(config, Inventory())
    walk.head()
    widths = walk.down()
    walk.middle(widths[-1])
    walk.up(widths)
    walk.found.norm("out.0", "conv_norm_out", config.model_channels)
    walk.found.conv("out.2", "conv_out", config.model_channels, config.out_channels)
    return walk.found


def controlnet_inventory(config: ControlNetConfig) -> Inventory:
    """Return every tensor of a ControlNet (Zhang et al. 2023)."""
    walk = _Walk(config.unet, Inventory())
    note = walk.found
    walk.head()
    widths = walk.down()
    walk.middle(widths[-1])
    for index, width in enumerate(widths):
        note.conv(f"zero_convs.{index}.0", f"controlnet_down_blocks.{index}", width, width, 1)
    note.conv("middle_block_out.0", "controlnet_mid_block", widths[-1], widths[-1], 1)
    hub = "controlnet_cond_embedding"
    stem = config.hint_widths[0]
    note.conv("input_hint_block.0", f"{hub}.conv_in", config.hint_channels, stem)
    channels, layer, block = stem, 2, 0
    for before, after in zip(config.hint_widths, config.hint_widths[1:], strict=False):
        for width in (before, after):
            note.conv(f"input_hint_block.{layer}", f"{hub}.blocks.{block}", channels, width)
            channels, layer, block = width, layer + 2, block + 1
    note.conv(f"input_hint_block.{layer}", f"{hub}.conv_out", channels, config.unet.model_channels)
    return note
