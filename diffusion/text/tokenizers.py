"""Tokenizers without a hub: CLIP's and BERT's from tables that come along, or a folder's own.

Promises: built by the `tokenizers` library from data alone; nothing in a folder is ever run.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE, WordPiece

from diffusion.errors import CheckpointError

# What `tokenizer_from_folder` may read.
TOKENIZER_FILES: Final = ("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt")
_DATA: Final = Path(__file__).parent.parent / "data"
_CLIP_TABLE: Final = _DATA / "clip" / "bpe_simple_vocab_16e6.txt.gz"
_BERT_TABLE: Final = _DATA / "bert" / "vocab.txt"
# 256 bytes, each also as the end of a word, the merges, begin and end: 49,408 in all.
_MERGES: Final = 49_408 - 512 - 2
# Enough of the table, unpacked, to hold them.
_CLIP_BYTES: Final = 1 << 20
_BEGIN: Final = "<|startoftext|>"
_END: Final = "<|endoftext|>"
_END_OF_WORD: Final = "</w>"
# CLIP's words: contractions, letters, single digits, and runs of anything else.
_CLIP_WORDS: Final = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_CLIP_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "unk_token": _END,
        "end_of_word_suffix": _END_OF_WORD,
        "continuing_subword_prefix": "",
        "fuse_unk": False,
    }
)
_MAX_BYTES: Final = 32 << 20


def clip_tokenizer() -> Tokenizer:
    """Return CLIP's tokenizer (Radford et al. 2021; 49,408 tokens, lower case)."""
    # Most of the table is merges that CLIP does not use: they are not even unpacked.
    start = zlib.decompressobj(wbits=31).decompress(_CLIP_TABLE.read_bytes(), _CLIP_BYTES)
    lines = start.decode("utf-8", errors="ignore").split("\n", _MERGES + 1)[1 : _MERGES + 1]
    letters = list(_byte_letters().values())
    names = [*letters, *(letter + _END_OF_WORD for letter in letters)]
    names += [line.replace(" ", "") for line in lines]
    names += [_BEGIN, _END]
    merges: list[Any] = [tuple(line.split(" ")) for line in lines]
    return _clip(BPE({name: i for i, name in enumerate(names)}, merges, **_CLIP_OPTIONS))


def bert_tokenizer(vocabulary: Path | None = None) -> Tokenizer:
    """Return uncased BERT's tokenizer (Devlin et al. 2019), of its own vocabulary by default."""
    path = _BERT_TABLE if vocabulary is None else vocabulary
    words = _read(path).splitlines()
    table = {word: i for i, word in enumerate(words)}
    if "[UNK]" not in table or len(table) != len(words):
        raise CheckpointError(f"{path} is no vocabulary of BERT: one word piece a line")
    # The library needs a long limit to treat long words as one unknown, as the original does.
    tokenizer = Tokenizer(WordPiece(table, unk_token="[UNK]", max_input_chars_per_word=100))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def tokenizer_from_folder(folder: Path) -> Tokenizer:
    """Read a hub folder's tokenizer: tokenizer.json, or CLIP's vocab.json with merges.txt, or
    BERT's vocab.txt.
    """
    try:
        if (folder / "tokenizer.json").is_file():
            tokenizer = Tokenizer.from_str(_read(folder / "tokenizer.json"))
            # Windows are cut and padded here, not by the file's own settings.
            tokenizer.no_padding()
            tokenizer.no_truncation()
            return tokenizer
        if (folder / "merges.txt").is_file():
            table, merges = (_checked(folder / name) for name in ("vocab.json", "merges.txt"))
            return _clip(BPE.from_file(str(table), str(merges), **_CLIP_OPTIONS))
        if (folder / "vocab.txt").is_file():
            return bert_tokenizer(folder / "vocab.txt")
    except CheckpointError:
        raise
    except Exception as error:  # the library raises bare Exception for a malformed file
        raise CheckpointError(f"{folder} holds no tokenizer: {error}") from error
    raise CheckpointError(
        f"{folder} holds no tokenizer: it needs tokenizer.json, or vocab.json and merges.txt"
    )


def _clip(pairs: BPE) -> Tokenizer:
    """Assemble a tokenizer of CLIP's kind."""
    tokenizer = Tokenizer(pairs)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = ByteLevelDecoder()
    return tokenizer


def _byte_letters() -> dict[int, str]:
    """Return a printable letter for every byte, in the order of CLIP's vocabulary.

    Printable bytes stand for themselves; the others are moved above 255 (the reversible table of
    GPT-2's byte-level encoding).
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    plain += range(ord("®"), ord("ÿ") + 1)
    letters = {byte: chr(byte) for byte in plain}
    moved = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(256 + i) for i, byte in enumerate(moved)}


def _checked(path: Path) -> Path:
    """Return a path whose file is there and of a size that a tokenizer's file has."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{path} is larger than a tokenizer's file ever is")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    return path


def _read(path: Path) -> str:
    try:
        return _checked(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
