"""The inventories of the text encoders, of the class table and of the safety checker.

Promises: names and shapes follow from the sizes alone; checked against the networks by tests. Never
imports torch. CLIP's names are those of transformers, without the prefix `text_model.` (or the
second `vision_model.`) that some of its versions have.
"""

from diffusion.checkpoints.inventory import Inventory
from diffusion.networks.configs import BERTConfig, ClassConfig, SafetyConfig, TextConfig


def text_inventory(config: TextConfig) -> Inventory:
    """Return every tensor of a CLIP text transformer."""
    note, width = Inventory(), config.width
    key = "embeddings.token_embedding.weight"
    note.tensor(key, key, config.vocab_size, width)
    key = "embeddings.position_embedding.weight"
    note.tensor(key, key, config.window, width)
    for layer in range(config.layers):
        _layer(note, f"encoder.layers.{layer}", width, config.feed_forward)
    note.norm("final_layer_norm", "final_layer_norm", width)
    if config.projection_dim:
        key = "text_projection"
        note.linear(key, key, width, config.projection_dim, bias=False)
    return note


def bert_inventory(config: BERTConfig) -> Inventory:
    """Return every tensor of latent diffusion's text transformer but its unused output words."""
    note, width, inner = Inventory(), config.width, config.heads * config.head_dim
    note.tensor("token_emb.weight", "model.embed_tokens.weight", config.vocab_size, width)
    note.tensor("pos_emb.emb.weight", "model.embed_positions.weight", config.window, width)
    for layer in range(config.layers):
        key, hub = f"attn_layers.layers.{2 * layer}", f"model.layers.{layer}"
        note.norm(f"{key}.0", f"{hub}.self_attn_layer_norm", width)
        for name in "qkv":
            place = f"{hub}.self_attn.{name}_proj"
            note.linear(f"{key}.1.to_{name}", place, width, inner, bias=False)
        note.linear(f"{key}.1.to_out", f"{hub}.self_attn.out_proj", inner, width)
        key = f"attn_layers.layers.{2 * layer + 1}"
        note.norm(f"{key}.0", f"{hub}.final_layer_norm", width)
        note.linear(f"{key}.1.net.0.0", f"{hub}.fc1", width, config.feed_forward)
        note.linear(f"{key}.1.net.2", f"{hub}.fc2", config.feed_forward, width)
    note.norm("norm", "model.layer_norm", width)
    return note


def class_inventory(config: ClassConfig) -> Inventory:
    """Return the one tensor of a table of classes."""
    note = Inventory()
    note.tensor("embedding.weight", "embedding.weight", config.classes, config.width)
    return note


def safety_inventory(config: SafetyConfig) -> Inventory:
    """Return every tensor of the safety checker."""
    note, width, patch = Inventory(), config.width, config.patch_size
    root = "vision_model"
    key = f"{root}.embeddings.class_embedding"
    note.tensor(key, key, width)
    key = f"{root}.embeddings.patch_embedding.weight"
    note.tensor(key, key, width, 3, patch, patch)
    key = f"{root}.embeddings.position_embedding.weight"
    note.tensor(key, key, (config.image_size // patch) ** 2 + 1, width)
    # The spelling of the first of these is a mistake of the original that all files share.
    note.norm(f"{root}.pre_layrnorm", f"{root}.pre_layrnorm", width)
    for layer in range(config.layers):
        _layer(note, f"{root}.encoder.layers.{layer}", width, config.feed_forward)
    note.norm(f"{root}.post_layernorm", f"{root}.post_layernorm", width)
    key = "visual_projection"
    note.linear(key, key, width, config.projection_dim, bias=False)
    for name, count in (
        ("concept", config.concepts),
        ("special_care", config.special_concepts),
    ):
        note.tensor(f"{name}_embeds", f"{name}_embeds", count, config.projection_dim)
        note.tensor(f"{name}_embeds_weights", f"{name}_embeds_weights", count)
    return note


def _layer(note: Inventory, key: str, width: int, feed_forward: int) -> None:
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        place = f"{key}.self_attn.{name}"
        note.linear(place, place, width, width)
    for name in ("layer_norm1", "layer_norm2"):
        note.norm(f"{key}.{name}", f"{key}.{name}", width)
    note.linear(f"{key}.mlp.fc1", f"{key}.mlp.fc1", width, feed_forward)
    note.linear(f"{key}.mlp.fc2", f"{key}.mlp.fc2", feed_forward, width)
