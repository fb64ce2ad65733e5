"""The tokenizer and the vocabulary file of the exports for TensorFlow Hub."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_exporter.artifact.publish import writing
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.source import TOKENIZER_LIMIT, ModelSource
from tf_exporter.model.untyped import TransformersTokenizer
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.tokenizers.configs import SENTENCEPIECE_FILES
from tf_exporter.tokenizers.loading import load_tokenizer, set_lower_case
from tf_exporter.tokenizers.missing_rows import with_rows
from tf_exporter.tokenizers.spec import (
    FILE,
    TokenizerSpec,
    UnigramSpec,
    WordPieceSpec,
    read_tokenizer,
)

logger = logging.getLogger("tf_exporter")


def read_hub_tokenizer(
    source: ModelSource, transformer: TransformerSpec, do_lower_case: bool | None
) -> tuple[TransformersTokenizer, TokenizerSpec]:
    """The transformers tokenizer with the given lower-casing, and its spec without a limit."""
    hf_tokenizer = load_tokenizer(
        source, transformer.folder, transformer.do_lower_case, transformer.tokenizer_kwargs
    )
    if do_lower_case is not None:
        set_lower_case(hf_tokenizer.backend_tokenizer, do_lower_case)
    spec = read_tokenizer(hf_tokenizer, None)
    # Token types are passed even where transformers would not pass them, unless the encoder has
    # too few.
    rows = transformer.encoder_config.values.get("type_vocab_size", 2)
    most = max(piece.type_id for piece in (*spec.single.pieces, *spec.pair.pieces))
    spec = replace(spec, has_token_type_ids=isinstance(rows, int) and most < rows)
    file = transformer.encoder_config
    if isinstance(vocab_size := file.values.get("vocab_size"), int):
        always = (spec.pad_id, *spec.single.special_ids, *spec.pair.special_ids)
        spec = with_rows(spec, vocab_size, file.file, "vocab_size", always)
    if spec.truncation_side != "right":
        raise UnsupportedError(
            "tokenizer_config.json", "truncation_side", spec.truncation_side, "right"
        )
    return hf_tokenizer, spec


def lower_cases(hf_tokenizer: TransformersTokenizer) -> bool:
    """Whether a tokenizer lower-cases texts."""
    normalizer = hf_tokenizer.backend_tokenizer.normalizer
    return normalizer is not None and "a" in normalizer.normalize_str("A")


def vocabulary_assets(
    source: ModelSource,
    transformer: TransformerSpec,
    hf_tokenizer: TransformersTokenizer,
    spec: TokenizerSpec,
    place: Path,
) -> dict[str, Any]:
    """`do_lower_case`, and `vocab_file` or `sp_model_file` where the model has such a vocabulary.

    `place` is an empty folder for that file; it has to exist until the encoder is saved.
    """
    assets: dict[str, Any] = {
        "do_lower_case": tf.Variable(
            lower_cases(hf_tokenizer), trainable=False, name="do_lower_case"
        )
    }
    if isinstance(spec.model, WordPieceSpec):
        path = place / "vocab.txt"
        vocabulary = "".join(f"{token}\n" for token in _lines(hf_tokenizer))
        with writing(place):
            path.write_text(vocabulary, encoding="utf-8")
        return {**assets, "vocab_file": tf.saved_model.Asset(str(path))}
    prefix = f"{transformer.folder}/" if transformer.folder else ""
    name = next((name for name in SENTENCEPIECE_FILES if source.exists(prefix + name)), None)
    if not isinstance(spec.model, UnigramSpec) or name is None:
        logger.warning(
            "the encoder has no vocab_file or sp_model_file: the model has neither WordPiece nor "
            "a SentencePiece file"
        )
        return assets
    path = place / name
    content = source.read_bytes(prefix + name, TOKENIZER_LIMIT)
    with writing(place):
        path.write_bytes(content)
    return {**assets, "sp_model_file": tf.saved_model.Asset(str(path))}


def _lines(hf_tokenizer: TransformersTokenizer) -> list[str]:
    """The tokens in order of their ids.

    Raises:
        UnsupportedError: a file with one token a line cannot hold them.
    """
    vocab: dict[str, int] = hf_tokenizer.get_vocab()
    tokens = sorted(vocab, key=vocab.__getitem__)
    if [vocab[token] for token in tokens] != [*range(len(tokens))] or any(
        "\n" in token for token in tokens
    ):
        raise UnsupportedError(
            FILE,
            "model.vocab",
            len(tokens),
            "ids 0, 1, … without a gap, and tokens of one line each",
        )
    return tokens
