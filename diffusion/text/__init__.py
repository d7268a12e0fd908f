"""Prompts to conditioning: tokens, text transformers, windows for long prompts.

Promises: no word is dropped: what does not fit into one window of the text transformer runs in
further windows, joined along the tokens (AUTOMATIC1111's convention). Never knows guidance or
samplers.
"""

from diffusion.text.clip import ClipEncoder, build_text_model, final_norm, hidden_states
from diffusion.text.conditioning import Conditioning
from diffusion.text.stacks import BertStack, ClassStack, ClipStack, TextEncoder, TextStack
from diffusion.text.tokenizers import bert_tokenizer, clip_tokenizer, tokenizer_from_folder

__all__ = [
    "BertStack",
    "ClassStack",
    "ClipEncoder",
    "ClipStack",
    "Conditioning",
    "TextEncoder",
    "TextStack",
    "bert_tokenizer",
    "build_text_model",
    "clip_tokenizer",
    "final_norm",
    "hidden_states",
    "tokenizer_from_folder",
]
