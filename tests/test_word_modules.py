"""Models of words against sentence-transformers: WordEmbeddings, BoW, and the modules that follow them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer.modules import CNN, LSTM, BoW, WeightedLayerPooling, WordEmbeddings, WordWeights
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
from transformers import AutoTokenizer

from fixtures import models
from fixtures.heads import rewrite
from fixtures.models import Dense, Normalize, Pooling
from fixtures.word_models import STOP_WORDS, WORDS, word_embeddings, write_word_model
from tests.helpers import InProcessReference, build
from tests.refusals import refused
from tf_exporter import UnsupportedError, UsageError, VerificationError, convert, reference
from tf_exporter.errors import InputError, WeightsError
from tf_exporter.reference import Job, answer, load
from tf_exporter.samples import INVALID_UTF8, SENTENCES, code_point_texts, decoded, generated_texts
from tf_exporter.signatures import Signature
from tf_exporter.tokenizers.spec import WordsSpec
from tf_exporter.tokenizers.strings import StringTable
from tf_exporter.tokenizers.words import WordTokenizer, word_ids, words_spec
from tf_exporter.verify import compare

ATOL = 1e-5
TEXTS = [
    *models.texts(1, 48),
    "hello",
    "Hello, WORLD! (hello) don't 'Tis",
    "ΟΔΥΣΣΕΥΣ, ΣΊΣΥΦΟΣ İSTANBUL STRASSE",
    "nothing 999 known",
    "the of and ... -",
    "hello " * 70,
]
MODES = ("mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
MEANS = ("mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
WEIGHTS = {"hello": 0.25, "html": 1.5, "world": 2, "Nowhere": 3.0}


def word_difference(folder: Path, texts: list[str] = TEXTS, prompt: str = "", leaks: bool = False, **options: Any) -> float:
    """The largest absolute difference to the reference, over all texts at once; where padding leaks, to each by itself.

    Where the reference has −∞, so have we.
    """
    model, theirs = build(folder, **options), load(str(folder), "SentenceTransformer", options.get("max_seq_length"), None)
    assert model.pipelines[""].pads_leak == leaks
    signature = Signature(prompt, "", "")
    expected = answer(theirs, Job(texts, prompt, 1 if leaks else 32))
    found = model.encode(tf.constant(texts), signature).numpy()
    alone = np.concatenate([model.encode(tf.constant([text]), signature).numpy() for text in texts[:9]])
    assert found.shape == expected.shape
    assert not np.isnan(expected).any() and np.isfinite(expected).any()
    assert np.array_equal(np.isinf(found), np.isinf(expected))
    differences = np.abs(np.where(np.isinf(found), 0, found) - np.where(np.isinf(expected), 0, expected))
    assert np.abs(np.nan_to_num(alone) - np.nan_to_num(found[:9])).max() <= ATOL
    print(f"{differences.max():.1e}")
    return float(differences.max())


VOCABULARY = [*WORDS, "", "σ", "ας", "ας'α", "ασ:β", "a", "b", "ab", "hello", "\ud7ff"]
TOKENIZER_TEXTS = [
    "",
    " ",
    *SENTENCES,
    *(sentence.upper() for sentence in SENTENCES),
    "Σ ΑΣ ΑΣ'Α α.Σ αΣ:β Σ. 'ΑΣ' (ΑΣ) ΑΣ\u0301 ΑΣΑ.Σ ʰΣ",
    "hello\x1chello\x85hello\u200bhello\u3000hello",
    "...hello... ... !?! hello-world 'hello -- the THE The. and AND And,",
    "u.s.a. U.S.A. .u.s.a.. İstanbul İSTANBUL' straße STRASSE",
]


@pytest.mark.parametrize("do_lower_case", [False, True])
@pytest.mark.parametrize("stop_words", [STOP_WORDS, [*STOP_WORDS, "", "hello", "σ"], []])
def test_tokenizer(do_lower_case: bool, stop_words: list[str]) -> None:
    """Of words listed twice the last counts; the empty word is what punctuation alone becomes; stop words go before."""
    theirs = WhitespaceTokenizer(VOCABULARY, stop_words, do_lower_case)
    tokenize, plain = tokenizer_function(VOCABULARY, stop_words, do_lower_case)
    texts = [*TOKENIZER_TEXTS, *generated_texts(1, 2000, VOCABULARY)]
    raw = [*(text.encode() for text in texts), *INVALID_UTF8]
    for text, found in zip(map(decoded, raw), tokenize(raw), strict=True):
        assert found == plain(text) == theirs.tokenize(text), repr(text)


def tokenizer_function(
    vocab: list[str], stop_words: list[str], do_lower_case: bool = False
) -> tuple[Callable[[list[bytes]], list[list[int]]], Callable[[str], list[int]]]:
    """Our tokenizer as a graph, and in plain Python."""
    spec = WordsSpec({word: id for id, word in enumerate(vocab)}, frozenset(stop_words), do_lower_case)
    graph = WordTokenizer(words_spec(spec, None), spec)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def tokenize(texts: tf.Tensor) -> Any:
        return graph.padding(graph(texts))

    def lists(texts: list[bytes]) -> list[list[int]]:
        padded = tokenize(tf.constant(texts))
        rows = zip(padded.input_ids.numpy(), padded.attention_mask.numpy().astype(bool))
        return [ids[mask].tolist() for ids, mask in rows]

    return lists, word_ids(spec)


@pytest.mark.parametrize("context", ["{}", "a{}Σ {}Σ", "ΑΣ{} ΑΣ{}a", "hello{}world {}hello{}"])
def test_every_code_point(context: str) -> None:
    """In lower case, as white space, and beside a sigma. Past the first planes, some stand for all."""
    texts = code_point_texts(context)
    texts = texts[:0x3100] + texts[0xA000:0xB000] + texts[0xF700 : 0x1F800 : 1 if context == "{}" else 3] + texts[-40:]
    words = sorted({word for text in texts for word in text.lower().split()})
    tokenize, plain = tokenizer_function(words, [])
    theirs = WhitespaceTokenizer(words, [])
    for text, found in zip(texts, tokenize([text.encode() for text in texts]), strict=True):
        assert found == plain(text) == theirs.tokenize(text), ascii(text)


def test_string_table() -> None:
    """Every string finds its own number, and others the default; with zero bytes and with many in one bucket."""
    strings = ["", "\0", "a", "a\0", *(f"word {number}" for number in range(3000))]
    table = StringTable({string: number for number, string in enumerate(strings)}, -7)
    others = ["b", "\0\0", "word", "word 3000"]
    found = table(tf.constant([string.encode() for string in [*strings, *others]])).numpy()
    assert found.tolist() == [*range(len(strings)), -7, -7, -7, -7]
    assert StringTable({}, 3)(tf.constant(["", "a"])).numpy().tolist() == [3, 3]
    assert table(tf.constant([], tf.string)).shape == (0,)


@pytest.mark.parametrize("mode", [*MODES, MODES])
def test_word_embeddings(tmp_path: Path, mode: Any) -> None:
    pooling = Pooling(32, mode)
    assert word_difference(write_word_model(tmp_path / "model", [word_embeddings(), pooling])) <= ATOL


@pytest.mark.parametrize(("saved", "asked"), [(3, None), (None, None), (3, 5), (1_000_000, 2)])
def test_limit(tmp_path: Path, saved: Any, asked: int | None) -> None:
    """Of words, not of what stands in the text; the user's goes before the model's."""
    folder = write_word_model(tmp_path / "model", [word_embeddings(max_seq_length=saved), Pooling(32, MEANS)])
    assert word_difference(folder, max_seq_length=asked) <= ATOL
    assert build(folder, max_seq_length=asked).first.tokenizer_spec.max_length == (saved if asked is None else asked)


@pytest.mark.parametrize("max_seq_length", [1, 6, None])
def test_tokenizer_of_transformers(tmp_path: Path, max_seq_length: Any) -> None:
    """With its special tokens, cut as a list is: the last one goes first. Written padding is no padding."""
    tokenizer = AutoTokenizer.from_pretrained(str(models.write_transformer(tmp_path / "plain", "bert")))
    table = torch.randn(len(models.VOCAB), 32)
    embeddings = WordEmbeddings(tokenizer, table, max_seq_length=max_seq_length)
    folder = write_word_model(tmp_path / "model", [embeddings, Pooling(32, MODES)])
    assert word_difference(folder) <= ATOL
    assert build(folder).first.tokenizer(tf.constant(["hello"])).lengths.numpy().tolist() == [min(3, max_seq_length or 3)]


def test_prompt_is_never_left_out(tmp_path: Path) -> None:
    """The reference counts no prompt but in front of a Transformer."""
    folder = write_word_model(tmp_path / "model", [word_embeddings(), Pooling(32, "mean", include_prompt=False)])
    assert word_difference(folder, prompt="hello this: ") <= ATOL


def test_words_listed_twice(tmp_path: Path) -> None:
    """In a file; the reference saves each word once, which moves all others."""
    folder = write_word_model(tmp_path / "model", [word_embeddings(), Pooling(32, MEANS)])
    words = [*WORDS]
    words[3] = "hello"
    rewrite(folder / "whitespacetokenizer_config.json", vocab=words, do_lower_case=True)
    assert word_difference(folder) <= ATOL


@pytest.mark.parametrize("cumulative", [True, False])
@pytest.mark.parametrize(("weights", "unknown"), [({}, 1), (WEIGHTS, 0.1), ({"hello": -3.3, "the": 0}, 0.7)])
def test_bow(tmp_path: Path, cumulative: bool, weights: dict[str, float], unknown: float) -> None:
    """Counts or presence; weights by the word, else by the word in lower case; each word once."""
    bow = BoW([*WORDS, "", "hello", "x"], weights, unknown, cumulative)
    assert word_difference(write_word_model(tmp_path / "model", [bow])) <= ATOL


def test_modules_behind_bow(tmp_path: Path) -> None:
    dense = Dense(len(WORDS), 8, activation_function=torch.nn.Tanh())
    assert word_difference(write_word_model(tmp_path / "model", [BoW(WORDS), dense, Normalize()]), prompt="hello ") <= ATOL


@pytest.mark.parametrize("mode", [*MODES, MODES])
def test_word_weights(tmp_path: Path, mode: Any) -> None:
    """The sum of the weights is the denominator; the saved tensor is not."""
    modules = [word_embeddings(), WordWeights([*WORDS, "more"], WEIGHTS, 0.5), Pooling(32, mode)]
    folder = write_word_model(tmp_path / "model", modules)
    assert word_difference(folder) <= ATOL
    saved = load_file(folder / "1_WordWeights/model.safetensors")["emb_layer.weight"]
    assert (saved[1] - 0.25).abs() > 1e-3


def test_word_weights_of_a_transformer(tmp_path: Path) -> None:
    """Whose tokenizer gives its words as an object; two of them; and a prompt that is left out of the sum alone."""
    vocab = {word: index for index, word in enumerate(models.VOCAB)}
    behind = [WordWeights(vocab, WEIGHTS, 0.5), WordWeights(models.VOCAB, {"world": 3}), Pooling(32, MEANS, include_prompt=False)]
    folder = models.write_model(tmp_path / "model", heads=behind)
    assert word_difference(folder, prompt="hello world ") <= ATOL


@pytest.mark.parametrize("mode", [*MODES, MODES])
def test_cnn(tmp_path: Path, mode: Any) -> None:
    modules = [word_embeddings(), CNN(32, 8, [1, 3, 5]), Pooling(24, mode)]
    assert word_difference(write_word_model(tmp_path / "model", modules), leaks=True) <= ATOL


def test_cnn_behind_a_transformer(tmp_path: Path) -> None:
    modules = [CNN(32, 6, [3, 7, 3]), CNN(18, 32, [5]), Pooling(32, ["cls", *MODES])]
    assert word_difference(models.write_model(tmp_path / "model", heads=modules), leaks=True) <= ATOL


def test_padding_leaks_in_the_reference(tmp_path: Path) -> None:
    """A neighbour changes what the reference makes of a text; never what we make of it."""
    folder = write_word_model(tmp_path / "model", [word_embeddings(), CNN(32, 8), Pooling(24, "mean")])
    theirs = load(str(folder), "SentenceTransformer", None, None)
    texts = ["hello world", "hello world " * 9]
    assert np.abs(theirs.encode(texts)[0] - theirs.encode(texts[:1])[0]).max() > 1e-3
    model = build(folder)
    together, alone = (model.encode(tf.constant(some), model.signatures["serving_default"]) for some in (texts, texts[:1]))
    assert np.abs(together[0] - alone[0]).max() <= ATOL


@pytest.mark.parametrize(
    ("layers", "bidirectional", "mode"), [(1, False, "lasttoken"), (1, True, "mean"), (2, True, MODES), (3, False, MODES)]
)
def test_lstm(tmp_path: Path, layers: int, bidirectional: bool, mode: Any) -> None:
    lstm = LSTM(32, 7, layers, dropout=0.3 if layers > 1 else 0, bidirectional=bidirectional)
    modules = [word_embeddings(), lstm, Pooling(lstm.get_embedding_dimension(), mode)]
    assert word_difference(write_word_model(tmp_path / "model", modules)) <= ATOL


def test_all_modules_in_a_row(tmp_path: Path) -> None:
    modules = [
        word_embeddings(),
        WordWeights(WORDS, WEIGHTS),
        LSTM(32, 8),
        CNN(16, 5, [3]),
        LSTM(5, 4, 2),
        Dense(8, 6, module_input_name="token_embeddings"),
        Pooling(6, MEANS),
        Normalize(),
    ]
    texts = [text for text in TEXTS if text and text not in ("the of and ... -", "nothing 999 known")]
    assert word_difference(write_word_model(tmp_path / "model", modules), texts, leaks=True) <= ATOL


def test_weighted_layer_pooling(tmp_path: Path) -> None:
    """Does nothing in the reference where the encoder gives its last layer alone."""
    folder = models.write_model(tmp_path / "model", heads=[WeightedLayerPooling(32, 3, 1), Pooling(32, "mean")])
    assert word_difference(folder) <= ATOL


OLD_NAMES = {
    "sentence_transformer.modules.word_embeddings": "models",
    "sentence_transformer.modules.word_weights": "models",
    "sentence_transformer.modules.cnn": "models",
    "sentence_transformer.modules.lstm": "models",
    "sentence_transformer.modules.pooling": "models",
    "sentence_transformer.modules.bow": "models",
    "sentence_transformer.modules.weighted_layer_pooling": "models",
}


def to_old_names(folder: Path) -> Path:
    """Names of modules, tokenizer and keys as in models of years ago."""
    modules = (folder / "modules.json").read_text()
    for new, old in OLD_NAMES.items():
        modules = modules.replace(f"sentence_transformers.{new}.", f"sentence_transformers.{old}.")
    (folder / "modules.json").write_text(modules)
    for path in folder.rglob("*config.json"):
        values = json.loads(path.read_text())
        if "tokenizer_class" in values and path.name.startswith("word"):
            name = values["tokenizer_class"].rpartition(".")[2]
            values["tokenizer_class"] = f"sentence_transformers.models.tokenizer.{name}.{name}"
        for key, old in (
            ("in_embedding_dimension", "in_word_embedding_dimension"),
            ("embedding_dimension", "word_embedding_dimension"),
        ):
            if key in values:
                values[old] = values.pop(key)
        path.write_text(json.dumps(values))
    return folder


def test_old_names(tmp_path: Path) -> None:
    behind = [WordWeights(WORDS, WEIGHTS), LSTM(32, 8), CNN(16, 5), Pooling(15, "mean")]
    folder = to_old_names(write_word_model(tmp_path / "words", [word_embeddings(), *behind]))
    assert word_difference(folder, leaks=True) <= ATOL
    assert word_difference(to_old_names(write_word_model(tmp_path / "bow", [BoW(WORDS, WEIGHTS)]))) <= ATOL
    heads = [WeightedLayerPooling(32, 3, 1), Pooling(32, "mean")]
    assert word_difference(to_old_names(models.write_model(tmp_path / "layers", heads=heads))) <= ATOL


def test_pickled_weights(tmp_path: Path) -> None:
    folder = write_word_model(tmp_path / "model", [word_embeddings(), Pooling(32, "mean")])
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert word_difference(folder) <= ATOL


@pytest.mark.parametrize("kind", ["mean", "max", "bow", "cnn and lstm"])
def test_conversion(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified, texts of no known word among them; −∞ where the reference has it."""
    monkeypatch.setattr(reference, "Reference", InProcessReference)
    modules = {
        "mean": lambda: [word_embeddings(max_seq_length=20), Pooling(32, "mean")],
        "max": lambda: [word_embeddings(), Pooling(32, ["max", "mean"])],
        "bow": lambda: [BoW(WORDS, WEIGHTS)],
        "cnn and lstm": lambda: [word_embeddings(max_seq_length=30), CNN(32, 8), LSTM(24, 4), Pooling(8, "mean")],
    }[kind]()
    conversion = convert(write_word_model(tmp_path / "model", modules), tmp_path / "out")
    assert conversion.verification["max_abs_difference"] <= ATOL
    graph = tf.saved_model.load(str(tmp_path / "out"))
    found = graph(tf.constant([["hello world"], [""]])).numpy()
    assert found[0].any() and not np.isfinite(found[1]).all() if kind == "max" else not found[1].any()
    assert graph(tf.constant([], tf.string)).shape[0] == 0
    ids = graph.signatures["tokenize"](tf.constant(["", "Hello, hello 999 world"]))
    capital, hello, world = map(WORDS.index, ("Hello", "hello", "world"))
    assert ids["input_ids"].numpy().tolist() == [[0, 0, 0], [capital, hello, world]]
    assert ids["attention_mask"].numpy().tolist() == [[0, 0, 0], [1, 1, 1]]
    assert graph.signatures["tokenize"](tf.constant([""]))["attention_mask"].numpy().tolist() == [[0]]


def test_infinities_are_compared() -> None:
    ours, texts = np.array([[-np.inf, 1.0], [1.0, 2.0]], np.float32), ["a", "b"]
    assert compare(ours, ours, texts, ATOL, "x")[0] == 0
    for wrong in (0.0, np.inf, np.nan):
        theirs = np.array([[wrong, 1.0], [1.0, 2.0]], np.float32)
        with pytest.raises(VerificationError):
            compare(ours, theirs, texts, ATOL, "x")


def test_refusals_of_word_embeddings(tmp_path: Path) -> None:
    folder = write_word_model(tmp_path / "model", [word_embeddings(), Pooling(32, "mean")])
    name = folder / "wordembedding_config.json"
    for key, value in (
        ("max_seq_length", 0),
        ("max_seq_length", 2.5),
        ("tokenizer_class", "sentence_transformers.models.tokenizer.PhraseTokenizer.PhraseTokenizer"),
        ("tokenizer_class", "my_code.WhitespaceTokenizer"),
        ("unknown_key", 1),
    ):
        kept = name.read_text()
        rewrite(name, **{key: value})
        refused(folder, UnsupportedError, "wordembedding_config.json", key)
        name.write_text(kept)
    refused(folder, UnsupportedError, "--tokenizer-ops", "WhitespaceTokenizer", tokenizer_ops="tensorflow-text")
    rewrite(folder / "1_Pooling/config.json", pooling_mode=["mean", "cls"])
    refused(folder, UnsupportedError, "1_Pooling/config.json", "cls")
    rewrite(folder / "1_Pooling/config.json", pooling_mode="mean")
    rewrite(folder / "config_sentence_transformers.json", model_type="CrossEncoder")
    refused(folder, UnsupportedError, "modules.json", "WordEmbeddings")
    rewrite(folder / "config_sentence_transformers.json", model_type="SentenceTransformer")
    words = folder / "whitespacetokenizer_config.json"
    kept = words.read_text()
    for changes, kind in (
        ({"vocab": [*WORDS, "more"]}, UnsupportedError),
        ({"vocab": [1]}, UnsupportedError),
        ({"vocab": "hello"}, UnsupportedError),
        ({"stop_words": "absent"}, InputError),
        ({"stop_words": None}, UnsupportedError),
        ({"do_lower_case": 1}, UnsupportedError),
        ({"other": 1}, UnsupportedError),
    ):
        rewrite(words, **changes)
        refused(folder, kind, "emb_layer" if "more" in str(changes) else "whitespacetokenizer_config.json")
        words.write_text(kept)
    words.unlink()
    refused(folder, InputError, "whitespacetokenizer_config.json")
    words.write_text(kept)
    save_file({**load_file(folder / "model.safetensors"), "more": torch.zeros(1)}, folder / "model.safetensors")
    refused(folder, WeightsError, "more")


def test_the_reference_fails_behind_word_embeddings(tmp_path: Path) -> None:
    """Which is why the same is refused."""
    folder = write_word_model(tmp_path / "cls", [word_embeddings(), Pooling(32, "cls")])
    with pytest.raises(TypeError):
        load(str(folder), "SentenceTransformer", None, None).encode("hello")
    refused(folder, UnsupportedError, "pooling_mode", "cls")
    folder = models.write_model(tmp_path / "lstm", heads=[LSTM(32, 8), Pooling(16, "mean")])
    with pytest.raises(KeyError):
        load(str(folder), "SentenceTransformer", None, None).encode("hello")
    refused(folder, UnsupportedError, "1_LSTM/lstm_config.json", "WordEmbeddings")
    folder = write_word_model(tmp_path / "even", [word_embeddings(), CNN(32, 8, [2]), Pooling(8, "mean")])
    with pytest.raises(RuntimeError):
        load(str(folder), "SentenceTransformer", None, None).encode("hello")
    refused(folder, UnsupportedError, "1_CNN/cnn_config.json", "kernel_sizes")


def test_refusals_of_bow(tmp_path: Path) -> None:
    folder = write_word_model(tmp_path / "model", [BoW(WORDS, WEIGHTS)])
    refused(folder, UsageError, "--max-seq-length", max_seq_length=8)
    refused(folder, UnsupportedError, "--tokenizer-ops", tokenizer_ops="tensorflow-text")
    name = folder / "0_BoW/config.json"
    kept = name.read_text()
    for key, value in (
        ("vocab", []),
        ("vocab", [None]),
        ("word_weights", {"hello": "1"}),
        ("word_weights", {"hello": float("nan")}),
        ("word_weights", {"hello": True}),
        ("unknown_word_weight", 1e39),
        ("unknown_word_weight", None),
        ("cumulative_term_frequency", 1),
        ("more", 1),
    ):
        rewrite(name, **{key: value})
        refused(folder, UnsupportedError, "0_BoW/config.json", key)
        name.write_text(kept)
    folder = write_word_model(tmp_path / "pooled", [BoW(WORDS), Pooling(len(WORDS), "mean")])
    refused(folder, UnsupportedError, "1_Pooling/config.json", "token_embeddings")


BROKEN: list[tuple[str, Any, Any]] = [
    ("cnn_config.json", "kernel_sizes", [1, 4, 5]),
    ("cnn_config.json", "kernel_sizes", []),
    ("cnn_config.json", "kernel_sizes", [True, 3, 5]),
    ("cnn_config.json", "stride_sizes", [1, 2, 1]),
    ("cnn_config.json", "stride_sizes", [1, 1]),
    ("cnn_config.json", "in_embedding_dimension", 31),
    ("cnn_config.json", "more", 1),
    ("lstm_config.json", "embedding_dimension", 31),
    ("lstm_config.json", "hidden_dim", 0),
    ("lstm_config.json", "num_layers", 0),
    ("lstm_config.json", "bidirectional", 1),
    ("lstm_config.json", "more", 1),
    ("1_WordWeights/config.json", "vocab", WORDS[:-1]),
    ("1_WordWeights/config.json", "word_weights", None),
    ("1_WordWeights/config.json", "more", 1),
]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    modules = [word_embeddings(), WordWeights(WORDS, WEIGHTS), LSTM(32, 8), CNN(16, 5), Pooling(15, "mean")]
    return write_word_model(tmp_path_factory.mktemp("chain") / "model", modules)


@pytest.mark.parametrize(("name", "key", "value"), BROKEN, ids=str)
def test_refused_config(chain: Path, name: str, key: str, value: Any) -> None:
    path = next(path for path in chain.rglob("*config.json") if str(path).endswith(name))
    kept = path.read_text()
    rewrite(path, **{key: value})
    refused(chain, UnsupportedError, name, key)
    path.write_text(kept)


HOSTILE: list[tuple[str, dict[str, Any]]] = [
    ("cnn_config.json", {"out_channels": 10**12}),
    ("cnn_config.json", {"kernel_sizes": [10**12 + 1], "stride_sizes": None}),
    ("lstm_config.json", {"hidden_dim": 10**12}),
    ("lstm_config.json", {"num_layers": 10**12}),
]


@pytest.mark.parametrize(("name", "changes"), HOSTILE, ids=str)
def test_hostile_config(chain: Path, name: str, changes: dict[str, Any]) -> None:
    """Refused by the weights, before anything of that size is made."""
    path = next(path for path in chain.rglob("*config.json") if path.name == name)
    kept = path.read_text()
    rewrite(path, **changes)
    refused(chain, WeightsError, "tensor")
    path.write_text(kept)


@pytest.mark.parametrize(
    "changes",
    [{"layer_start": -1}, {"layer_start": 5}, {"embedding_dimension": 31}, {"more": 1}, {"num_hidden_layers": 4}],
    ids=str,
)
def test_refusals_of_weighted_layer_pooling(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = models.write_model(tmp_path / "model", heads=[WeightedLayerPooling(32, 3, 1), Pooling(32, "mean")])
    rewrite(folder / "1_WeightedLayerPooling/config.json", **changes)
    if "num_hidden_layers" in changes:
        refused(folder, WeightsError, "layer_weights")
    else:
        refused(folder, UnsupportedError, "1_WeightedLayerPooling/config.json", *changes)
