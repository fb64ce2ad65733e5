"""Models that are damaged, wrong or not supported: a typed error in one line, and no files left."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures import models
from fixtures.models import rewrite
from tests.support.refusals import refused
from tf_exporter import ConversionError, InputError, UnsupportedError, UsageError, convert
from tf_exporter.model.source import CONFIG_LIMIT


def edit_modules(model: Path, index: int, **changes: Any) -> None:
    entries = json.loads((model / "modules.json").read_text())
    entries[index].update(changes)
    (model / "modules.json").write_text(json.dumps(entries))


def test_the_unbroken_model_converts(model: Path, tmp_path: Path) -> None:
    convert(model, tmp_path / "out", verify="off")
    assert (tmp_path / "out/saved_model.pb").is_file()


@pytest.mark.parametrize("name", ["no/such/folder/here", "./nothing", "/nothing/there", "a b", ""])
def test_missing_folder(tmp_path: Path, name: str) -> None:
    refused(name, InputError, "no such folder", place=tmp_path)


def test_not_a_model(model: Path) -> None:
    for path in (model / "modules.json", model / "config.json"):
        path.unlink()
    refused(model, InputError, "not a model")


def test_model_is_a_file(model: Path) -> None:
    refused(model / "config.json", InputError, "not a folder")


JSON_FILES = [
    *("modules.json", "config.json", "1_Pooling/config.json", "sentence_bert_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "config_sentence_transformers.json"),
]


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize(
    "content",
    ["", "{", '{"a": 1', "nonsense", "\udcff", "[" * 100_000, '{"a":' * 100_000, "5", "null"],
)
def test_broken_json(model: Path, name: str, content: str) -> None:
    (model / name).write_bytes(content.encode(errors="surrogateescape"))
    refused(model, InputError, name)


def test_hundred_megabytes_of_nesting(model: Path) -> None:
    for name in ("modules.json", "tokenizer.json"):
        original = (model / name).read_bytes()
        (model / name).write_bytes(b"[" * 100_000_000)
        refused(model, InputError, name)
        (model / name).write_bytes(original)
    assert CONFIG_LIMIT < 100_000_000


def keys(file: str, **changes: Any) -> Callable[[Path], Any]:
    return lambda model: rewrite(model / file, **changes)


def module(index: int, **changes: Any) -> Callable[[Path], Any]:
    return lambda model: edit_modules(model, index, **changes)


UNSUPPORTED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "module type": (module(1, type="sentence_transformers.models.Telepathy"), "Telepathy"),
    "module of a module": (module(1, type="sentence_transformers.models.os.Pooling"), "models.os"),
    "foreign namespace": (module(1, type="evil.models.Pooling"), "evil.models.Pooling"),
    "prefix of a namespace": (module(1, type="sentence_transformers.models_x.Pooling"), "models_x"),
    "code in the model": (module(0, type="modeling_custom.Transformer"), "modeling_custom"),
    "first module": (module(0, type="sentence_transformers.models.Pooling"), "[0].type"),
    "architecture": (keys("config.json", model_type="gpt2"), "gpt2"),
    "position type": (keys("config.json", position_embedding_type="relative_key"), "relative_key"),
    "ALiBi": (keys("config.json", position_embedding_type="alibi"), "alibi"),
    "decoder": (keys("config.json", is_decoder=True), "is_decoder"),
    "config key": (keys("config.json", rope_theta=10000.0), "rope_theta"),
    "config type": (keys("config.json", hidden_size="32"), "hidden_size"),
    "negative size": (keys("config.json", num_hidden_layers=-1), "num_hidden_layers"),
    "heads": (keys("config.json", num_attention_heads=5), "num_attention_heads"),
    "activation": (keys("config.json", hidden_act="xielu"), "xielu"),
    "pooling mode": (keys("1_Pooling/config.json", pooling_mode="median"), "median"),
    "pooling modes": (keys("1_Pooling/config.json", pooling_mode=[]), "pooling_mode"),
    "pooling key": (keys("1_Pooling/config.json", temperature=2), "temperature"),
    "dense activation": (
        keys("2_Dense/config.json", activation_function="torch.nn.Softmax"),
        "Softmax",
    ),
    "dense function": (keys("2_Dense/config.json", activation_function="torch.load"), "torch.load"),
    "dense input": (keys("2_Dense/config.json", module_input_name="image"), "image"),
    "dense width": (keys("2_Dense/config.json", in_features=31), "31"),
    "task": (keys("sentence_bert_config.json", transformer_task="any-to-any"), "any-to-any"),
    "modality": (keys("sentence_bert_config.json", modality_config={"image": {}}), "image"),
    "query expansion": (
        keys("sentence_bert_config.json", query_expansion={"length": 32}),
        "query_exp",
    ),
    "model kwargs": (keys("sentence_bert_config.json", model_args={"adapter": "x"}), "adapter"),
    "length zero": (keys("sentence_bert_config.json", max_seq_length=0), "max_seq_length"),
    "length one": (keys("sentence_bert_config.json", max_seq_length=1), "special tokens"),
    "model kind": (
        keys("config_sentence_transformers.json", model_type="OtherEncoder"),
        "OtherEncoder",
    ),
    "prompt": (keys("config_sentence_transformers.json", prompts={"query": 5}), "prompts.query"),
    "default prompt": (keys("config_sentence_transformers.json", default_prompt_name="x"), "'x'"),
    "prompt names": (
        keys("config_sentence_transformers.json", prompts={"a b": "", "a_b": ""}),
        "a_b",
    ),
    "padding side": (keys("tokenizer_config.json", padding_side="left"), "padding_side"),
    "no mask": (
        keys("tokenizer_config.json", model_input_names=["input_ids"]),
        "model_input_names",
    ),
    "tokenizer key": (
        keys("tokenizer_config.json", fast_tokenizer_files=["tokenizer.1.json"]),
        "fast_tok",
    ),
    "tokenizer vocab": (keys("tokenizer_config.json", vocab="/etc/hostname"), "vocab"),
    "length of a list": (keys("tokenizer_config.json", model_max_length=[1]), "model_max_length"),
    "length of text": (keys("tokenizer_config.json", model_max_length="16"), "model_max_length"),
    "endless length": (
        keys("tokenizer_config.json", model_max_length=float("inf")),
        "model_max_length",
    ),
    "no length": (keys("tokenizer_config.json", model_max_length=float("nan")), "model_max_length"),
    "old and new kwargs": (
        keys(
            "sentence_bert_config.json", tokenizer_args={"model_max_length": 9}, processor_kwargs={}
        ),
        "not both",
    ),
    "adapter": (
        lambda m: (m / "adapter_config.json").write_text('{"peft_type": "LOHA"}'),
        "peft_type = 'LOHA'",
    ),
    "processor's code": (
        lambda m: (m / "processor_config.json").write_text(
            '{"auto_map": {"AutoProcessor": "x.Y"}}'
        ),
        "processor_config.json: auto_map",
    ),
    "endless length but for one": (keys("sentence_bert_config.json", max_seq_length=10**20), "2⁶⁴"),
    "tokenizer class": (
        keys("tokenizer_config.json", tokenizer_class="XLMRobertaTokenizer"),
        "WordPiece",
    ),
    "long added token": (keys("tokenizer_config.json", extra_special_tokens=["x" * 5000]), "4096"),
    "rows for ids": (keys("tokenizer_config.json", sep_token="[NEW]"), "vocab_size"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_not_supported(model: Path, name: str) -> None:
    breaks, word = UNSUPPORTED[name]
    breaks(model)
    refused(model, UnsupportedError, word)


@pytest.mark.parametrize("place", ["architectures", "template key", "template file"])
def test_plain_folders_that_are_not_reproduced(model: Path, place: str) -> None:
    (model / "modules.json").unlink()
    word = "chat_template"
    if place == "architectures":
        rewrite(model / "config.json", architectures="BertForCausalLM")
        word = place
    elif place == "template key":
        rewrite(model / "tokenizer_config.json", chat_template="{{ messages }}")
    else:
        (model / "chat_template.jinja").write_text("{{ messages }}")
    refused(model, UnsupportedError, word)


def test_alias_says_something_else(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model", "distilbert")
    rewrite(folder / "config.json", num_attention_heads=2)
    refused(folder, UnsupportedError, "n_heads")


def test_text_that_is_no_text(model: Path) -> None:
    rewrite(model / "config_sentence_transformers.json", prompts={"query": "\ud800"})
    refused(model, InputError, "config_sentence_transformers.json")


def test_paths_that_cannot_be_followed(model: Path, good: Path, tmp_path: Path) -> None:
    (model / "1_Pooling/config.json").unlink()
    (model / "1_Pooling/config.json").symlink_to("config.json")
    refused(model, InputError, "1_Pooling")
    for name in ("x" * 300, "~nosuchuser/x"):
        refused(name, InputError, "no such folder", place=tmp_path / "place")
        with pytest.raises(UsageError):
            convert(good, name if name[0] == "~" else tmp_path / name, verify="off")


@pytest.mark.parametrize(
    "path", ["/etc", "..", "../good", "1_Pooling/../..", "a/../../b", "C:/x", "1_Pooling\0"]
)
def test_module_path_out_of_the_folder(model: Path, path: str) -> None:
    edit_modules(model, 1, path=path)
    refused(model, InputError, "leaves")


def test_module_path_of_windows(model: Path) -> None:
    edit_modules(model, 1, path="1_Pooling\\x")
    refused(model, InputError, "backslashes")


def test_module_path_is_a_link_out(model: Path, good: Path) -> None:
    shutil.rmtree(model / "1_Pooling")
    (model / "1_Pooling").symlink_to(good / "1_Pooling")
    refused(model, InputError, "link")
    (model / "1_Pooling").unlink()
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling/config.json").symlink_to(good / "1_Pooling/config.json")
    refused(model, InputError, "link")


def test_weights_are_a_link_out(model: Path, good: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "model.safetensors").symlink_to(good / "model.safetensors")
    refused(model, InputError, "link")


def test_hub_cache_links_are_followed(model: Path, tmp_path: Path) -> None:
    """A snapshot's files are links into the blobs of its repository."""
    repository = tmp_path / "models--a--b"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(model, snapshot)
    (repository / "blobs").mkdir()
    (snapshot / "config.json").rename(repository / "blobs/1234")
    (snapshot / "config.json").symlink_to("../../blobs/1234")
    convert(snapshot, tmp_path / "out", verify="off")


OPTIONS: list[tuple[dict[str, Any], type[ConversionError], str]] = [
    ({"max_seq_length": 0}, UsageError, "max-seq-length"),
    ({"max_seq_length": 49}, UnsupportedError, "48"),
    ({"truncate_dim": -1}, UsageError, "truncate-dim"),
    ({"micro_batch_tokens": 0}, UsageError, "micro-batch-tokens"),
    ({"micro_batch_tokens": 2**31}, UsageError, "micro-batch-tokens"),
    ({"atol": 0}, UsageError, "atol"),
    ({"atol": math.inf}, UsageError, "atol"),
    ({"atol": math.nan}, UsageError, "atol"),
    ({"prompt_name": "nope"}, UsageError, "nope"),
    ({"revision": "main"}, UsageError, "revision"),
    ({"precision": "int4"}, UnsupportedError, "bfloat16"),
    ({"tokenizer_ops": "onnx"}, UnsupportedError, "tensorflow-text"),
]


@pytest.mark.parametrize(("options", "kind", "word"), OPTIONS, ids=str)
def test_options(
    model: Path, options: dict[str, Any], kind: type[ConversionError], word: str
) -> None:
    refused(model, kind, word, **options)


def test_unknown_level(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="--verify"):
        convert(model, tmp_path / "out", verify="slow")
