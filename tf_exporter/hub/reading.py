"""What the exports for TensorFlow Hub take from a model: the spec of its encoder, its tokenizer, and its vocabulary as a file."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.source import ModelSource
from tf_exporter.tokenizers.loading import SENTENCEPIECE_FILES, load_tokenizer, set_lower_case
from tf_exporter.tokenizers.missing_rows import with_rows
from tf_exporter.tokenizers.spec import FILE, TokenizerSpec, UnigramSpec, WordPieceSpec, read_tokenizer
from tf_exporter.transformer_spec import TransformerSpec

logger = logging.getLogger("tf_exporter")


def read_hub_tokenizer(
    source: ModelSource, transformer: TransformerSpec, do_lower_case: bool | None
) -> tuple[Any, TokenizerSpec]:
    """Transformers' tokenizer, lower-casing as asked for, and its parts without a limit of tokens."""
    hf_tokenizer = load_tokenizer(
        source, transformer.folder, transformer.do_lower_case, transformer.native_config, transformer.tokenizer_kwargs
    )
    if do_lower_case is not None:
        set_lower_case(hf_tokenizer.backend_tokenizer, do_lower_case)
    spec = read_tokenizer(hf_tokenizer, None)
    # Segments are handed on by the caller, whether transformers would do that by itself or not; but an encoder may have one only.
    rows = transformer.encoder_config.values.get("type_vocab_size", 2)
    most = max(piece.type_id for piece in (*spec.single.pieces, *spec.pair.pieces))
    spec = replace(spec, has_token_type_ids=isinstance(rows, int) and most < rows)
    file = transformer.encoder_config
    if isinstance(vocab_size := file.values.get("vocab_size"), int):
        always = (spec.pad_id, *spec.single.special_ids, *spec.pair.special_ids)
        spec = with_rows(spec, vocab_size, file.file, "vocab_size", always)
    if spec.truncation_side != "right":
        raise UnsupportedError("tokenizer_config.json", "truncation_side", spec.truncation_side, "right")
    return hf_tokenizer, spec


def lower_cases(hf_tokenizer: Any) -> bool:
    """Whether a tokenizer makes capital letters small."""
    normalizer = hf_tokenizer.backend_tokenizer.normalizer
    return normalizer is not None and "a" in normalizer.normalize_str("A")


def vocabulary_assets(
    source: ModelSource, transformer: TransformerSpec, hf_tokenizer: Any, spec: TokenizerSpec, place: Path
) -> dict[str, Any]:
    """`vocab_file` of a WordPiece tokenizer, a line for each id, or `sp_model_file`, where the model has it; `do_lower_case`.

    `place`: an empty folder, which is needed until the encoder is saved.
    """
    assets: dict[str, Any] = {"do_lower_case": tf.Variable(lower_cases(hf_tokenizer), trainable=False, name="do_lower_case")}
    if isinstance(spec.model, WordPieceSpec):
        path = place / "vocab.txt"
        path.write_text("".join(f"{token}\n" for token in _lines(hf_tokenizer)), encoding="utf-8")
        return {**assets, "vocab_file": tf.saved_model.Asset(str(path))}
    at = f"{transformer.folder}/" if transformer.folder else ""
    name = next((name for name in SENTENCEPIECE_FILES if source.exists(at + name)), None)
    if not isinstance(spec.model, UnigramSpec) or name is None:
        logger.warning("the encoder has no vocab_file or sp_model_file: the model has neither WordPiece nor a SentencePiece file")
        return assets
    path = place / name
    path.write_bytes(source.path(at + name).read_bytes())
    return {**assets, "sp_model_file": tf.saved_model.Asset(str(path))}


def _lines(hf_tokenizer: Any) -> list[str]:
    """The tokens in order of their ids."""
    vocab: dict[str, int] = hf_tokenizer.get_vocab()
    tokens = sorted(vocab, key=vocab.__getitem__)
    if [vocab[token] for token in tokens] != [*range(len(tokens))] or any("\n" in token for token in tokens):
        raise UnsupportedError(FILE, "model.vocab", len(tokens), "ids 0, 1, … without a gap, and tokens of one line each")
    return tokens
