"""The choice of layers that are computed in int8: where the error matters, float32 stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.errors import UsageError, VerificationError
from tf_exporter.graph.pipeline import Pipeline
from tf_exporter.graph.text_model import TextModel
from tf_exporter.layers.basic import FeedForward, Linear, MatrixLayer
from tf_exporter.layers.int8 import (
    Inputs,
    Int8Product,
    Int8Table,
    Product,
    StoredInt8,
    has_kernel,
    large_columns,
)
from tf_exporter.names import (
    CROSS_ENCODER,
    INT8_PRECISION,
    INT8_PRECISIONS,
    INT8_STORAGE,
)
from tf_exporter.tokenizers.post_processors import Encodings
from tf_exporter.verification.sample_texts import decoded, texts_for
from tf_exporter.verification.tolerances import Tolerance, allowed

REQUIRED = "x86 with VNNI, TensorFlow 2.17"
"""What products in int8 need where they are served."""
_SMALLEST = 1024
"""The least number of elements of a matrix for which int8 pays."""
_NARROWEST = 16
_TEXTS = 400
"""The most texts of a calibration file that are used. Those of the verification all are."""
_BATCH = 16
_LONGEST = 1000
"""Characters of a text that are used: the error hardly depends on the length, the time does."""
_MARGIN = 0.5
"""The part of a tolerance that the chosen layers may use for these texts."""
_WORST = 8
"""The number of texts by which layers are compared: those with the largest differences."""


@dataclass(frozen=True)
class Int8Choice:
    """Which layers are in int8, by the names of their tensors in the checkpoint."""

    precision: str
    float32_layers: tuple[str, ...]
    """The layers that stay in float32, those that matter most first."""
    worst: str
    """The layer with the largest error, and that error."""

    @property
    def facts(self) -> dict[str, Any]:
        """The entries of the manifest."""
        needs = {"requires": REQUIRED} if self.precision == INT8_PRECISION else {}
        return {"float32_layers": list(self.float32_layers), **needs}


def check_kernel(precision: str) -> None:
    """Refuses int8 where it cannot be verified.

    Raises:
        UsageError: this machine has no kernel for products in int8.
    """
    if precision == INT8_PRECISION and not has_kernel():
        raise UsageError(
            f"--precision {precision}: TensorFlow has no kernel for it on this processor; x86 with "
            f"VNNI is needed, here and where it is served (--precision {INT8_STORAGE} runs "
            "anywhere)"
        )


@contextmanager
def naming_worst(choice: Int8Choice | None) -> Iterator[None]:
    """Adds the layer with the largest error to a `VerificationError` that is raised inside."""
    try:
        yield
    except VerificationError as error:
        if choice is None:
            raise
        raise VerificationError(
            f"{error}; in {choice.precision}, the layer with the largest error is {choice.worst}"
        ) from None


class _Batch(NamedTuple):
    """The token ids of some texts, the pipeline that they go through, and the exact results."""

    pipeline: Pipeline
    encodings: Encodings
    prompt_length: int | None
    exact: np.ndarray

    def used(self, tolerance: Tolerance) -> np.ndarray:
        """The part of the tolerance that each text's difference uses: float64 [rows]."""
        return _used(tolerance, self.exact, _results(*self[:3]))

    def only(self, rows: np.ndarray) -> _Batch:
        """Some of the texts. Where their number is fixed, they are repeated."""
        rows = np.resize(rows, self.pipeline.batch_size or len(rows))
        parts = ("starts", "sizes", "lengths")
        chosen = {part: tf.gather(getattr(self.encodings, part), rows) for part in parts}
        return self._replace(encodings=self.encodings._replace(**chosen), exact=self.exact[rows])


class _Trial:
    """A layer whose inputs are looked at, and whose product in int8 is compared with float32's."""

    def __init__(self, layer: Linear, before: FeedForward | None):
        """`before`: the feed-forward network whose activation gives the layer's inputs."""
        self._layer, self._before = layer, before
        self._largest = np.zeros(layer.weight.shape[0], np.float32)
        self._product: Product | None = None
        self._error = self._size = 0.0
        layer.int8 = self

    @property
    def name(self) -> str:
        return ", ".join(self._layer.names)

    @property
    def error(self) -> float:
        """The root of the mean squared error, relative to that of the exact results."""
        return float(np.sqrt(self._error / self._size)) if self._size else 0.0

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        exact = tf.matmul(x, self._layer.weight)
        exact = exact if self._layer.bias is None else exact + self._layer.bias
        if self._product is None:
            self._largest = np.maximum(self._largest, np.abs(x).max(0, initial=0))
            return exact
        result = self._product(x)
        self._error += float(tf.reduce_sum(tf.math.squared_difference(result, exact)))
        self._size += float(tf.reduce_sum(tf.square(exact)))
        return result

    def begin(self, stored: bool) -> None:
        """Computes the layer as it will be, and measures its error."""
        if self._before is not None and not stored:
            self._before.simplify_gelu(large_columns(self._layer.weight.numpy(), self._largest))
        self._product = self._made(stored, simulated=True)

    def use_int8(self, use: bool) -> None:
        """Sets whether the layer is computed in int8 or in float32."""
        self._layer.int8 = self if use else None

    def convert(self, stored: bool, simulated: bool) -> None:
        """Leaves the layer in int8."""
        self._layer.int8 = self._made(stored, simulated)
        del self._layer.weight, self._layer.bias

    def _made(self, stored: bool, simulated: bool) -> Product:
        matrix, bias = self._layer.weight.numpy(), self._layer.bias
        bias = None if bias is None else bias.numpy()
        if stored:
            return StoredInt8(matrix, bias)
        floor = None if self._before is None else self._before.floor
        inputs = Inputs(floor, self._largest)
        return Int8Product(matrix, bias, inputs, simulated=simulated)


def convert_to_int8(
    model: TextModel,
    precision: str,
    calibration: Sequence[str] | None,
    tolerance: Tolerance,
    *,
    simulated: bool = False,
) -> Int8Choice | None:
    """Changes the matrices of a model in float32, before its functions are traced.

    Layers stay in float32 until the results for some texts are well within the tolerance, or half
    of all layers are in float32; then verification decides.

    Args:
        model: the model, which is changed.
        precision: `int8`, or `int8-storage`, whose products are computed in float32. With any
            other, nothing is changed, and the result is None.
        calibration: texts like those that the model is for; None: those of the verification.
        tolerance: the differences from float32 that verification will allow.
        simulated: whether sums stay in float32, for tests and benchmarks without a kernel.
    """
    if precision not in INT8_PRECISIONS:
        return None
    stored = precision == INT8_STORAGE
    texts = calibration[:: -(-len(calibration) // _TEXTS)] if calibration else _own_texts(model)
    texts = [text[:_LONGEST] for text in texts]
    networks = {id(part.down): part for part in model.submodules if isinstance(part, FeedForward)}
    trials = [
        _Trial(layer, networks.get(id(layer)))
        for layer in model.submodules
        if isinstance(layer, Linear) and _pays(layer.weight)
    ]
    batches = list(_batches(model, texts))
    _convert_tables(model)
    for trial in trials:
        trial.begin(stored)
    kept, worst = _kept_in_float32(trials, batches, tolerance)
    changed = [trial for trial in trials if trial not in kept]
    for trial in changed:
        trial.convert(stored, simulated)
    return Int8Choice(precision, tuple(trial.name for trial in kept), worst)


def _kept_in_float32(
    trials: list[_Trial], batches: list[_Batch], tolerance: Tolerance
) -> tuple[list[_Trial], str]:
    """The layers that stay in float32, and the name and error of the worst of all layers.

    The error of a layer says little about what it does to the results, and the texts that need
    float32 are few. So each layer is computed in float32 in turn, for the worst of those texts.
    """
    far = _far_texts(batches, tolerance)
    worst = max(trials, key=lambda trial: trial.error, default=None)
    kept: list[_Trial] = []
    while far and 2 * len(kept) < len(trials):
        rest = [trial for trial in trials if trial not in kept]
        used = {trial: _used_without(trial, far, tolerance) for trial in rest}
        rest.sort(key=used.__getitem__)
        # Twice as many each time: a model with many layers takes few turns.
        chosen = rest[: max(1, min(len(kept), len(trials) // 2 + 1 - len(kept)))]
        for trial in chosen:
            trial.use_int8(False)
        kept += chosen
        far = _far_texts(batches, tolerance)
    return kept, f"{worst.name} ({worst.error:.1%})" if worst else "none"


def _far_texts(batches: list[_Batch], tolerance: Tolerance) -> list[_Batch]:
    """The texts that are not well within the tolerance, the worst of them if they are many."""
    used = [batch.used(tolerance) for batch in batches]
    least = np.sort(np.concatenate(used))[-_WORST:][0]
    rows = [np.flatnonzero((own > _MARGIN) & (own >= least)) for own in used]
    return [batch.only(own) for batch, own in zip(batches, rows) if len(own)]


def _used_without(trial: _Trial, far: list[_Batch], tolerance: Tolerance) -> float:
    """The part of the tolerance that these texts use on average with one layer in float32."""
    trial.use_int8(False)
    used = np.concatenate([batch.used(tolerance) for batch in far])
    trial.use_int8(True)
    return float(used.mean())


def _own_texts(model: TextModel) -> list[str]:
    """The texts of the verification."""
    spec = model.first.tokenizer_spec
    texts = texts_for(spec, spec.max_length, model.first.tokens_around)
    return [decoded(text) for text in texts]


def _pays(matrix: tf.Variable) -> bool:
    return bool(np.prod(matrix.shape) >= _SMALLEST and min(matrix.shape) >= _NARROWEST)


def _convert_tables(model: TextModel) -> None:
    """Changes the tables whose rows are looked up. Shared tables stay shared."""
    tables: dict[int, Int8Table] = {}
    for layer in model.submodules:
        if not isinstance(layer, MatrixLayer) or isinstance(layer, Linear):
            continue
        table = layer.weight
        if _pays(table):
            if id(table) not in tables:
                name = table.name.partition(":")[0]
                tables[id(table)] = Int8Table(table.numpy(), name)
            layer.table = tables[id(table)]
            del layer.weight


def _batches(model: TextModel, texts: Sequence[str]) -> Iterator[_Batch]:
    """Some texts and their exact results, for each route."""
    for route, pipeline in model.pipelines.items():
        signature = next(own for own in model.signatures.values() if own.route == route)
        size = pipeline.batch_size or _BATCH
        # Where the number of texts is fixed, the last batch is filled up with the first texts.
        number = -(-len(texts) // size) * size if pipeline.batch_size else len(texts)
        for start in range(0, number, size):
            end = min(start + size, number)
            batch = tf.constant([texts[place % len(texts)] for place in range(start, end)])
            pair = [tf.reverse(batch, [0])] if model.kind == CROSS_ENCODER else []
            encodings = pipeline.first.encodings(signature.use, batch, *pair)
            inputs = (pipeline, encodings, pipeline.prompt_length(signature.prompt))
            yield _Batch(*inputs, _results(*inputs))


def _results(pipeline: Pipeline, encodings: Encodings, prompt_length: int | None) -> np.ndarray:
    """The embeddings, scores before an activation, or vectors: float32 [rows, dim]."""
    # A text that is an error when it is served does not stop a conversion.
    (results, *_), _ = pipeline.unchecked(encodings, prompt_length)
    return np.reshape(results.numpy(), [-1, results.shape[-1]])


def _used(tolerance: Tolerance, exact: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """The part of the tolerance that each row's difference uses: float64 [rows]."""
    parts = np.abs(exact - actual).max(-1, initial=0) / allowed(tolerance.difference, exact)
    if tolerance.cosine is not None:
        norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(actual, axis=1)
        cosines = (exact * actual).sum(1) / np.where(norms > 0, norms, 1)
        apart = np.where(norms > 0, 1 - cosines, 0)
        parts = np.maximum(parts, apart / (1 - tolerance.cosine))
    parts = np.where(np.isnan(parts), np.inf, parts)
    # A text without tokens may have no result.
    return np.where(np.isfinite(exact).all(-1), parts, 0)
