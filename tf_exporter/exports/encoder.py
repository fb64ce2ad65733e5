"""The encoder export: token ids → all hidden states and a pooled vector, with TensorFlow Hub's API.

The SavedModel can be trained further.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tf_exporter.architectures.contract import Encoder
from tf_exporter.architectures.head_configs import HeadConfig
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.artifact.card import CardParts, Wording, tensor_table
from tf_exporter.errors import UnsupportedError, UsageError, WeightsError
from tf_exporter.exports.export import Built
from tf_exporter.exports.hub_tokenizer import lower_cases, read_hub_tokenizer, vocabulary_assets
from tf_exporter.graph.encoder import Parts, encoder
from tf_exporter.graph.placement import keep_on_cpu
from tf_exporter.heads.base import Head
from tf_exporter.heads.pooler import build_pooler
from tf_exporter.heads.registry import build_head
from tf_exporter.layers.training import DropoutRates, trained_further
from tf_exporter.model.reference.packages import TRANSFORMERS
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import Weights
from tf_exporter.modules.spec import read_encoder
from tf_exporter.modules.trainable import read_dropout
from tf_exporter.modules.transformer.checkpoint import checkpoint
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.names import ENCODER, ENCODER_WITH_MLM
from tf_exporter.options import Options
from tf_exporter.verification.costs import room, size_of
from tf_exporter.verification.encoder import (
    LOGITS_DIFFERENCE,
    check_encoder,
    jobs_of,
    sample_inputs,
)
from tf_exporter.verification.reference import Reference
from tf_exporter.verification.report import Verification
from tf_exporter.verification.tolerances import Tolerance

_COPIES = 4
"""How often the outputs are in memory: in the reference, on the way, in the check, and ours."""
_USE = {
    ENCODER: """encoder = hub.KerasLayer("path/to/this/folder", trainable=True)
outputs = encoder(encoder_inputs)
outputs["pooled_output"], outputs["sequence_output"], outputs["encoder_outputs"]""",
    ENCODER_WITH_MLM: """encoder = hub.load("path/to/this/folder")
mlm = hub.KerasLayer(encoder.mlm, trainable=True)
mlm({**encoder_inputs, "masked_lm_positions": positions})["mlm_logits"]""",
}


class EncoderExport:
    """The export of `--export-type encoder` and `encoder-with-mlm`."""

    package: str | None = TRANSFORMERS

    def __init__(self, source: ModelSource, options: Options):
        self._source, self._options = source, options
        self._has_head = options.export_type == ENCODER_WITH_MLM
        logits_limit = max(options.atol, LOGITS_DIFFERENCE)
        self.wording = Wording(
            "Outputs",
            "rows",
            checked="the outputs",
            tolerance=Tolerance(options.atol),
            tolerance_note=f", for mlm_logits {logits_limit:g}" if self._has_head else "",
        )
        task = "fill-mask" if self._has_head else "feature-extraction"
        self._transformer = replace(read_encoder(source), task=task)
        self._rates = DropoutRates(*read_dropout(self._transformer))
        self._hf_tokenizer, self._spec = read_hub_tokenizer(
            source, self._transformer, options.do_lower_case
        )
        file = self._transformer.encoder_config
        self._deviation = (
            file.take("initializer_range", (int, float), 0.02)
            if options.pooler == "random"
            else 0.0
        )
        self._configs = self._transformer.read()
        config = self._configs.encoder
        self._has_types, self._layers = config.type_vocab_size > 1, 0
        most = config.max_length
        if (
            options.sequence_length is not None
            and most is not None
            and options.sequence_length > most
        ):
            raise UsageError(
                f"--sequence-length {options.sequence_length}: more than the {most} positions of "
                "the encoder"
            )
        self._vocabulary: str | None = None

    @property
    def transformers(self) -> list[TransformerSpec]:
        return [self._transformer]

    def build(self, place: Path) -> Built:
        options = self._options
        architecture = ARCHITECTURES[self._transformer.model_type]
        with (
            checkpoint(self._source, self._transformer, options.quiet) as weights,
            trained_further(),
        ):
            built = architecture.build(self._configs.encoder, weights)
            pooler = build_pooler(
                options.pooler, self._deviation, architecture.pooler, weights, built.hidden_size
            )
            head = _head(self._configs.head, weights, built) if self._has_head else None
        parts = Parts(built, pooler, head, self._rates, self._has_types)
        self._layers = len(built.layers)
        on_cpu = keep_on_cpu(built) if options.embeddings_on_cpu else set()
        assets = vocabulary_assets(
            self._source, self._transformer, self._hf_tokenizer, self._spec, place
        )
        self._vocabulary = next(
            (name for name in ("vocab_file", "sp_model_file") if name in assets), None
        )
        return Built(*encoder(parts, assets, options.batch_size, options.sequence_length), on_cpu)

    def check(self, saved: Path, reference: Reference | None) -> Verification:
        options, config = self._options, self._configs.encoder
        if reference is None:
            return Verification(options.verify)
        types = config.type_vocab_size if self._has_types else 0
        features = (self._layers + 1) * config.hidden_size
        features += config.vocab_size if self._has_head else 0
        batches = sample_inputs(
            config.vocab_size,
            types,
            config.max_length,
            options.batch_size,
            options.sequence_length,
            room(self._source.weight_bytes()) // (_COPIES * 4 * features),
        )
        cost = size_of(self._transformer, options.verify, has_full=False)
        reference.submit(jobs_of(batches, self._has_types, self._has_head, cost))
        answers, versions = reference.answers()
        worst = check_encoder(saved, batches, answers, options.pooler, self._has_head, options.atol)
        rows = sum(len(next(iter(batch.values()))) for batch in batches)
        return Verification(
            options.verify,
            embedding_texts=rows,
            max_abs_difference=worst,
            reference_versions=versions,
        )

    def facts(self) -> dict[str, Any]:
        config = self._configs.encoder
        return {
            "model_type": self._transformer.model_type,
            "pooler": self._options.pooler,
            "hidden_size": config.hidden_size,
            "layers": self._layers,
            "vocab_size": config.vocab_size,
            "max_seq_length": config.max_length,
            "dropout": asdict(self._rates),
            "vocabulary": self._vocabulary,
            "do_lower_case": lower_cases(self._hf_tokenizer),
        }

    def remarks(self) -> list[str]:
        return []

    def card(self, values: dict[str, Any]) -> CardParts:
        out = (
            "embeddings and scores of masked tokens"
            if self._has_head
            else "embeddings of tokens and of whole texts"
        )
        return CardParts(
            title=f"{self._options.export_type}, a TensorFlow SavedModel",
            summary=f"Token ids in, {out} out; can be trained further",
            use=f"import tensorflow_hub as hub\n\n{_USE[self._options.export_type]}",
            table=tensor_table(values["tensors"]),
        )


def _head(config: HeadConfig, weights: Weights, built: Encoder) -> Head:
    try:
        return build_head(config, weights, built)
    except WeightsError as error:
        supported = f"encoder, as the checkpoint has no masked language model head ({error})"
        raise UnsupportedError("arguments", "--export-type", ENCODER_WITH_MLM, supported) from error
