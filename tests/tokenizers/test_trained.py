"""Token ids of small tokenizers trained here from the parts of transformers' classes; pairs."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fixtures.trained import RECIPES, trained_texts, trained_tokenizer
from tests.support.helpers import mismatches, tokenizer_function
from tests.support.tensorflow_2_12 import unknown_in
from tf_exporter.tokenizers.models import merges, unigram
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.tokenizers.spec import UnigramSpec, read_tokenizer
from tf_exporter.tokenizers.unicode import composition, graphemes
from tf_exporter.verification.tokens import check_padded_tokens, token_mismatches

FIRST = (
    "albert",
    "llama",
    "gpt2",
    "words and digits",
    "bert",
)
"""Kinds that together have every model and most steps; the slow tests have all others."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in FIRST)) for name in RECIPES]
)
def test_trained_tokenizer(name: str) -> None:
    hf_tokenizer = trained_tokenizer(name, seed=0)
    max_length = random.Random(name).choice([None, 5, 16])
    tokenize, spec = tokenizer_function(hf_tokenizer, max_length)
    assert unknown_in(tokenize) == set()
    texts = trained_texts(0, 500, [token.content for token in spec.added_tokens])
    check_padded_tokens(
        tokenize, hf_tokenizer, spec, [text.encode() for text in texts[:100]] + [b"\xff\xc3a", b""]
    )
    assert list(token_mismatches(tokenize, hf_tokenizer, spec, texts)) == []


def test_what_2_12_does_not_know_is_noticed() -> None:
    """An unknown op, and an unknown attribute for lists that grow."""

    @tf.function(input_signature=[tf.TensorSpec([None])])
    def newer(x: tf.Tensor) -> tf.Tensor:
        grown = tf.TensorArray(tf.float32, 0, dynamic_size=True).write(0, x).stack()
        return tf.raw_ops.SegmentMaxV2(data=grown, segment_ids=[0], num_segments=1)

    result = unknown_in(newer)
    assert result == {"TensorListSetItem.resize_if_index_out_of_bounds", "SegmentMaxV2"}


@pytest.mark.parametrize(
    ("name", "side"),
    [
        *[("bert", "left"), ("t5 never", "right")],
        *(
            pytest.param(name, side, marks=pytest.mark.slow)
            for name, side in [
                ("bert", "right"),
                ("gpt2", "right"),
                ("roberta", "left"),
                ("llama", "right"),
            ]
        ),
    ],
)
def test_pairs(name: str, side: str) -> None:
    hf_tokenizer = trained_tokenizer(name, seed=1)
    hf_tokenizer.truncation_side = side
    random_ = random.Random(1)
    texts = trained_texts(1, 200, [])
    pairs = [(text, random_.choice(texts)) for text in texts] + [("", "a b"), ("a", ""), ("", "")]
    first, second = zip(*pairs)
    for max_length in (None, 9):
        graph = TokenizerGraph(
            read_tokenizer(hf_tokenizer, max_length), hf_tokenizer.backend_tokenizer
        )
        tokenize = tf.function(
            lambda a, b, graph=graph: graph.padding(graph.pairs(a, b)), autograph=False
        )
        result = tokenize(tf.constant(first), tf.constant(second))
        limit = {"truncation": "longest_first", "max_length": max_length} if max_length else {}
        expected = hf_tokenizer(
            list(first), list(second), padding=True, return_token_type_ids=True, **limit
        )
        for key in ("input_ids", "attention_mask", "token_type_ids"):
            assert np.array_equal(getattr(result, key).numpy(), np.array(expected[key])), (
                key,
                max_length,
            )


def fast(model: Any) -> Any:
    tokenizer = Tokenizer(model)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<unk>", unk_token="<unk>")


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))]
)
def test_merges_in_any_order(seed: int) -> None:
    """Merges that no trainer produces: later ones of lower rank, and overlapping runs."""
    random_ = random.Random(seed)
    vocab = {"<unk>": 0, "a": 1, "b": 2, "c": 3}
    merges = []
    for _ in range(40):
        left, right = random_.choice(list(vocab)[1:]), random_.choice(list(vocab)[1:])
        if len(left + right) < 9:
            vocab.setdefault(left + right, len(vocab))
            merges.append((left, right))
    random_.shuffle(merges)
    texts = [
        "".join(
            random_.choices(
                "abc", [random_.random() + 0.1 for _ in "abc"], k=random_.randint(1, 60)
            )
        )
        for _ in range(1500)
    ]
    assert (
        mismatches(
            fast(models.BPE(vocab, merges, unk_token="<unk>")),
            [*texts, "a" * 999, "ab" * 500, "aab" * 333],
        )
        == []
    )


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))]
)
def test_equal_scores(seed: int) -> None:
    """Ties, sums that differ in the last bit only, and scores above zero."""
    random_ = random.Random(seed)
    pieces = {"".join(random_.choices("ab", k=random_.randint(1, 6))) for _ in range(25)} | {
        "a",
        "▁a",
        "<unk>",
    }
    scores = [random_.choice([-1.0, -0.1, -0.3, -0.7, 0.1, -2.0]) for _ in pieces]
    vocab = list(zip(sorted(pieces), scores))
    unk_id = [piece for piece, _ in vocab].index("<unk>")
    texts = [
        "".join(random_.choices("abx", [5, 5, 0.3], k=random_.randint(1, 90))) for _ in range(1500)
    ]
    for byte_fallback in (False, True):
        every = (
            vocab + [(f"<0x{byte:02X}>", -9.0) for byte in range(256)] if byte_fallback else vocab
        )
        model = models.Unigram(every, unk_id=unk_id, byte_fallback=byte_fallback)
        more = ["a" * 700, "x<unk>x <unk>", "<unk>", "<unk><unk>", "éx中", "b<unk>é"]
        assert mismatches(fast(model), texts + more) == []


def test_scores_that_add_up_differently() -> None:
    """0.1 + 0.2 + 0.3 depends on the order in float64, so equal pieces need not tie."""
    vocab = [("<unk>", -20.0), ("a", -0.1), ("aa", -0.2), ("aaa", -0.3), ("▁", -1.0)]
    assert (
        mismatches(
            fast(models.Unigram(vocab, unk_id=0)), ["a" * length for length in range(1, 400)]
        )
        == []
    )


RUNS: dict[str, tuple[str, dict[str, float]]] = {
    "a full stop": (
        ".",
        {
            ".": -3.0,
            "..": -8.0,
            "...": -8.5,
            "☃.": -40.0,
            ".com": -4.0,
            "a": -1.0,
            "▁a": -2.0,
            "▁": -5.0,
        },
    ),
    "text": (
        "<u>",
        {"<u>": 0.0, "<u><u>": -1.0, "☃<u>": -100.0, "<u>a": -2.0, "a": -1.0, "é<u>☃": -100.0},
    ),
    "high scores": (
        "ab",
        {"ab": 10.0, "abab": 9.0, "ab☃": -1.0, "☃ab": -1.0, "a": 0.0, "é": -2.0, "abéab": 0.0},
    ),
    "what overlaps itself": (
        "aa",
        {"aa": -1.0, "aaa": -9.0, "aaaa": -9.0, "aaaaaa": -9.0, "b": -1.0, "aab": -5.0},
    ),
}


def spelled(hf_tokenizer: Any) -> list[int]:
    """The pieces that a run of unknown pieces may spell."""
    spec = read_tokenizer(hf_tokenizer, None).model
    assert isinstance(spec, UnigramSpec)
    return unigram._rejoined(spec)


@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.parametrize("name", RUNS)
def test_unknown_pieces_that_spell_a_piece(name: str, byte_fallback: bool) -> None:
    """The joined text of unknown pieces may be another piece, which replaces them."""
    unknown, pieces = RUNS[name]
    vocab = [
        *pieces.items(),
        *((f"<0x{byte:02X}>", -9.0) for byte in range(256 if byte_fallback else 0)),
    ]
    hf_tokenizer = fast(
        models.Unigram(vocab, unk_id=list(pieces).index(unknown), byte_fallback=byte_fallback)
    )
    hf_tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "never", True)
    random_ = random.Random(name)
    texts = [
        "".join(
            random_.choices(
                ["a", "é", "☃", " ", unknown, unknown, *pieces], k=random_.randint(1, 9)
            )
        )
        for _ in range(500)
    ]
    assert mismatches(hf_tokenizer, texts) == []
    # At least one text has such a run.
    joined = set(spelled(hf_tokenizer))
    result = hf_tokenizer.backend_tokenizer.encode_batch(texts)
    assert joined
    assert joined & {id for encoding in result for id in encoding.ids}


def test_pieces_that_no_run_spells() -> None:
    """The letters of CamemBERT's `<unk>NOTUSED` are pieces, so no run can spell it."""
    vocab = [("<unk>", 0.0), ("<unk>NOTUSED", -100.0), *((letter, -5.0) for letter in "NOTUSE")]
    assert spelled(fast(models.Unigram(vocab, unk_id=0))) == []
    assert (
        mismatches(
            fast(models.Unigram(vocab, unk_id=0)), ["<unk>NOTUSED", "D<unk>D", "<unk>NOTUSED<unk>"]
        )
        == []
    )


def test_odd_vocabularies() -> None:
    vocab = [("<unk>", -20.0), ("", -1.0), ("a", -1.0), ("a", -9.0), ("ab", -3.0), ("b", -3.0)]
    assert (
        mismatches(fast(models.Unigram(vocab, unk_id=0)), ["a", "ab", "aab", "", "c", "acb"]) == []
    )
    words = models.WordLevel(
        {"<unk>": 0, "": 1, "a b": 2, "é": 7, "a" * 5000: 3}, unk_token="<unk>"
    )
    assert mismatches(fast(words), ["a b", "a", "é", "e\u0301", "a" * 5000, "a" * 5001, ""]) == []
    assert mismatches(fast(models.BPE({"<unk>": 0}, [])), ["a", ""]) == []


def disturbed() -> Any:
    """A BPE in which merging (a, b) creates the pair (ab, a), which has a lower rank."""
    vocab = {"<unk>": 0, "a": 1, "b": 2, "ab": 3, "aba": 4}
    return fast(models.BPE(vocab, [("ab", "a"), ("a", "b")]))


def unlikely() -> Any:
    return fast(models.Unigram([("<unk>", 0.0), ("xy", -5.0), ("y", -1.0)], unk_id=0))


def full_stops() -> Any:
    return fast(models.Unigram([(".", -3.0), ("..", -8.0), ("y", -1.0)], unk_id=0))


MUTATIONS: dict[str, tuple[Any, str, Any, Any]] = {
    "merges disturb": (
        merges.Merges,
        "_up_to_the_first",
        lambda self, ids, segment, rank, take: take,
        disturbed,
    ),
    "pieces in words": (unigram, "reachable", lambda starts, following: starts, unlikely),
    "unknown score": (unigram, "_UNKNOWN_PENALTY", -10.0, unlikely),
    "unknown runs": (unigram.Unigram, "_rejoin", lambda self, pieces, chosen: chosen, full_stops),
    "compositions": (
        composition.Composition,
        "_compose",
        lambda self, stream: stream,
        lambda: trained_tokenizer("gpt_neox", 0),
    ),
    "clusters": (
        graphemes.Clusters,
        "may_join",
        lambda self, stream: tf.constant(False),
        lambda: trained_tokenizer("mbart", 0),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any of these steps, the comparison fails."""
    *patch, make = MUTATIONS[name]
    texts = ["ababab", "xyy", "y y", "e\u0301e\u0302\u0301", "a\u0300b", "y.."]
    hf_tokenizer = make()
    assert mismatches(hf_tokenizer, texts) == []
    monkeypatch.setattr(*patch)
    assert mismatches(hf_tokenizer, texts) != []
