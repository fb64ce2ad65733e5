"""The preprocessing export: texts → the inputs of an encoder, with TensorFlow Hub's API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tf_exporter.artifact.card import CardParts, Wording, tensor_table
from tf_exporter.artifact.manifest import missing_tokens
from tf_exporter.errors import UsageError
from tf_exporter.exports.export import Built
from tf_exporter.exports.hub_tokenizer import lower_cases, read_hub_tokenizer
from tf_exporter.graph.preprocessing import preprocessing, special_tokens
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.spec import read_encoder
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.options import Options
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.verification.preprocessing import check_all_tokens, check_preprocessing
from tf_exporter.verification.reference import Reference
from tf_exporter.verification.report import Verification
from tf_exporter.verification.tolerances import Tolerance


class PreprocessingExport:
    """The export of `--export-type preprocessing`."""

    package: str | None = None
    wording = Wording(
        "Token ids", "texts", checked="token ids", tolerance=Tolerance(0.0), texts="texts and pairs"
    )

    def __init__(self, source: ModelSource, options: Options):
        self._options = options
        self._transformer = read_encoder(source)
        self._hf_tokenizer, self._spec = read_hub_tokenizer(
            source, self._transformer, options.do_lower_case
        )
        self._special = special_tokens(self._hf_tokenizer, self._spec)
        _check_seq_length(
            self._transformer.encoder_config, options.default_seq_length, self._spec.pair.added
        )

    @property
    def transformers(self) -> list[TransformerSpec]:
        """Empty, as no Transformer is part of the graph."""
        return []

    def build(self, place: Path) -> Built:
        options = self._options
        graph = TokenizerGraph(self._spec, self._hf_tokenizer.backend_tokenizer)
        root, signatures = preprocessing(
            graph, self._spec, self._special, options.default_seq_length, options.batch_size
        )
        return Built(root, signatures, set())

    def check(self, saved: Path, reference: Reference | None) -> Verification:
        """Compares token ids with Hugging Face tokenizers, so `reference` is None."""
        options = self._options
        texts = check_preprocessing(
            saved, self._hf_tokenizer, self._spec, options.default_seq_length, options.batch_size
        )
        if options.verify == "full":
            texts += check_all_tokens(saved, self._hf_tokenizer, self._spec, options.quiet)
        return Verification(options.verify, texts)

    def facts(self) -> dict[str, Any]:
        return {
            "model_type": self._transformer.model_type,
            "default_seq_length": self._options.default_seq_length,
            "do_lower_case": lower_cases(self._hf_tokenizer),
            "special_tokens": self._special,
            **missing_tokens(self._spec),
        }

    def remarks(self) -> list[str]:
        return []

    def card(self, values: dict[str, Any]) -> CardParts:
        return CardParts(
            title="preprocessing, a TensorFlow SavedModel",
            summary="Texts in, the inputs of an encoder out",
            use="""import tensorflow_hub as hub

preprocess = hub.KerasLayer("path/to/this/folder")
encoder_inputs = preprocess(texts)

preprocess = hub.load("path/to/this/folder")
tokens = [preprocess.tokenize(segment) for segment in (first, second)]
encoder_inputs = preprocess.bert_pack_inputs(tokens, seq_length=128)""",
            table=tensor_table(values["tensors"]),
        )


def _check_seq_length(file: ConfigFile, length: int, added: int) -> None:
    most = file.values.get("max_position_embeddings")
    if isinstance(most, int) and length > most:
        raise UsageError(
            f"--default-seq-length {length}: more than the {most} positions of the encoder"
        )
    if length < added:
        raise UsageError(
            f"--default-seq-length {length}: less than the {added} special tokens around two texts"
        )
