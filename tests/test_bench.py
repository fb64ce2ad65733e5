"""`python -m tf_exporter.bench`: real small artifacts beside each other, and bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from fixtures import heads, models
from tf_exporter import convert
from tf_exporter.bench import command
from tf_exporter.bench.artifacts import Artifact, Loaded, open_artifact
from tf_exporter.bench.processor import Processor, onednn_is_on, onednn_lines, processor
from tf_exporter.bench.report import Row, table, verdict
from tf_exporter.bench.texts import Shape, own_shapes
from tf_exporter.bench.timing import measure

PROJECT = Path(__file__).parents[1]
SETTINGS: dict[str, Any] = {"verify": "off", "quiet": True}
Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts of every kind, in the layouts of servers, and one for four texts a call."""
    place = tmp_path_factory.mktemp("bench")
    model = models.write_model(place / "sources" / "model")
    convert(model, place / "plain", **SETTINGS)
    convert(model, place / "half", precision="bfloat16", **SETTINGS)
    convert(model, place / "fixed", batch_size=4, **SETTINGS)
    convert(model, place / "triton", serving="triton", **SETTINGS)
    cross = heads.write_cross_encoder(place / "sources" / "cross")
    convert(cross, place / "cross", **SETTINGS)
    convert(heads.write_sparse_encoder(place / "sources" / "sparse"), place / "sparse", **SETTINGS)
    return place


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command; gives its exit code, the lines of standard output, and the error."""
    monkeypatch.setattr(command, "end_when_interrupted", lambda program: None)
    monkeypatch.setattr(command, "prepare_streams", lambda: None)

    def run(*arguments: Any) -> tuple[int, list[str], str]:
        capfd.readouterr()
        code = command.main(["--seconds", "0.2", *map(str, arguments)])
        output, error = capfd.readouterr()
        return code, output.splitlines(), error

    return run


def test_precisions_and_layouts_beside_each_other(place: Path, run: Run, tmp_path: Path) -> None:
    folders = [place / name for name in ("plain", "half", "triton", "fixed")]
    code, lines, error = run(*folders, "--json", tmp_path / "figures.json")
    assert (code, error) == (0, "")
    start = lines.index("") + 1
    shapes = ["1 × 16 tokens", "1 × 32 tokens", "32 × 32 tokens", "128 × 4–200 words"]
    assert re.split("  +", lines[start]) == ["median ms", "precision", *shapes]
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["shapes"] == dict(zip(shapes, (1, 1, 32, 128)))
    first = figures["artifacts"][0]["median_ms"]
    for line, row in zip(lines[start + 1 :], figures["artifacts"]):
        name, precision, *cells = re.split("  +", line)
        assert (name, precision) == (Path(row["folder"]).name, row["precision"])
        assert row["error"] is None
        for shape, cell in zip(shapes, cells):
            time = row["median_ms"][shape]
            ratio = "" if row["median_ms"] is first else rf" \({time / first[shape]:.2f}\)"
            assert re.fullmatch(rf"[\d,.]+{ratio}", cell)
            assert float(cell.split()[0].replace(",", "")) == pytest.approx(time, rel=0.05)
    assert [row["precision"] for row in figures["artifacts"]] == ["float32", "bfloat16"] + [
        "float32"
    ] * 2
    assert lines[-1].startswith("Fastest for single texts: ")
    assert "; for batches: " in lines[-1]


@pytest.mark.slow
def test_kinds(place: Path, run: Run, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("how to bake\tbread in an oven\n\nwhat is rain\twater\n", encoding="utf-8")
    assert run(place / "sparse")[0] == 0
    code, lines, _ = run(place / "cross")
    assert code == 0
    # The special tokens of a pair and the query leave room for a document.
    assert "  32 × " in lines[lines.index("") + 1]
    code, lines, _ = run(place / "cross", "--texts", texts)
    assert code == 0
    head = re.split("  +", lines[lines.index("") + 1])
    assert head[2:] == ["1 × 27 characters", "2 of 2 texts"]


def test_lengths_in_tokens(place: Path) -> None:
    """The counts are those of the artifact, and a pair's query and document both count."""
    for name, pairs in (("plain", False), ("cross", True)):
        graph = Loaded(open_artifact(str(place / name)))
        assert graph.pairs == pairs
        for shape in own_shapes(graph.pairs, graph.tokens):
            if shape.name.endswith(" tokens"):
                expected = int(re.findall(r"\d+", shape.name)[1])
                assert max(graph.tokens(shape.texts)) == expected
                assert all(len(text) == 1 + pairs for text in shape.texts)


@pytest.mark.slow
def test_fixed_number_of_texts(place: Path) -> None:
    """Six texts are two calls of an artifact for four; empty texts fill up the second."""
    graph = Loaded(open_artifact(str(place / "fixed")))
    batches: list[list[bytes]] = []

    def serve(input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        batches.append(input_sequence.numpy().tolist())
        return {}

    graph._serve = serve
    graph.call([(letter,) for letter in "abcdef"])()
    assert batches == [[b"a", b"b", b"c", b"d"], [b"e", b"f", b"", b""]]


@pytest.fixture
def unrunnable(place: Path, tmp_path: Path) -> Path:
    """An artifact with an op that no CPU has, as int8 on some processors."""
    folder = Path(shutil.copytree(place / "plain", tmp_path / "unrunnable"))

    class Graph(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def serve(self, input_sequence: tf.Tensor) -> dict[str, tf.Tensor]:
            size = tf.raw_ops.CudnnRNNParamsSize(
                num_layers=1, num_units=2, input_size=3, T=tf.float32, S=tf.int32
            )
            return {"sentence_embedding": tf.cast(size, tf.float32)}

    graph = Graph()
    tf.saved_model.save(graph, str(tmp_path / "graph"), signatures={"serving_default": graph.serve})
    shutil.copy(tmp_path / "graph" / "saved_model.pb", folder)
    return folder


def test_what_cannot_run_has_a_row(place: Path, run: Run, unrunnable: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(place / "plain", tmp_path / "broken"))
    (broken / "saved_model.pb").write_bytes(b"\xff")
    code, lines, error = run(broken, place / "plain", unrunnable)
    assert (code, error) == (0, "")
    _, first, second, third = lines[lines.index("") + 1 :][:4]
    assert first.startswith("broken      float32    cannot run here: ")
    # Ratios are to the first that runs.
    assert second.startswith("plain ")
    assert "(" not in second
    assert "cannot run here: No OpKernel was registered" in third
    assert lines[-1] == "Fastest for single texts: plain (float32); for batches: plain (float32)"
    code, _, error = run(unrunnable)
    assert code == 3
    assert error == "tf_exporter.bench: no artifact runs on this machine; the table says why\n"


def _no_manifest(folder: Path) -> list[Path]:
    (folder / "assets.extra" / "tf_exporter.json").unlink()
    return [folder]


def _change(folder: Path, **changes: Any) -> list[Path]:
    path = folder / "assets.extra" / "tf_exporter.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return [folder]


def _no_default(folder: Path) -> list[Path]:
    tf.saved_model.save(tf.Module(), str(folder.parent / "empty"))
    shutil.copy(folder.parent / "empty" / "saved_model.pb", folder)
    shutil.copytree(folder.parent / "empty" / "variables", folder / "variables", dirs_exist_ok=True)
    return [folder]


BAD: dict[str, tuple[Callable[[Path], list[Any]], int, str]] = {
    "no folder": (lambda folder: [folder / "none"], 5, "no such folder"),
    "no SavedModel": (lambda folder: [folder / "assets.extra"], 5, r"no SavedModel \(no saved_mod"),
    "no manifest": (_no_manifest, 5, "part of each artifact of tf-exporter"),
    "manifest": (lambda folder: _change(folder, precision=3), 5, "precision, .* is missing"),
    "export": (lambda folder: _change(folder, export_type="encoder"), 2, "of --export-type enc"),
    "kinds": (
        lambda folder: [folder, *_change(Path(shutil.copytree(folder, f"{folder}2")), kind="X")],
        2,
        "is a SentenceTransformer, .* a X: compare artifacts of one kind",
    ),
    "no serving_default": (_no_default, 5, "no signature serving_default"),
    "texts": (lambda folder: [folder, "--texts", folder / "none"], 5, "none: cannot be read"),
    "binary texts": (
        lambda folder: [folder, "--texts", folder / "variables/variables.index"],
        5,
        "not UTF-8",
    ),
    "no texts": (lambda folder: [folder, "--texts", os.devnull], 5, "no texts"),
    "figures": (lambda folder: [folder, "--json", folder], 2, "--json .*: cannot be written"),
    "seconds": (lambda folder: [folder, "--seconds", "nan"], 2, "--seconds nan: a number above 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, place: Path, run: Run, tmp_path: Path) -> None:
    spoil, expected, message = BAD[name]
    folder = Path(shutil.copytree(place / "plain", tmp_path / "plain"))
    code, _, error = run(*spoil(folder))
    assert code == expected
    assert re.fullmatch(rf"tf_exporter\.bench: .*{message}.*\n", error)


def test_several_models(place: Path, run: Run) -> None:
    shutil.copytree(place / "triton" / "model", place / "two" / "a", dirs_exist_ok=True)
    shutil.copytree(place / "triton" / "model", place / "two" / "b", dirs_exist_ok=True)
    code, _, error = run(place / "two")
    assert code == 2
    assert "several models; name one of them: " in error


@pytest.mark.slow
def test_not_pairs(place: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a\tb\nc\n", encoding="utf-8")
    code, _, error = run(place / "cross", "--texts", tmp_path / "texts.txt")
    assert (code, "line 2 is not two texts" in error) == (5, True)


def test_the_command_imports_tensorflow_alone(place: Path) -> None:
    code = (
        "import sys\n"
        "from tf_exporter.bench.command import main\n"
        f"assert main([{str(place / 'plain')!r}, '--seconds', '0.1']) == 0\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'sentence_transformers'}\n"
        "assert not heavy & sys.modules.keys()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT
    )
    assert result.returncode == 0, result.stderr
    assert "Fastest for single texts: plain (float32)" in result.stdout


@pytest.mark.parametrize("setting", ["0", "1"])
def test_onednn_is_asked_for_truthfully(setting: str) -> None:
    """Compared with the graph that TensorFlow runs: with oneDNN, its products are `_Mkl…`."""
    code = (
        "import tensorflow as tf\n"
        "from tensorflow.python.eager import context\n"
        "from tf_exporter.bench.processor import onednn_is_on\n"
        "product = tf.function(lambda x: tf.nn.relu(tf.matmul(x, x) + 1.0))\n"
        "context.context().enable_run_metadata()\n"
        "product(tf.ones([64, 64]))\n"
        "graphs = context.context().export_run_metadata().partition_graphs\n"
        "assert graphs\n"
        "print(onednn_is_on(), any(node.op.startswith('_Mkl') for graph in graphs "
        "for node in graph.node))\n"
    )
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": setting}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=PROJECT
    )
    assert result.returncode == 0, result.stderr
    said, used = result.stdout.split()
    assert said == used


def test_instruction_sets(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: A CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512f avx512_bf16\n")
    here = processor(cpuinfo)
    assert here.name == "A CPU @ 2 GHz"
    assert here.line().endswith(
        "with AVX2, AVX-512, AVX512_BF16; without AVX512_VNNI, AVX_VNNI, AMX"
    )
    assert processor(tmp_path / "none").instruction_sets is None
    assert processor(tmp_path / "none").line().endswith("instruction sets unknown")


def test_hints_about_onednn() -> None:
    old = Processor("CPU", 2, {"AVX2": True, "AVX-512": False})
    assert "Run this again with TF_ENABLE_ONEDNN_OPTS=1" in onednn_lines(old, False, None)[1]
    assert onednn_lines(old, True, None) == ["TensorFlow's oneDNN ops are on."]
    assert "The environment has" in onednn_lines(old, False, "0")[1]
    assert len(onednn_lines(Processor("CPU", 2, None), False, None)) == 1
    assert onednn_is_on() in (True, False)


def test_medians_and_budget() -> None:
    """Calls take turns in bursts until the time is over; an error ends one of them alone."""
    now = [0.0]
    calls: list[str] = []

    def call(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            calls.append(name)
            now[0] += seconds

        return run

    def fail() -> None:
        raise ValueError("no")

    timed = {"quick": call("quick", 0.01), "slow": call("slow", 0.15), "bad": fail}
    medians, errors = measure(timed, 3.0, lambda: now[0])
    assert medians == pytest.approx({"quick": 10.0, "slow": 150.0})
    assert [*errors] == ["bad"]
    assert 3.0 <= now[0] <= 3.5
    order = "".join(name[0] for name in calls)
    assert re.fullmatch(r"qqq{15}sss?(q{15}ss?)+", order), order
    # A call that takes the whole time is made once.
    calls.clear()
    measure({"slow": call("slow", 5.0)}, 3.0, lambda: now[0])
    assert calls == ["slow"]


def test_fastest() -> None:
    def row(name: str, single: float, batch: float, error: str | None = None) -> Row:
        artifact = Artifact(name, Path(name), "SentenceTransformer", "float32", None, ())
        return Row(artifact, name, {"1": single, "8": batch}, error)

    shapes = [Shape("1", [("a",)]), Shape("8", [("a",)] * 8)]
    rows = [row("a", 10, 100), row("b", 10.4, 50), row("c", 1, 1, "broken")]
    assert verdict(rows, shapes) == (
        "Fastest for single texts: a (float32; about as fast: b); for batches: b (float32)"
    )
    assert verdict(rows[:1], shapes[:1]) == "Fastest for single texts: a (float32)"
    assert table(rows, shapes)[2].split()[2:] == ["10.4", "(1.04)", "50.0", "(0.50)"]
