"""The command `python -m tf_exporter.bench`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tf_exporter.bench.artifacts import Loaded, check_kinds, open_artifact, reason
from tf_exporter.bench.processor import SWITCH, onednn_is_on, onednn_lines, processor
from tf_exporter.bench.report import Row, figures, names, table, verdict
from tf_exporter.bench.texts import Shape, own_shapes, read_lines, shapes_of, split
from tf_exporter.bench.timing import measure
from tf_exporter.cli import end_when_interrupted, prepare_streams, say
from tf_exporter.errors import ConversionError, UsageError
from tf_exporter.names import INT8_PRECISION

PROGRAM = "tf_exporter.bench"
_FIRST_TEXT = "How do I bake bread?"
_FIRST_BATCH = 100
_LONGEST_S = 86_400


class NothingRunsError(ConversionError):
    """No artifact can run on this machine."""

    exit_code = 3


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {PROGRAM}",
        description="Time artifacts beside each other on this machine, e.g. one model in several "
        "precisions.",
        epilog="Exit codes: 0 done, 2 wrong usage, 3 no artifact runs on this machine, "
        "5 unreadable input, 130 interrupted.",
    )
    parser.add_argument(
        "folders",
        metavar="FOLDER",
        nargs="+",
        help="an artifact of convert-hf-model; ratios are to the first",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="how long to measure, after loading (default: %(default)g)",
    )
    parser.add_argument(
        "--texts",
        metavar="FILE",
        help="texts of your own, one a line; for pairs, with a tab between (default: random words)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures here, too")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    prepare_streams()
    options = parser().parse_args(arguments)
    end_when_interrupted(PROGRAM)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        _run(options.folders, options.seconds, options.texts, options.json)
    except ConversionError as error:
        say([f"{PROGRAM}: {error}"], sys.stderr)
        return error.exit_code
    return 0


def _run(folders: Sequence[str], seconds: float, texts: str | None, path: str | None) -> None:
    if not 0 < seconds <= _LONGEST_S:
        raise UsageError(f"--seconds {seconds:g}: a number above 0, of a day at most, is needed")
    artifacts = [open_artifact(folder) for folder in folders]
    check_kinds(artifacts)
    own = None if texts is None else (texts, read_lines(texts))
    machine, told = _machine()
    say(told, sys.stdout)
    rows = [Row(artifact, name) for artifact, name in zip(artifacts, names(artifacts))]
    graphs = {
        number: graph
        for number, row in enumerate(rows)
        if (graph := _loaded(row, machine["onednn"])) is not None
    }
    shapes = _shapes(list(graphs.values()), own)
    _time(rows, graphs, shapes, seconds)
    say(["", *table(rows, shapes), ""], sys.stdout)
    if path is not None:
        _write(path, {**machine, **figures(rows, shapes)})
    if all(row.error is not None for row in rows):
        raise NothingRunsError("no artifact runs on this machine; the table says why")
    say([verdict(rows, shapes)], sys.stdout)


def _time(
    rows: Sequence[Row], graphs: dict[int, Loaded], shapes: Sequence[Shape], seconds: float
) -> None:
    """Adds the times of each shape, or an error, to `rows`. `graphs`: number of a row → graph."""
    end = time.perf_counter() + seconds
    for number, shape in enumerate(shapes):
        share = (end - time.perf_counter()) / (len(shapes) - number)
        calls = {
            row: graph.call(shape.texts) for row, graph in graphs.items() if rows[row].error is None
        }
        medians, errors = measure(calls, share)
        for row, median in medians.items():
            rows[row].times[shape.name] = median
        for row, error in errors.items():
            rows[row].error = reason(error)


def _machine() -> tuple[dict[str, Any], list[str]]:
    """What the times depend on: for programs, and as lines for people."""
    import tensorflow as tf

    here, onednn = processor(), onednn_is_on()
    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    versions = f"TensorFlow {tf.__version__}" + (f", {len(gpus)} GPUs" if gpus else "")
    hints = onednn_lines(here, onednn, os.environ.get(SWITCH))
    facts = {
        "processor": asdict(here),
        "tensorflow": tf.__version__,
        "onednn": onednn,
        "gpus": gpus,
    }
    return facts, [here.line(), versions, *hints]


def _loaded(row: Row, onednn: bool | None) -> Loaded | None:
    """The artifact after its first calls; None where one fails, which `row` then says."""
    try:
        graph = Loaded(row.artifact)
        # A graph has one part for few tokens and one for many, and is optimized at its first call.
        for number in (1, _FIRST_BATCH):
            graph.call([(_FIRST_TEXT,) * (1 + graph.pairs)] * number)()
    except ConversionError:
        raise
    except Exception as error:  # TensorFlow raises many types
        advice = ""
        if row.artifact.precision == INT8_PRECISION and onednn is False:
            advice = " (int8 needs x86 with VNNI, and TensorFlow's oneDNN ops, which are off)"
        row.error = reason(error) + advice
        return None
    return graph


def _shapes(
    graphs: Sequence[Loaded], own: tuple[str, Sequence[tuple[int, str]]] | None
) -> list[Shape]:
    """The texts to time; `own`: a file and its lines. Nothing is timed where no artifact runs."""
    if not graphs:
        return []
    pairs = graphs[0].pairs
    if any(graph.pairs != pairs for graph in graphs):
        raise UsageError("some of the artifacts take texts, others pairs")
    if own is not None:
        return shapes_of(split(*own, pairs))
    return own_shapes(pairs, graphs[0].tokens if graphs[0].counts_tokens else None)


def _write(path: str, values: dict[str, Any]) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)
            file.write("\n")
    except OSError as error:
        raise UsageError(f"--json {path}: cannot be written ({error.strerror})") from error
