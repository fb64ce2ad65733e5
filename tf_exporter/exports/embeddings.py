"""The sentence-embedding export: strings → embeddings, or pairs of strings → scores."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_exporter.artifact.card import CardParts, Wording, prompt_table
from tf_exporter.artifact.manifest import missing_tokens
from tf_exporter.artifact.markdown import plain
from tf_exporter.errors import shortened
from tf_exporter.exports.export import Built
from tf_exporter.graph.description import Description
from tf_exporter.graph.exported import Exported
from tf_exporter.graph.text_model import TextModel
from tf_exporter.model.calibration import read_texts
from tf_exporter.model.reference.packages import SENTENCE_TRANSFORMERS
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.hybrid import has_heads
from tf_exporter.modules.spec import read_model
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.names import (
    CROSS_ENCODER,
    DEFAULT,
    DOCUMENT,
    EXTRAS,
    HYBRID,
    IDS,
    INPUT,
    MULTI_VECTOR,
    PAIR,
    QUERY,
    SCORE,
    SCORES,
    SPARSE_ENCODER,
    TOKENIZE_WITH_OFFSETS,
    VECTOR_IDS,
    VECTOR_MASK,
    VECTORS,
)
from tf_exporter.options import Options
from tf_exporter.verification.costs import cost_of, room
from tf_exporter.verification.extras import check_extras
from tf_exporter.verification.hybrid import Heads, check_hybrid
from tf_exporter.verification.int8 import (
    Int8Choice,
    check_kernel,
    convert_to_int8,
    naming_worst,
)
from tf_exporter.verification.outputs import check_outputs
from tf_exporter.verification.plans import plan
from tf_exporter.verification.reference import Loading, Reference
from tf_exporter.verification.report import Verification
from tf_exporter.verification.sample_texts import texts_for
from tf_exporter.verification.scores import check_scores
from tf_exporter.verification.tokens import check_tokens
from tf_exporter.verification.tolerances import of_embeddings, of_scores

_LONGEST_LIST = 200
"""The most characters of the words in a line of output."""


class EmbeddingExport:
    """The export of `--export-type sentence-embedding`."""

    package: str | None = SENTENCE_TRANSFORMERS

    def __init__(self, source: ModelSource, options: Options):
        self._source, self._options = source, options
        self._spec = read_model(source)
        self._scores = self._spec.kind == CROSS_ENCODER
        self._tolerance = (of_scores if self._scores else of_embeddings)(
            options.precision, options.atol
        )
        outputs, rows = ("scores", "pairs") if self._scores else ("embeddings", "embeddings")
        self.wording = Wording(
            outputs.capitalize(), rows, checked=outputs, tolerance=self._tolerance
        )
        check_kernel(options.precision)
        self._calibration = read_texts(options.calibration) if options.calibration else None
        self._description: Description | None = None
        self._scoring: list[str] = []
        self._int8: Int8Choice | None = None

    @property
    def transformers(self) -> list[TransformerSpec]:
        return self._spec.transformers

    def build(self, place: Path) -> Built:
        model = TextModel(self._source, self._spec, self._options)
        self._int8 = convert_to_int8(
            model, self._options.precision, self._calibration, self._tolerance
        )
        exported = Exported(model)
        functions = exported.signature_functions(self._options.chosen_signatures, self._calibration)
        described = model.describe()
        kept = {name: own for name, own in described.signatures.items() if name in functions}
        extras = tuple(name for name in EXTRAS if name in functions)
        self._scoring = [SCORE] if SCORE in functions else []
        heads = tuple(name for name in HYBRID if name in functions) if model.hybrid else ()
        self._description = replace(described, signatures=kept, extras=extras, heads=heads)
        return Built(exported, functions, model.on_cpu)

    @property
    def _model(self) -> Description:
        assert self._description is not None, "build comes first"
        return self._description

    def check(self, saved: Path, reference: Reference | None) -> Verification:
        model, options, spec = self._model, self._options, self._model.tokenizer_spec
        texts = texts_for(spec, spec.max_length, model.tokens_around)
        cost = cost_of(self._spec.transformers, options.verify)
        planned = None
        if reference is not None:
            planned = plan(texts, model, cost, room(self._source.weight_bytes()))
            loading = Loading(
                self._spec.kind, options.truncate_dim, options.most_tokens or model.truncated_to
            )
            reference.submit([job for _, job in planned.jobs], loading)
            if planned.has_long or reference.waits:
                reference.wait()
        loaded = tf.saved_model.load(str(saved)).signatures
        compared = sum(
            check_tokens(loaded[name], name, model, texts, options.verify, options.quiet)
            for name in (
                *model.tokenizers,
                *(name for name in model.extras if name == TOKENIZE_WITH_OFFSETS),
            )
        )
        if reference is None or planned is None:
            return Verification(options.verify, compared)
        answers, versions = reference.answers()
        with naming_worst(self._int8):
            result = check_outputs(loaded, model, planned, answers, texts, self._tolerance, cost)
        check_extras(
            loaded,
            planned.jobs[0][1],
            answers[0],
            model.extras,
            self._tolerance,
            self._calibration,
        )
        if self._scoring:
            check_scores(loaded, planned, answers, self._spec.mean_score, self._tolerance)
        difference = result.difference
        if model.heads:
            [(tokenizer, _), *_] = model.tokenizers.values()
            heads = Heads(self._source, tokenizer)
            difference = difference.or_worse(
                check_hybrid(loaded, model.heads, planned, answers, heads, self._tolerance)
            )
        return Verification(
            options.verify,
            compared,
            result.rows,
            difference.absolute,
            None if self._scores else difference.cosine,
            reference_versions=versions,
            longest=planned.note,
            left_out=dict(sorted(result.left_out.items())),
        )

    def facts(self) -> dict[str, Any]:
        spec, model, options = self._spec, self._model, self._options
        modules = {
            route: [module.kind for module in modules] for route, modules in spec.pipelines.items()
        }
        further = {
            name: None if name in (IDS, TOKENIZE_WITH_OFFSETS) else model.signatures[DEFAULT].prompt
            for name in (*model.extras, *model.heads)
        }
        prompts: dict[str, Any] = {
            name: signature.prompt for name, signature in model.signatures.items()
        }
        return {
            "kind": spec.kind,
            "model_type": ", ".join(
                sorted({transformer.model_type for transformer in spec.transformers})
            )
            or None,
            "modules": modules.get("", modules),
            "pooling": [list(modes) for modes in model.poolings],
            "dimension": model.dim,
            "similarity_fn_name": spec.similarity_fn_name,
            "labels": list(spec.labels),
            "max_active_dims": spec.max_active_dims,
            "unknown_words": list(model.unknown_words),
            "prompts": spec.prompts,
            "output": model.output,
            "rendered": {
                name: [part if isinstance(part, str) else asdict(part) for part in frame.parts]
                for name, frame in model.frames.items()
            },
            "signatures": {
                **prompts,
                **dict.fromkeys([*model.tokenizers, *self._scoring]),
                **further,
            },
            "calibration_texts": None if self._calibration is None else len(self._calibration),
            "max_seq_length": model.tokenizer_spec.max_length,
            **missing_tokens(*(tokenizer for _, tokenizer in model.tokenizers.values())),
            "tokenizer_ops": options.tokenizer_ops,
            "precision": options.precision,
            **(self._int8.facts if self._int8 else {}),
            "micro_batch_tokens": model.micro_batch_tokens,
        }

    def remarks(self) -> list[str]:
        lines = []
        if self._model.frames:
            where = "`rendered` in the manifest shows what is around them"
            lines.append(f"Texts are put into the model's chat template: {where}.")
        if truncated_to := self._model.truncated_to:
            reason = "sentence-transformers fails for longer ones"
            lines.append(f"Texts are truncated to {truncated_to} tokens: {reason}.")
        if words := self._model.unknown_words:
            reason = "they are no single token of the tokenizer"
            named = shortened(" ".join(words), _LONGEST_LIST)
            lines.append(f"Words that the mask ignores, as the reference does: {named}, {reason}.")
        if not self._model.heads and has_heads(self._source, self._spec):
            names = ", ".join(HYBRID)
            lines.append(f"The model has heads of bge-m3, which are left out: {names}.")
        return lines

    def card(self, values: dict[str, Any]) -> CardParts:
        call, outputs, result = (
            f'{INPUT}=tf.constant([["This is a test"]])',
            "sentence embeddings",
            f"Embeddings: float32 [batch, {self._model.dim}]",
        )
        if self._scores:
            call += f', {PAIR}=tf.constant([["Is this one?"]])'
            outputs, labels = "scores of pairs", self._spec.labels
            several = f"Scores: float32 [batch, {len(labels)}], for {plain(', '.join(labels))}"
            result = several if len(labels) > 1 else "Scores: float32 [batch]"
        if self._spec.kind == MULTI_VECTOR:
            outputs = "vectors of tokens"
            result = (
                f"Vectors: `{VECTORS}` float32 [batch, longest, {self._model.dim}], "
                f"`{VECTOR_MASK}` and `{VECTOR_IDS}` int32 [batch, longest]; what counts comes "
                f"first. `{SCORE}` takes one `{QUERY}`, or one for each `{DOCUMENT}`, and gives "
                f"`{SCORES}`"
            )
        if self._model.heads:
            result += (
                ". With bge-m3's heads: `indices` and `weights` as of a sparse embedding, and "
                f"`{VECTORS}`, `{VECTOR_MASK}` and `{VECTOR_IDS}` of all tokens but the first"
            )
        if self._spec.kind == SPARSE_ENCODER:
            result += (
                ", mostly 0; the `sparse` signatures give `indices` and `weights` of the other "
                "dimensions, largest weight first, padded with index −1"
            )
        return CardParts(
            title="as a TensorFlow SavedModel",
            summary=f"Strings in, {outputs} out: tokenizer, transformer and head in one graph",
            use=f"""import tensorflow as tf

graph = tf.saved_model.load("path/to/this/folder")
graph.signatures["{DEFAULT}"]({call})["{self._model.output}"]""",
            table=prompt_table(values["signatures"]),
            result=f"{result}. {_limit(values['max_seq_length'])}",
        )


def _limit(tokens: int | None) -> str:
    """A sentence about the longest texts."""
    if tokens is None:
        return "Texts may have any length."
    return f"Texts are truncated to {tokens} tokens."
