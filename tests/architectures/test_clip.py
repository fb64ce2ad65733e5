"""CLIP's embeddings of texts: layouts of its folders, the end of a text, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.torch import load_file, save_file

from fixtures import models
from fixtures.clip import END, TEXT, write_clip
from fixtures.models import Dense, Normalize, rewrite
from tests.support.helpers import answer, build, embed
from tests.support.refusals import refused
from tf_exporter import UnsupportedError, convert
from tf_exporter.architectures.head_configs import TextFeaturesConfig
from tf_exporter.errors import VerificationError, WeightsError
from tf_exporter.heads.registry import HEADS
from tf_exporter.heads.text_features import TextFeaturesHead
from tf_exporter.verification.outputs import compare
from tf_exporter.verification.reference import Job
from tf_exporter.verification.reference_process import load
from tf_exporter.verification.tolerances import of_embeddings

pytestmark = pytest.mark.slow

ATOL = 1e-5
TEXTS = [
    *models.texts(5, 40),
    f"a {END} b",
    f"{END}{END}",
    "<|startoftext|> the end",
    "Don't   STOP \n it's é",
    "a <x> b <x> c",
]
PLACE = "0_CLIPModel"
CONFIG = f"{PLACE}/config.json"


def difference(folder: Path) -> float:
    """The largest difference from the reference, in batches of 32 and of 1."""
    expected = answer(load(str(folder), "SentenceTransformer"), Job(TEXTS, "", 32))
    model = build(folder)
    results = [embed(model, TEXTS, batch_size=size) for size in (32, 1)]
    return max(float(np.abs(result - expected).max()) for result in results)


def text_config(folder: Path, **changes: Any) -> Path:
    """Changes keys of `text_config`."""
    values = json.loads((folder / CONFIG).read_text())["text_config"]
    rewrite(folder / CONFIG, text_config={**values, **changes})
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_act": "gelu", "layer_norm_eps": 0.2, "projection": 32},
        {"num_attention_heads": 8, "num_hidden_layers": 1, "intermediate_size": 20},
        {"added": ("<x>",)},
        # As the published configs of 2021: the end is then the highest id, even an added one.
        {"eos_token_id": 2},
        {"eos_token_id": 2, "added": ("<x>",)},
        # A token that no text needs to have: without it, the first token counts.
        {"eos_token_id": 40},
    ],
    ids=str,
)
def test_embeddings_of_texts(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert difference(write_clip(tmp_path / "model", **changes)) <= ATOL


def test_layouts(tmp_path: Path) -> None:
    """The old layout, the one that sentence-transformers 6 saves, and a plain folder."""
    folder = write_clip(tmp_path / "model")
    saved = tmp_path / "saved"
    load(str(folder), "SentenceTransformer").save(str(saved), create_model_card=False)
    assert "get_text_features" in (saved / "sentence_bert_config.json").read_text()
    for index, source in enumerate((folder, saved, folder / PLACE)):
        conversion = convert(source, tmp_path / f"out {index}")
        assert conversion.verification["max_abs_difference"] <= ATOL
        assert conversion.verification["not_checked"] is None
        assert conversion.manifest["model_type"] == "clip"
        assert not [line for line in conversion.summary if "Ignored" in line]


def test_modules_after_it(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "model")
    entries = json.loads((folder / "modules.json").read_text())
    for index, module in enumerate((Dense(20, 12), Normalize()), 1):
        models.draw_weights(module, index)
        kind = type(module).__name__
        place = folder / f"{index}_{kind}"
        place.mkdir()
        module.save(str(place))
        path = f"sentence_transformers.models.{kind}"
        entries.append({"idx": index, "name": str(index), "path": place.name, "type": path})
    (folder / "modules.json").write_text(json.dumps(entries))
    assert difference(folder) <= ATOL
    rewrite(folder / "1_Dense/config.json", in_features=32)
    refused(folder, UnsupportedError, "in_features", "20")


def test_published_keys_of_2021(tmp_path: Path) -> None:
    """Old files have all keys of any config; the tokenizer is in two files."""
    folder = write_clip(tmp_path / "model", eos_token_id=2)
    zero = "chunk_size_feed_forward diversity_penalty encoder_no_repeat_ngram_size min_length"
    one = "length_penalty num_beams num_beam_groups num_return_sequences repetition_penalty"
    null = "architectures bad_words_ids finetuning_task forced_bos_token_id prefix tokenizer_class"
    false = "do_sample early_stopping is_decoder is_encoder_decoder output_attentions torchscript"
    false += " output_hidden_states output_scores add_cross_attention gradient_checkpointing"
    keys: dict[str, Any] = {
        **dict.fromkeys(zero.split(), 0),
        **dict.fromkeys(one.split(), 1),
        **dict.fromkeys(null.split()),
        **dict.fromkeys(false.split(), False),
        "top_k": 50,
        "temperature": 1.0,
        "pruned_heads": {},
        "return_dict": True,
        "_name_or_path": "",
        "id2label": {"0": "LABEL_0"},
        "transformers_version": "4.7.0.dev0",
    }
    text_config(folder, **keys)
    rewrite(folder / CONFIG, text_config_dict=None, vision_config_dict=None, torch_dtype="float32")
    stored = json.loads((folder / PLACE / "tokenizer.json").read_text())["model"]
    (folder / PLACE / "tokenizer.json").unlink()
    (folder / PLACE / "vocab.json").write_text(json.dumps(stored["vocab"]))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in stored["merges"])]
    (folder / PLACE / "merges.txt").write_text("\n".join(lines) + "\n")
    assert difference(folder) <= ATOL


def test_an_object_that_replaces_the_text_config(tmp_path: Path) -> None:
    """Configs of 2021 and 2022 have `text_config_dict`; transformers takes it, with defaults."""
    folder = write_clip(tmp_path / "model", layer_norm_eps=1e-5)
    values = json.loads((folder / CONFIG).read_text())["text_config"]
    rewrite(
        folder / CONFIG,
        text_config={**values, "layer_norm_eps": 0.3, "num_hidden_layers": 1},
        text_config_dict={key: values[key] for key in values if key != "layer_norm_eps"},
        vision_config_dict=None,
    )
    assert difference(folder) <= ATOL


def test_old_tensors(tmp_path: Path) -> None:
    """Checkpoints of older versions have position ids; half precision is read as float32."""
    folder = write_clip(tmp_path / "model")
    path = folder / PLACE / "model.safetensors"
    tensors = {name: tensor.half() for name, tensor in load_file(path).items()}
    positions = tensors["text_model.embeddings.position_embedding.weight"][:, 0].long()
    tensors["text_model.embeddings.position_ids"] = positions[None]
    save_file(tensors, path, metadata={"format": "pt"})
    assert difference(folder) <= ATOL


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_act": "xielu"}, ("text_config.hidden_act", "xielu")),
        ({"num_attention_heads": 5}, ("text_config.num_attention_heads", "5")),
        ({"num_hidden_layers": 0}, ("text_config.num_hidden_layers",)),
        ({"is_decoder": True}, ("text_config.is_decoder",)),
        ({"eos_token_id": [2, 3]}, ("text_config.eos_token_id",)),
        ({"eos_token_id": None}, ("text_config.eos_token_id",)),
    ],
    ids=str,
)
def test_refused_texts(tmp_path: Path, changes: dict[str, Any], words: tuple[str, ...]) -> None:
    refused(text_config(write_clip(tmp_path / "model"), **changes), UnsupportedError, *words)


def test_refused_folders(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "model")
    image = {"method": "get_image_features", "method_output_name": "pooler_output"}
    settings = folder / PLACE / "sentence_bert_config.json"
    settings.write_text(json.dumps({"modality_config": {"image": image}}))
    refused(folder, UnsupportedError, "modality_config", "text")
    settings.write_text(json.dumps({"module_output_name": "token_embeddings"}))
    refused(folder, UnsupportedError, "module_output_name", "sentence_embedding")
    settings.unlink()
    rewrite(folder / CONFIG, output_hidden_states=True)
    refused(folder, UnsupportedError, "output_hidden_states")
    rewrite(folder / CONFIG, output_hidden_states=False, projection_dim=21)
    refused(folder, WeightsError, "text_projection.weight")
    rewrite(folder / CONFIG, projection_dim=20)
    refused(folder, UnsupportedError, "model_type", "clip", export_type="encoder")


def test_padding_that_the_reference_would_take_for_the_end(tmp_path: Path) -> None:
    """Where the end is the highest id, padding must not be higher."""
    folder = write_clip(tmp_path / "model", eos_token_id=2, added=("<pad>",))
    rewrite(folder / PLACE / "tokenizer_config.json", pad_token="<pad>")
    refused(folder, UnsupportedError, "tokenizer_config.json", "pad_token_id")


def test_longer_texts_than_positions(tmp_path: Path) -> None:
    """sentence-transformers does not see the limit, so it would fail for longer texts."""
    folder = write_clip(tmp_path / "model")
    rewrite(folder / PLACE / "tokenizer_config.json", model_max_length=1000)
    assert build(folder).first.truncated_to == TEXT["max_position_embeddings"]


@pytest.mark.parametrize(
    "mistake",
    [
        {"end_id": None},
        {"end_id": 0},
        {"projection": "visual_projection"},
        {"width": 12},
    ],
    ids=str,
)
def test_wrong_heads_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: dict[str, Any]
) -> None:
    folder = write_clip(tmp_path / "model", added=("<x>",), projection=32)
    expected = answer(load(str(folder), "SentenceTransformer"), Job(TEXTS, "", 32))

    def check() -> None:
        result = embed(build(folder), TEXTS)
        result = np.pad(result, ((0, 0), (0, expected.shape[1] - result.shape[1])))
        compare("serving_default", result, expected, of_embeddings("float32", ATOL), TEXTS)

    def wrong(config: Any, weights: Any, encoder: Any) -> TextFeaturesHead:
        head = TextFeaturesHead(config, weights, encoder)
        if "end_id" in mistake:
            head.end_id = mistake["end_id"]
        elif "width" in mistake:
            kept = tf.sequence_mask(mistake["width"], config.width, tf.float32)
            head.projection.weight.assign(head.projection.weight * kept)
        else:
            head.projection.weight.assign(tf.transpose(head.projection.weight))
        return head

    check()
    monkeypatch.setitem(HEADS, TextFeaturesConfig, wrong)
    with pytest.raises(VerificationError, match="serving_default"):
        check()


def test_the_tower_by_itself(tmp_path: Path) -> None:
    """`clip_text_model` gives token embeddings; a checkpoint may have the tower's old prefix."""
    folder = models.write_model(tmp_path / "model", "clip_text_model")
    path = folder / "model.safetensors"
    tensors = {name.removeprefix("text_model."): value for name, value in load_file(path).items()}
    expected = answer(load(str(folder), "SentenceTransformer"), Job(TEXTS, "", 32))
    for prefix in ("", "text_model."):
        copy = tmp_path / f"copy {prefix}"
        shutil.copytree(folder, copy)
        named = {prefix + name: value for name, value in tensors.items()}
        save_file(named, copy / "model.safetensors", metadata={"format": "pt"})
        assert np.abs(embed(build(copy), TEXTS) - expected).max() <= ATOL
