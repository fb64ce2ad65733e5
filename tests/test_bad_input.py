"""What is not a model, lies, or is not reproduced: a typed error in one line, and nothing left on disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures import models
from fixtures.models import rewrite
from tests.refusals import refused
from tf_exporter import ConversionError, InputError, UnsupportedError, UsageError, convert
from tf_exporter.source import CONFIG_LIMIT, ModelSource
from tf_exporter.tokenizers.loading import load_tokenizer


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


JSON_FILES = ["modules.json", "config.json", "1_Pooling/config.json", "sentence_bert_config.json", "tokenizer.json",
              "tokenizer_config.json", "config_sentence_transformers.json"]  # fmt: skip


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize("content", ["", "{", '{"a": 1', "nonsense", "\udcff", "[" * 100_000, '{"a":' * 100_000, "5", "null"])
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


UNSUPPORTED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "module type": (lambda m: edit_modules(m, 1, type="sentence_transformers.models.Telepathy"), "Telepathy"),
    "module of a module": (lambda m: edit_modules(m, 1, type="sentence_transformers.models.os.Pooling"), "models.os"),
    "foreign namespace": (lambda m: edit_modules(m, 1, type="evil.models.Pooling"), "evil.models.Pooling"),
    "prefix of a namespace": (lambda m: edit_modules(m, 1, type="sentence_transformers.models_x.Pooling"), "models_x"),
    "code in the model": (lambda m: edit_modules(m, 0, type="modeling_custom.Transformer"), "modeling_custom"),
    "first module": (lambda m: edit_modules(m, 0, type="sentence_transformers.models.Pooling"), "[0].type"),
    "architecture": (lambda m: rewrite(m / "config.json", model_type="gpt2"), "gpt2"),
    "position type": (lambda m: rewrite(m / "config.json", position_embedding_type="relative_key"), "relative_key"),
    "ALiBi": (lambda m: rewrite(m / "config.json", position_embedding_type="alibi"), "alibi"),
    "decoder": (lambda m: rewrite(m / "config.json", is_decoder=True), "is_decoder"),
    "config key": (lambda m: rewrite(m / "config.json", rope_theta=10000.0), "rope_theta"),
    "config type": (lambda m: rewrite(m / "config.json", hidden_size="32"), "hidden_size"),
    "negative size": (lambda m: rewrite(m / "config.json", num_hidden_layers=-1), "num_hidden_layers"),
    "heads": (lambda m: rewrite(m / "config.json", num_attention_heads=5), "num_attention_heads"),
    "activation": (lambda m: rewrite(m / "config.json", hidden_act="xielu"), "xielu"),
    "pooling mode": (lambda m: rewrite(m / "1_Pooling/config.json", pooling_mode="median"), "median"),
    "pooling modes": (lambda m: rewrite(m / "1_Pooling/config.json", pooling_mode=[]), "pooling_mode"),
    "pooling key": (lambda m: rewrite(m / "1_Pooling/config.json", temperature=2), "temperature"),
    "dense activation": (lambda m: rewrite(m / "2_Dense/config.json", activation_function="torch.nn.Softmax"), "Softmax"),
    "dense function": (lambda m: rewrite(m / "2_Dense/config.json", activation_function="torch.load"), "torch.load"),
    "dense input": (lambda m: rewrite(m / "2_Dense/config.json", module_input_name="image"), "image"),
    "dense width": (lambda m: rewrite(m / "2_Dense/config.json", in_features=31), "31"),
    "task": (lambda m: rewrite(m / "sentence_bert_config.json", transformer_task="any-to-any"), "any-to-any"),
    "modality": (lambda m: rewrite(m / "sentence_bert_config.json", modality_config={"image": {}}), "image"),
    "query expansion": (lambda m: rewrite(m / "sentence_bert_config.json", query_expansion={"length": 32}), "query_exp"),
    "model kwargs": (lambda m: rewrite(m / "sentence_bert_config.json", model_args={"adapter": "x"}), "adapter"),
    "length zero": (lambda m: rewrite(m / "sentence_bert_config.json", max_seq_length=0), "max_seq_length"),
    "length one": (lambda m: rewrite(m / "sentence_bert_config.json", max_seq_length=1), "special tokens"),
    "model kind": (lambda m: rewrite(m / "config_sentence_transformers.json", model_type="MultiVectorEncoder"), "MultiVector"),
    "prompt": (lambda m: rewrite(m / "config_sentence_transformers.json", prompts={"query": 5}), "prompts.query"),
    "default prompt": (lambda m: rewrite(m / "config_sentence_transformers.json", default_prompt_name="x"), "'x'"),
    "prompt names": (lambda m: rewrite(m / "config_sentence_transformers.json", prompts={"a b": "", "a_b": ""}), "a_b"),
    "padding side": (lambda m: rewrite(m / "tokenizer_config.json", padding_side="left"), "padding_side"),
    "no mask": (lambda m: rewrite(m / "tokenizer_config.json", model_input_names=["input_ids"]), "model_input_names"),
    "tokenizer key": (lambda m: rewrite(m / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.1.json"]), "fast_tok"),
    "tokenizer vocab": (lambda m: rewrite(m / "tokenizer_config.json", vocab="/etc/hostname"), "vocab"),
    "length of a list": (lambda m: rewrite(m / "tokenizer_config.json", model_max_length=[1]), "model_max_length"),
    "length of text": (lambda m: rewrite(m / "tokenizer_config.json", model_max_length="16"), "model_max_length"),
    "endless length": (lambda m: rewrite(m / "tokenizer_config.json", model_max_length=float("inf")), "model_max_length"),
    "no length": (lambda m: rewrite(m / "tokenizer_config.json", model_max_length=float("nan")), "model_max_length"),
    "old and new kwargs": (
        lambda m: rewrite(m / "sentence_bert_config.json", tokenizer_args={"model_max_length": 9}, processor_kwargs={}),
        "not both",
    ),
    "adapter": (lambda m: (m / "adapter_config.json").write_text('{"peft_type": "LORA"}'), "peft_type = 'LORA'"),
    "processor's code": (
        lambda m: (m / "processor_config.json").write_text('{"auto_map": {"AutoProcessor": "x.Y"}}'),
        "processor_config.json: auto_map",
    ),
    "endless length but for one": (lambda m: rewrite(m / "sentence_bert_config.json", max_seq_length=10**20), "2⁶⁴"),
    "tokenizer class": (lambda m: rewrite(m / "tokenizer_config.json", tokenizer_class="XLMRobertaTokenizer"), "WordPiece"),
    "long added token": (lambda m: rewrite(m / "tokenizer_config.json", extra_special_tokens=["x" * 5000]), "4096"),
    "rows for ids": (lambda m: rewrite(m / "tokenizer_config.json", sep_token="[NEW]"), "vocab_size"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_not_supported(model: Path, name: str) -> None:
    breaks, word = UNSUPPORTED[name]
    breaks(model)
    refused(model, UnsupportedError, word)


def split(pattern: dict[str, str], behavior: str = "Isolated") -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": False}


def bpe(**changes: Any) -> dict[str, Any]:
    vocab = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "b": 6, "ab": 7}
    return {"type": "BPE", "vocab": vocab, "merges": [["a", "b"]], **changes}


def unigram(*pieces: tuple[str, float], **changes: Any) -> dict[str, Any]:
    vocab = [["[PAD]", 0.0], ["[UNK]", 0.0], ["[CLS]", 0.0], ["[SEP]", 0.0], ["[MASK]", 0.0], *pieces]
    return {"type": "Unigram", "unk_id": 1, "vocab": vocab, "byte_fallback": False, **changes}


FIRST = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
TEMPLATE = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}}
TOKENIZER_STEPS: dict[str, tuple[dict[str, Any], str]] = {
    "normalizer": ({"normalizer": {"type": "ByteLevel"}}, "normalizer.type = 'ByteLevel'"),
    "inside a sequence": (
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "ByteLevel"}]}},
        "normalizer.normalizers[1].type",
    ),
    "pre_tokenizer": ({"pre_tokenizer": {"type": "UnicodeScripts"}}, "pre_tokenizer.type = 'UnicodeScripts'"),
    "expression": ({"pre_tokenizer": split({"Regex": "(a+)+$"})}, "pre_tokenizer.pattern"),
    "expression to replace": (
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "x*"}, "content": "y"}},
        "normalizer.pattern",
    ),
    "empty string": ({"pre_tokenizer": split({"String": ""})}, "pre_tokenizer.pattern"),
    "first of what is dropped": (
        {"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}, "pre_tokenizer": FIRST},
        "normalizer.type = 'Strip'",
    ),
    "post_processor": (
        {"post_processor": {"type": "Sequence", "processors": [TEMPLATE, TEMPLATE]}},
        "post_processor.processors",
    ),
    "long text to put before": ({"normalizer": {"type": "Prepend", "prepend": "x" * 300}}, "normalizer.prepend"),
    "long text to put in": (
        {"normalizer": {"type": "Replace", "pattern": {"String": "a"}, "content": "x" * 300}},
        "normalizer.content",
    ),
    "template of no token": (
        {"post_processor": {**TEMPLATE, "single": [*TEMPLATE["single"], {"SpecialToken": {"id": "[X]", "type_id": 0}}]}},
        "'[X]'",
    ),
    "huge segment": (
        {"post_processor": {**TEMPLATE, "single": [{"Sequence": {"id": "A", "type_id": 2**32 - 1}}]}},
        "2³¹",
    ),
    "huge id": ({"post_processor": {"type": "BertProcessing", "cls": ["a", 2**32 - 1], "sep": ["b", 1]}}, "2³¹"),
    "merge without the prefix": (
        {"model": bpe(continuing_subword_prefix="▁", vocab={**bpe()["vocab"], "bcd": 8}, merges=[["a", "bcd"]])},
        "begin with '▁'",
    ),
    "whole words that are lost": ({"model": bpe(ignore_merges=True, vocab={**bpe()["vocab"], "aéb": 8})}, "beside ignore_merges"),
    "long piece": ({"model": unigram(("a" * 300, -1.0))}, "256"),
    "dropout": ({"model": bpe(dropout=0.1)}, "model.dropout"),
    "some bytes": ({"model": bpe(byte_fallback=True, vocab={**bpe()["vocab"], "<0x00>": 8})}, "256 bytes"),
    "equal ids": ({"model": bpe(vocab={**bpe()["vocab"], "b": 5})}, "['a', 'b']"),
    "unknown token": ({"model": bpe(unk_token="?")}, "model.unk_token"),
    "merged unknown token": (
        {"model": bpe(unk_token="a")},
        "model.merges",
    ),
    "suffix and merges": ({"model": bpe(end_of_word_suffix="</w>", ignore_merges=True)}, "model.ignore_merges"),
    "no unknown piece": ({"model": unigram(unk_id=None)}, "model.unk_id"),
    "high scores": ({"model": {**unigram(), "vocab": [[piece, 20.0] for piece, _ in unigram()["vocab"]]}}, "scores"),
    "wordlevel": ({"model": {"type": "WordLevel", "vocab": {"[PAD]": 0}, "unk_token": "[UNK]"}}, "model.unk_token"),
}


@pytest.mark.parametrize("name", TOKENIZER_STEPS)
def test_tokenizer_step(model: Path, name: str) -> None:
    """Of a tokenizer that is used as its JSON stands."""
    rewrite(model / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    changes, word = TOKENIZER_STEPS[name]
    rewrite(model / "tokenizer.json", **changes)
    refused(model, UnsupportedError, "tokenizer.json", word)


DAMAGED: dict[str, dict[str, Any]] = {
    "merge of no token": {"model": bpe(merges=[["a", "c"]])},
    "merge makes no token": {"model": bpe(merges=[["b", "a"]])},
    "no charsmap": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "!"}},
    "cut charsmap": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAEAAAAA"}},
    "charsmap that leads outside": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAAAD///8="}},
    "unknown id": {"model": unigram(unk_id=99)},
    "expression that does not compile": {"pre_tokenizer": split({"Regex": "(" * 50})},
    "behaviour": {"pre_tokenizer": split({"String": "a"}, behavior="Sideways")},
    "no scores": {"model": {**unigram(), "vocab": [["a"]]}},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_tokenizer(model: Path, name: str) -> None:
    rewrite(model / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    rewrite(model / "tokenizer.json", **DAMAGED[name])
    refused(model, InputError)


def test_deep_and_truncated_tokenizers(model: Path) -> None:
    rewrite(model / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    whole = (model / "tokenizer.json").read_text()
    for text in (whole[: len(whole) // 2], '{"normalizer": ' + '{"type": "Sequence", "normalizers": [' * 100_000, "[" * 100_000):
        (model / "tokenizer.json").write_text(text)
        refused(model, InputError, "tokenizer.json")
    # Closed, and so valid JSON.
    deep = '{"type": "Sequence", "normalizers": [' * 100_000 + "]}" * 100_000
    (model / "tokenizer.json").write_text(whole.rstrip()[:-1] + f', "normalizer": {deep}}}')
    refused(model, InputError, "tokenizer.json")


def test_huge_vocabulary(model: Path) -> None:
    with (model / "tokenizer.json").open("ab") as file:
        file.truncate(2**30)
    refused(model, InputError, "1,073,741,824 bytes")


def test_unigram_under_bert_tokenizer(model: Path) -> None:
    """transformers 5 makes WordPiece of it, and words become unknown."""
    typed = unigram(("▁a", -1.0), ("b", -2.0))
    # Files of years ago, the real ones among them, do not name the kind of their model.
    untyped = {key: value for key, value in typed.items() if key != "type"}
    for stored in (typed, untyped):
        rewrite(model / "tokenizer.json", model=stored)
        for tokenizer_class in ("BertTokenizer", None):
            rewrite(model / "tokenizer_config.json", tokenizer_class=tokenizer_class)
            refused(model, UnsupportedError, "tokenizer_class", "Unigram", "unknown")


@pytest.mark.parametrize("place", ["architectures", "template key", "template file"])
def test_plain_folders_that_are_not_reproduced(model: Path, place: str) -> None:
    (model / "modules.json").unlink()
    if place == "architectures":
        rewrite(model / "config.json", architectures="BertForCausalLM")
    elif place == "template key":
        rewrite(model / "tokenizer_config.json", chat_template="{{ messages }}")
    else:
        (model / "chat_template.jinja").write_text("{{ messages }}")
    refused(model, UnsupportedError)


def test_alias_says_something_else(tmp_path: Path) -> None:
    folder = models.write_model(tmp_path / "model", "distilbert")
    rewrite(folder / "config.json", num_attention_heads=2)
    refused(folder, UnsupportedError, "n_heads")


def test_tokenizer_files_elsewhere(model: Path) -> None:
    (model / "tokenizer.json").rename(model.parent / "tokenizer.json")
    (model / "vocab.txt").write_text("\n".join(models.VOCAB))
    (model.parent / "tokenizer.json").write_text((model.parent / "tokenizer.json").read_text().replace('"hello"', '"hallo"'))
    rewrite(model / "tokenizer_config.json", tokenizer_file=str(model.parent / "tokenizer.json"))
    # transformers puts the model's own files in its place.
    vocab = load_tokenizer(ModelSource(model, "model"), "").get_vocab()
    assert "hello" in vocab
    assert "hallo" not in vocab
    (model / "chat_template.jinja").symlink_to("/etc/hostname")
    refused(model, InputError, "link")


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


def test_no_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    refused(model, InputError, "no tokenizer")


@pytest.mark.parametrize("token", models.VOCAB[:4])
def test_vocabulary_without_a_special_token(model: Path, token: str) -> None:
    (model / "tokenizer.json").unlink()
    vocab = [other if other != token else "x1" for other in models.VOCAB]
    (model / "vocab.txt").write_text("\n".join(vocab))
    refused(model, UnsupportedError)


@pytest.mark.parametrize("path", ["/etc", "..", "../good", "1_Pooling/../..", "a/../../b", "C:/x", "1_Pooling\0"])
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
    ({"prompt_name": "nope"}, UsageError, "nope"),
    ({"revision": "main"}, UsageError, "revision"),
    ({"precision": "int8"}, UnsupportedError, "bfloat16"),
    ({"tokenizer_ops": "onnx"}, UnsupportedError, "tensorflow-text"),
]


@pytest.mark.parametrize(("options", "kind", "word"), OPTIONS, ids=str)
def test_options(model: Path, options: dict[str, Any], kind: type[ConversionError], word: str) -> None:
    refused(model, kind, word, **options)


def test_unknown_level(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--verify"):
        convert(model, tmp_path / "out", verify="slow")
