"""The command line: exit codes, output, and start-up time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import models
from tests.support.helpers import check_refusal
from tf_exporter import cli

COMMAND = [sys.executable, "-m", "tf_exporter.cli"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)


PROMPTS = {"query": "hello: ", "odd/name 中": 'a/b\n{c} "é" \U0001f600 ' + "long " * 50}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_model(tmp_path_factory.mktemp("cli") / "model", prompts=PROMPTS)


def test_successful_conversion(model: Path, tmp_path: Path) -> None:
    """Neither the command nor the reference's process imports code from the current folder."""
    for name in ("torch", "sentence_transformers", "numpy", "tensorflow", "json", "tf_exporter"):
        (tmp_path / f"{name}.py").write_text("open('was-run', 'w').close()")
    command = [str(Path(sys.executable).with_name("convert-hf-model")), str(model), "out"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        f"reading {model}",
        "building the graph",
        "saving",
        "verifying (quick)",
    ]
    assert result.stdout.startswith("Token ids: equal")
    assert "max abs difference" in result.stdout
    assert result.stdout.endswith(f"Saved to {tmp_path / 'out'}\n")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.slow
def test_options_that_change_the_graph(model: Path, tmp_path: Path) -> None:
    """Options override the model's settings; the reference gets them too. `--quiet`."""
    limited = Path(shutil.copytree(model, tmp_path / "limited"))
    settings = json.loads((limited / "sentence_bert_config.json").read_text())
    (limited / "sentence_bert_config.json").write_text(
        json.dumps({**settings, "processing_kwargs": {"text": {"max_length": 9}}})
    )
    options = [
        "--max-seq-length",
        12,
        "--truncate-dim",
        7,
        "--prompt-name",
        "odd/name 中",
        "--micro-batch-tokens",
        50,
    ]
    result = run(limited, tmp_path / "out", *options, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    manifest = json.loads((tmp_path / "out/assets.extra/tf_exporter.json").read_text())
    assert (manifest["max_seq_length"], manifest["dimension"], manifest["micro_batch_tokens"]) == (
        12,
        7,
        50,
    )
    assert manifest["verification"]["embedding_texts"] > 0
    assert manifest["signatures"]["serving_default"] == PROMPTS["odd/name 中"]


@pytest.mark.slow
def test_torch_after_tensorflow(model: Path, tmp_path: Path) -> None:
    """Parts of torch that transformers imports do not crash a process with TensorFlow."""
    code = (
        "import sys, tensorflow; from tf_exporter import convert;"
        "convert(sys.argv[1], 'out', verify='off');"
        "import torch, torch._dynamo; print('alive')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, model], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.stdout == "alive\n", result.stderr


def test_usage(model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").write_text("")
    check_refusal(run(model, tmp_path / "out"), 2, "already there")
    assert run("--nonsense").returncode == 2
    assert run(model, tmp_path / "new", "--verify", "sometimes").returncode == 2


def test_not_supported(model: Path, tmp_path: Path) -> None:
    check_refusal(run(model, tmp_path / "out", "--max-seq-length", 1000), 3, "positions")


def test_unreadable(tmp_path: Path) -> None:
    check_refusal(run(tmp_path / "nothing", tmp_path / "out"), 5, "no such folder")


def test_version_and_help_need_no_tensorflow() -> None:
    code = (
        "import sys, tf_exporter, tf_exporter.cli; tf_exporter.cli.parser();"
        "heavy = ('tensorflow', 'torch', 'transformers', 'tokenizers', 'numpy');"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


def test_contract() -> None:
    """The arguments and defaults of the documented command line."""
    options = vars(cli.parser().parse_args(["m", "o"]))
    assert options == {
        "model": "m",
        "output_dir": "o",
        "revision": None,
        "cache_dir": None,
        "local_files_only": False,
        "follow_links": False,
        "max_seq_length": None,
        "truncate_dim": None,
        "prompt_name": None,
        "signatures": None,
        "calibration": None,
        "tokenizer_ops": "core",
        "precision": "float32",
        "micro_batch_tokens": 512,
        "request_batching": False,
        "request_batch_size": None,
        "request_batch_timeout": None,
        "request_batch_threads": None,
        "serving": None,
        "export_type": "sentence-embedding",
        "default_seq_length": 128,
        "do_lower_case": None,
        "pooler": "checkpoint",
        "sentences": 1,
        "batch_size": None,
        "sequence_length": None,
        "embeddings_on_cpu": False,
        "verify": "quick",
        "atol": 1e-5,
        "force": False,
        "quiet": False,
    }


def test_without_the_reference(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without sentence-transformers, token ids are verified, and the rest is reported."""
    from tf_exporter import convert
    from tf_exporter.model.reference import packages

    monkeypatch.setitem(packages.NEEDED, packages.SENTENCE_TRANSFORMERS, ("a_package_nobody_has",))
    conversion = convert(model, tmp_path / "out")
    assert conversion.verification["token_texts"] > 300
    assert conversion.verification["embedding_texts"] == 0
    assert (
        conversion.summary[1] == "Not verified: embeddings: a-package-nobody-has is not installed."
    )
    assert "Not verified" in (tmp_path / "out/README.md").read_text()


@pytest.mark.slow
def test_the_current_folder_is_gone(model: Path, tmp_path: Path) -> None:
    """Only a relative output needs the current folder; no temporary files are left."""
    (tmp_path / "temporary").mkdir()
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" -m tf_exporter.cli "$@"'
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path / "temporary"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }

    def run_there(output: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", "-c", script, sys.executable, str(model), output]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    check_refusal(run_there("out"), 2, "out")
    result = run_there(str(tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "temporary").iterdir()) == []
