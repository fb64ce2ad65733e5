"""Checkpoints that are damaged, wrong or unsafe: a typed error in one line, and no files left."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures import models
from fixtures.models import rewrite
from tests.support.refusals import refused
from tf_exporter import ConversionError, InputError, WeightsError, convert
from tf_exporter.model.source import ModelSource
from tf_exporter.model.weights import open_weights


def change_weights(model: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(model / "model.safetensors")
    change(tensors)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})


NAME = "encoder.layer.1.attention.self.key.weight"
HUGE = torch.full((32, 32), 1e300, dtype=torch.float64)
BAD_WEIGHTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "missing": (lambda tensors: tensors.pop(NAME), NAME),
    "renamed": (lambda tensors: tensors.update({NAME + "s": tensors.pop(NAME)}), NAME),
    "mis-shaped": (lambda tensors: tensors.update({NAME: tensors[NAME][:31]}), "[31, 32]"),
    "flat": (lambda tensors: tensors.update({NAME: tensors[NAME].flatten()}), "[1024]"),
    "NaN": (lambda tensors: tensors[NAME].fill_(float("nan")), "not finite"),
    "infinite": (lambda tensors: tensors[NAME].fill_(float("inf")), "not finite"),
    "float8": (lambda tensors: tensors.update({NAME: tensors[NAME].to(torch.float8_e4m3fn)}), NAME),
    "integers": (lambda tensors: tensors.update({NAME: tensors[NAME].to(torch.int8)}), "int8"),
    "too large": (lambda tensors: tensors.update({NAME: HUGE}), "not finite"),
    "twice": (lambda tensors: tensors.update({"bert." + NAME: torch.zeros(32, 32)}), NAME),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_weights(model: Path, name: str) -> None:
    change, word = BAD_WEIGHTS[name]
    change_weights(model, change)
    refused(model, WeightsError, word)


def test_no_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()
    refused(model, InputError, "model.safetensors")


def header(length: int, content: bytes) -> bytes:
    return struct.pack("<Q", length) + content


LYING_FILES = {
    "empty": b"",
    "no header": b"12345",
    "header longer than the file": header(1 << 40, b"{}"),
    "header of the file's length": header(1 << 20, b"{}"),
    "header is no JSON": header(8, b"nonsense"),
    "offsets beyond the file": header(
        70, b'{"a":{"dtype":"F32","shape":[9999],"data_offsets":[0,39996]}}         '
    ),
    "offsets overlap": header(
        112,
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        b'"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}     ',
    )
    + b"1234",
    "shape does not fit": header(
        70, b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}}                '
    )
    + b"1234",
    "nested": header(100_000, b"[" * 100_000),
}


@pytest.mark.parametrize("name", LYING_FILES)
def test_safetensors_header(model: Path, name: str) -> None:
    (model / "model.safetensors").write_bytes(LYING_FILES[name])
    refused(model, InputError, "model.safetensors")


def test_truncated_safetensors(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(model, InputError, "model.safetensors")


@pytest.mark.parametrize(
    "weight_map",
    [{"a": "../x.safetensors"}, {"a": "/etc/passwd"}, {"a": "no.safetensors"}, {"a": 5}, [], None],
    ids=str,
)
def test_shard_index(model: Path, weight_map: Any) -> None:
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    refused(
        model,
        InputError if not isinstance(weight_map, dict) or weight_map == {"a": 5} else WeightsError,
        "index",
    )


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch should-not-be-here",)


def test_pickles_are_not_run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (model / "model.safetensors").unlink()
    torch.save({"a": Hostile()}, model / "pytorch_model.bin")
    refused(model, InputError, "pytorch_model.bin")
    (model / "pytorch_model.bin").write_bytes(b"no pickle at all")
    refused(model, InputError, "pytorch_model.bin")
    torch.save([1, 2], model / "pytorch_model.bin")
    refused(model, InputError, "pytorch_model.bin")
    assert not (tmp_path / "should-not-be-here").exists()


def test_pickled_weights_without_torch(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (model / "model.safetensors").unlink()
    torch.save({}, model / "pytorch_model.bin")
    monkeypatch.setitem(sys.modules, "torch", None)
    refused(model, InputError, "tf-exporter[verify]")


def test_pickled_forms(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(
        {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()},
        model / "pytorch_model.bin",
    )
    convert(model, model.parent / "out", verify="off")
    torch.save(
        {**tensors, NAME: torch.complex(tensors[NAME], -tensors[NAME]).conj().imag},
        model / "pytorch_model.bin",
    )
    weights = open_weights(ModelSource(model, "model"))
    assert (weights.take(NAME, (32, 32)) == tensors[NAME].numpy()).all(), (
        "the tensor is stored as its negative"
    )
    for odd in (tensors[NAME].to("meta"), torch.zeros(1, 32).expand(32, 32)):
        torch.save({**tensors, NAME: odd}, model / "pytorch_model.bin")
        refused(model, WeightsError, NAME)
    for odd in (
        tensors[NAME].to_sparse(),
        tensors[NAME].to(torch.float8_e4m3fn),
        tensors[NAME].to(torch.int8),
    ):
        torch.save({**tensors, NAME: odd}, model / "pytorch_model.bin")
        refused(model, WeightsError, NAME)


def test_modules_have_no_shards(model: Path) -> None:
    """sentence-transformers reads a shard index for the transformer only."""
    dense = model / "2_Dense"
    (dense / "model.safetensors").rename(dense / "a.safetensors")
    (dense / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"linear.weight": "a.safetensors"}})
    )
    refused(model, InputError, "2_Dense")


def test_tokenizer_that_panics(model: Path) -> None:
    """Two tokens of white space, of which one strips the other."""
    rewrite(model / "config.json", vocab_size=119)
    change_weights(
        model,
        lambda tensors: tensors.update({WORDS: torch.cat([tensors[WORDS], tensors[WORDS][:2]])}),
    )
    tokens = {
        str(len(models.VOCAB) + number): {
            **dict.fromkeys(("special", "normalized", "single_word"), False),
            "content": content,
            "lstrip": lstrip,
            "rstrip": not lstrip,
        }
        for number, (content, lstrip) in enumerate([("  ", False), ("\n", True)])
    }
    rewrite(model / "tokenizer_config.json", added_tokens_decoder=tokens)
    place = model.parent / "place"
    place.mkdir()
    with pytest.raises(ConversionError, match="AddedVocabulary bad split"):
        convert(model, place / "out")
    assert list(place.iterdir()) == []


WORDS = "embeddings.word_embeddings.weight"
