"""The programs of benchmarks/: what they write, without measuring anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.engines import ENGINES, FILES, LEAST_COSINE, OURS, PRECISIONS
from benchmarks.gpu import EXACT, FIXED_CASE, cases, variants
from benchmarks.gpu_variants import TENSORFLOW, Variant
from benchmarks.report import Result, cosine_table, write
from tf_exporter.options import Options
from tools import tables

PROJECT = Path(__file__).parents[1]


def test_engines() -> None:
    """Each engine has an artifact or a file, and those of reduced precision a limit."""
    assert ENGINES.keys() == PRECISIONS.keys() | FILES.keys()
    for engine, precision in PRECISIONS.items():
        reduced = engine.rpartition(", ")[2] in LEAST_COSINE
        assert reduced == (precision != "float32"), engine


def test_expected_seconds() -> None:
    """A case is judged by the last mixed one that the engine ran and that has the same texts."""
    texts = {
        "1 × 16 tokens": ["a"],
        "32 mixed": list("ab"),
        "128 mixed": list("abcd"),
        "1,024 mixed": list("abcdefgh"),
        "128 evenly mixed": list("xyzw"),
    }
    times = {case: {OURS: _times(1000.0)} for case in texts}
    times["32 mixed"]["X"] = _times(500.0)
    times["128 mixed"]["X"] = _times(3000.0)
    times["1 × 16 tokens"]["X"] = _times(9e9)
    result = Result("model", {}, {})
    expected = []
    for case in texts:
        expected.append(result.expected_s("X", texts, case))
        result.times[case] = times[case]
    assert expected == [0, 0, 1, 6, 0]
    # Left out of a case, it is judged by the one before.
    del times["128 mixed"]["X"]
    assert result.expected_s("X", texts, "1,024 mixed") == 2


def _times(median: float) -> Any:
    return {"median": median, "minimum": median, "calls": 1}


def test_cosines_are_kept_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # matplotlib is installed for benchmarks alone.
    monkeypatch.setattr(report, "plot", lambda results, path: None)
    times = {"a case": {OURS: _times(1.0)}}
    first = Result("model", {}, dict(times), {}, {})
    assert cosine_table([first]) == ""
    first.cosines = {"X, int8": {"smallest": 0.98, "mean": 0.991, "texts": 512}}
    write(first, tmp_path)
    other = {"another case": times["a case"]}
    write(Result("model", {}, other, {}, {}), tmp_path)
    (kept,) = json.loads((tmp_path / "embeddings.json").read_text())
    assert kept["cosines"] == first.cosines
    page = (tmp_path / "embeddings.md").read_text()
    assert "| model, X, int8 | 0.98000 | 0.99100 | 512 |\n" in page


def test_variants_of_the_gpu_benchmark() -> None:
    """The options are those of conversions, and the first variant is what others compare with."""
    assert variants(128)[0].name == EXACT
    for variant in variants(128):
        if variant.engine == TENSORFLOW:
            Options(**variant.options).check()
    names = [variant.name for variant in variants(128)]
    assert len({*names}) == len(names)
    assert len(cases()[FIXED_CASE]) == 32
    assert (
        Variant("a", TENSORFLOW, {"x": 1}).artifact == Variant("b", TENSORFLOW, {"x": 1}).artifact
    )


def test_no_gpu() -> None:
    """One line and exit code 2; the tests' environment hides a GPU."""
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], capture_output=True, text=True, cwd=PROJECT
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.endswith("benchmarks.gpu: TensorFlow sees no GPU on this machine\n")
    assert "Traceback" not in result.stderr


def test_table_of_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.gpu().startswith("Not measured yet")
    placed = {"ops": {"GPU:0": 9}, "string_ops": {"CPU:0": ["StringLower"]}, "copies": {}}
    rows = {
        "float32": {"median_ms": {"a": 1.25, "b": 1234.0}, "difference": 1e-3, **placed},
        "XLA": {"error": "no | memory"},
    }
    (tmp_path / "gpu.json").write_text(json.dumps({"gpus": ["A GPU"], "variants": rows}))
    assert tables.gpu().splitlines() == [
        "| A GPU, median ms | a | b | difference |",
        "|---|---|---|---|",
        "| float32 | 1.2 | 1,234.0 | 1.0e-03 |",
        "| XLA | – | – | no \\| memory |",
        "",
        "| | ops | ops of strings | copies |",
        "|---|---|---|---|",
        "| float32 | GPU:0: 9 | CPU:0: 1 |  |",
    ]
