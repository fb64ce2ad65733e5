"""Models from the Hub: a real client and a hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fixtures import adapters, models
from fixtures.hub import COMMIT, serve_hub
from fixtures.models import Dense, Pooling
from tests.support.helpers import check_refusal

REPOSITORY = "someone/some-model"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = models.write_model(
        tmp_path_factory.mktemp("hub") / "model", heads=[Pooling(32, "mean"), Dense(32, 8)]
    )
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_text("not wanted")
    (folder / "pytorch_model.bin").write_text("not wanted where there are safetensors")
    return folder


@pytest.fixture(scope="module")
def hub(model: Path) -> Iterator[tuple[str, list[str]]]:
    with serve_hub(model, REPOSITORY) as served:
        yield served


def run(endpoint: str, cache: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(cache / "home"),
    }
    environment.pop("HF_HUB_OFFLINE", None)
    command = [
        sys.executable,
        "-m",
        "tf_exporter.cli",
        *map(str, arguments),
        "--cache-dir",
        str(cache / "hub"),
        "--verify",
        "off",
    ]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_download_of_a_revision_then_offline(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    endpoint, requests = hub
    result = run(endpoint, tmp_path, REPOSITORY, tmp_path / "out", "--revision", "v1")
    assert result.returncode == 0, result.stderr
    assert "%|" not in result.stderr  # no progress bar where there is no terminal
    manifest = json.loads((tmp_path / "out/assets.extra/tf_exporter.json").read_text())
    assert (manifest["source"], manifest["revision"]) == (REPOSITORY, COMMIT)
    assert any(request.endswith("2_Dense/model.safetensors") for request in requests)
    assert not any("onnx" in request or "pytorch_model.bin" in request for request in requests)
    seen = len(requests)
    result = run(
        endpoint,
        tmp_path,
        REPOSITORY,
        tmp_path / "offline",
        "--revision",
        "v1",
        "--local-files-only",
    )
    assert result.returncode == 0, result.stderr
    assert len(requests) == seen


def test_no_such_revision(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    endpoint, _ = hub
    result = run(endpoint, tmp_path, REPOSITORY, tmp_path / "other", "--revision", "nonsense")
    check_refusal(result, 5, "nonsense")


def test_no_such_repository(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    check_refusal(run(hub[0], tmp_path, "someone/nothing", tmp_path / "out"), 5, "someone/nothing")


def test_nobody_answers(tmp_path: Path) -> None:
    check_refusal(run("http://127.0.0.1:9", tmp_path, REPOSITORY, tmp_path / "out"), 5, REPOSITORY)


def test_not_in_the_cache(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    check_refusal(
        run(hub[0], tmp_path, REPOSITORY, tmp_path / "out", "--local-files-only"), 5, REPOSITORY
    )


@pytest.mark.slow
@pytest.mark.parametrize("part", ["", "2_Dense"])
def test_pickled_weights_where_there_are_no_others(tmp_path: Path, part: str) -> None:
    folder = models.write_model(tmp_path / "model", heads=[Pooling(32, "mean"), Dense(32, 8)])
    weights = folder / part / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with serve_hub(folder, REPOSITORY) as (endpoint, _):
        result = run(endpoint, tmp_path, REPOSITORY, tmp_path / "out")
        assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_base_of_an_adapter_then_offline(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    """A base that only its name gives is fetched at its main revision, and is in the manifest."""
    endpoint, requests = hub
    folder = adapters.write_adapter(tmp_path / "model", lora={"target_modules": ["query"]})
    adapters.change(folder, base_model_name_or_path=REPOSITORY, revision="v9")
    result = run(endpoint, tmp_path, folder, tmp_path / "none", "--local-files-only")
    check_refusal(result, 5, f"base_model_name_or_path: {REPOSITORY}")
    result = run(endpoint, tmp_path, folder, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    manifest = json.loads((tmp_path / "out/assets.extra/tf_exporter.json").read_text())
    assert f"{REPOSITORY}/model.safetensors" in manifest["sha256"]
    assert manifest["ignored"]["adapter_config.json"] == ["revision"]
    assert not any("v9" in request for request in requests)
    seen = len(requests)
    result = run(endpoint, tmp_path, folder, tmp_path / "again", "--local-files-only")
    assert result.returncode == 0, result.stderr
    assert len(requests) == seen
