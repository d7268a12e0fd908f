"""OpenCLIP's text transformer (Ilharco et al. 2021) in the names of transformers' CLIP.

Promises: the map is exact: the joined projection of queries, keys and values is cut in three, the
projection of the pooled state transposed. Never imports torch.
"""

from typing import Final

from diffusion.checkpoints.inventory import Entry
from diffusion.checkpoints.parts import Source
from diffusion.checkpoints.placing import Placing, Spelling, one_piece

_WHOLE: Final = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_LAYER: Final = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_JOINED: Final = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def by_open_clip(placing: Placing, prefix: str) -> Spelling:
    """Return the spelling of OpenCLIP's files."""

    def spell(key: str, entry: Entry) -> Source | None:
        if key == "text_projection.weight":
            piece = placing.find(f"{prefix}text_projection")
            return one_piece(piece, entry, transposed=True)
        if key in _WHOLE:
            piece = placing.find(prefix + _WHOLE[key])
            return one_piece(piece, entry)
        layer, name = key.removeprefix("encoder.layers.").split(".", 1)
        name, _, kind = name.rpartition(".")
        block = f"{prefix}transformer.resblocks.{layer}"
        if name in _JOINED:
            start = _JOINED.index(name) * entry.shape[0]
            piece = placing.find(f"{block}.attn.in_proj_{kind}")
            rows = (start, start + entry.shape[0])
            return one_piece(piece, entry, rows=rows)
        piece = placing.find(f"{block}.{_LAYER[name]}.{kind}")
        return one_piece(piece, entry)

    return spell
