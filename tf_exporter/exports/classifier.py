"""The classifier export: strings → labels, for …ForSequenceClassification of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_exporter.artifact.card import CardParts, Wording, tensor_table
from tf_exporter.artifact.manifest import missing_tokens
from tf_exporter.errors import VerificationError
from tf_exporter.exports.export import Built
from tf_exporter.graph.classifier import Classifier
from tf_exporter.graph.description import Description
from tf_exporter.model.calibration import read_texts
from tf_exporter.model.reference.packages import TRANSFORMERS
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.classifier import read_classifier
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.names import DEFAULT, LOGITS
from tf_exporter.options import Options
from tf_exporter.tokenizers.contract import ReferenceTokenizer
from tf_exporter.verification.costs import room, size_of
from tf_exporter.verification.int8 import (
    Int8Choice,
    check_kernel,
    convert_to_int8,
    naming_worst,
)
from tf_exporter.verification.outputs import check_outputs
from tf_exporter.verification.plans import Plan, plan_of_classifier
from tf_exporter.verification.reference import Answer, Arrays, IdsJob, Job, Reference
from tf_exporter.verification.report import Verification
from tf_exporter.verification.sample_texts import decoded, texts_for
from tf_exporter.verification.tolerances import of_scores

_LOADER = "AutoModelForSequenceClassification"


class ClassifierExport:
    """The export of `--export-type classifier`."""

    package: str | None = TRANSFORMERS

    def __init__(self, source: ModelSource, options: Options):
        self._source, self._options = source, options
        self._spec = read_classifier(source)
        self._tolerance = of_scores(options.precision, options.atol)
        self.wording = Wording(
            "Logits", "texts and pairs", checked="the logits", tolerance=self._tolerance
        )
        check_kernel(options.precision)
        self._calibration = read_texts(options.calibration) if options.calibration else None
        self._description: Description | None = None
        self._int8: Int8Choice | None = None

    @property
    def transformers(self) -> list[TransformerSpec]:
        return [self._spec.transformer]

    def build(self, place: Path) -> Built:
        classifier = Classifier(self._source, self._spec, self._options)
        self._int8 = convert_to_int8(
            classifier.model, self._options.precision, self._calibration, self._tolerance
        )
        self._description = classifier.describe()
        return Built(classifier, classifier.signature_functions(), classifier.model.on_cpu)

    @property
    def _model(self) -> Description:
        assert self._description is not None, "build comes first"
        return self._description

    def check(self, saved: Path, reference: Reference | None) -> Verification:
        model, level, spec = self._model, self._options.verify, self._model.tokenizer_spec
        if reference is None:
            return Verification(level)
        texts = texts_for(spec, spec.max_length, model.tokens_around)
        strings = [decoded(text) for text in texts]
        hf_tokenizer = next(iter(model.tokenizers.values()))[0]
        empty = (
            set()
            if spec.single.added
            else {text for text, ids in zip(strings, hf_tokenizer(strings)["input_ids"]) if not ids}
        )
        cost = size_of(self._spec.transformer, level, has_full=False)
        memory = room(self._source.weight_bytes())
        planned = plan_of_classifier(
            [text for text in strings if text not in empty], model, cost, memory
        )
        jobs = [
            self._ids(hf_tokenizer, job, rows)
            for _, job in planned.jobs
            for rows in job.batches or ()
        ]
        reference.submit(jobs)
        if planned.has_long or reference.waits:
            reference.wait()
        loaded = tf.saved_model.load(str(saved)).signatures
        answers, versions = reference.answers()
        with naming_worst(self._int8):
            result = check_outputs(
                loaded, model, planned, _by_text(planned, answers), texts, self._tolerance, cost
            )
        left_out = {
            **dict.fromkeys(sorted(map(repr, empty)), "a text without any token"),
            **result.left_out,
        }
        return Verification(
            level,
            embedding_texts=result.rows,
            max_abs_difference=result.difference.absolute,
            reference_versions=versions,
            longest=planned.note,
            left_out=left_out,
        )

    def _ids(self, hf_tokenizer: ReferenceTokenizer, job: Job, rows: Sequence[int]) -> IdsJob:
        """The token ids of a batch of texts or pairs, from transformers' own tokenizer."""
        limit = self._model.tokenizer_spec.max_length
        options = {"truncation": True, "max_length": limit} if limit else {}
        sides = [side for side in (job.texts, job.pairs) if side is not None]
        batch = hf_tokenizer(
            *([side[row] for row in rows] for side in sides), padding=True, **options
        )
        arrays: Arrays = {name: np.array(batch[name], np.int32) for name in batch}
        return IdsJob(_LOADER, arrays, job.seconds * len(rows) / len(job.texts))

    def facts(self) -> dict[str, Any]:
        spec, model = self._spec, self._model
        return {
            "model_type": spec.transformer.model_type,
            "labels": list(spec.labels),
            "problem_type": spec.problem,
            "max_seq_length": model.tokenizer_spec.max_length,
            **missing_tokens(model.tokenizer_spec),
            "precision": self._options.precision,
            **(self._int8.facts if self._int8 else {}),
            "micro_batch_tokens": model.micro_batch_tokens,
        }

    def remarks(self) -> list[str]:
        return []

    def card(self, values: dict[str, Any]) -> CardParts:
        pair = self._options.sentences == 2
        call = 'sentence1=tf.constant(["This is a test"])' + (
            ', sentence2=tf.constant(["Is this one?"])' if pair else ""
        )
        return CardParts(
            title="classifier, a TensorFlow SavedModel",
            summary="Texts in, labels out: tokenizer, transformer and head in one graph",
            use=f"""import tensorflow as tf

classifier = tf.saved_model.load("path/to/this/folder")
classifier.signatures["{DEFAULT}"]({call})["class"]""",
            table=tensor_table(values["tensors"]),
        )


def _by_text(planned: Plan, answers: Sequence[Answer]) -> list[Answer]:
    """The answers to batches, regrouped into one answer for each job of a plan.

    Raises:
        VerificationError: the reference cannot compute any text of a job.
    """
    by_job, rest = [], iter(answers)
    for name, job in planned.jobs:
        values: dict[int, np.ndarray] = {}
        failed: dict[int, str] = {}
        for rows in job.batches or ():
            arrays, errors = next(rest)
            failed.update({rows[place]: error for place, error in errors.items()})
            values.update(
                zip(
                    [row for place, row in enumerate(rows) if place not in errors],
                    arrays.get(LOGITS, ()),
                )
            )
        if not values:
            raise VerificationError(
                f"{name}: the reference, transformers, cannot run this model: {failed[min(failed)]}"
            )
        by_job.append(Answer({"values": np.stack([values[row] for row in sorted(values)])}, failed))
    return by_job
