"""Token ids, compared with `tokenizers`: random tokenizers with every flag, and real ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tokenizers import AddedToken, Tokenizer
from transformers import BertTokenizer, PreTrainedTokenizerFast

from fixtures import real
from fixtures.real import REAL_TOKENIZERS
from fixtures.tokenizers import random_texts, random_tokenizer
from tests.support.helpers import mismatches, tokenizer_function
from tf_exporter.errors import UnsupportedError
from tf_exporter.tokenizers import added_tokens
from tf_exporter.tokenizers.ops import tries as double_arrays
from tf_exporter.tokenizers.unicode import code_points
from tf_exporter.tokenizers.unicode.probing import distinct_code_points
from tf_exporter.verification.sample_texts import generated_texts, quick_texts
from tf_exporter.verification.tokens import check_padded_tokens, token_mismatches


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))]
)
def test_random_tokenizers(seed: int) -> None:
    hf_tokenizer = random_tokenizer(seed)
    max_length = random.Random(seed).choice([None, 3, 5, 16])
    tokenize, spec = tokenizer_function(hf_tokenizer, max_length)
    texts = random_texts(seed, 1500)
    check_padded_tokens(tokenize, hf_tokenizer, spec, [text.encode() for text in texts[:200]])
    assert list(token_mismatches(tokenize, hf_tokenizer, spec, texts)) == []


ALWAYS = ("all-MiniLM-L6-v2", "t5-small")
"""A WordPiece and a Unigram tokenizer; the slow tests have the others."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ALWAYS))
        for name in ("all-MiniLM-L6-v2", *REAL_TOKENIZERS)
    ],
)
def real_tokenizer(request: pytest.FixtureRequest) -> Any:
    tokenizer = real.real_tokenizer(request.param)
    if tokenizer is None:
        pytest.skip(f"the files of {request.param} are not there")
    return tokenizer


@pytest.fixture(scope="module")
def real_function(real_tokenizer: Any) -> Any:
    return tokenizer_function(real_tokenizer, None)


def test_code_points(real_tokenizer: Any, real_function: Any) -> None:
    """All assigned code points and a sample of the others; the sweep has all."""
    tokenize, spec = real_function
    texts = [f"a{chr(code)}b" for code in (*distinct_code_points(), *range(0x40000, 0x110000, 97))]
    assert list(token_mismatches(tokenize, real_tokenizer, spec, texts)) == []


def test_generated_texts(real_tokenizer: Any, real_function: Any) -> None:
    tokenize, spec = real_function
    texts = generated_texts(3, 2500, [token.content for token in spec.added_tokens])
    assert list(token_mismatches(tokenize, real_tokenizer, spec, texts)) == []


@pytest.mark.parametrize(
    "name", ["udhr.jsonl", "blns.json", "emoji-test.txt", "GraphemeBreakTest.txt"]
)
def test_real_texts(
    real_tokenizer: Any, real_function: Any, shared: Callable[[str], Path], name: str
) -> None:
    tokenize, spec = real_function
    assert (
        list(token_mismatches(tokenize, real_tokenizer, spec, read_texts(shared(f"text/{name}"))))
        == []
    )


def read_texts(path: Path) -> list[str]:
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line)["text"] for line in content.splitlines()]
    if path.name == "GraphemeBreakTest.txt":
        return grapheme_break_tests(content)
    return json.loads(content) if path.suffix == ".json" else content.splitlines()


def grapheme_break_tests(content: str) -> list[str]:
    """The sequences of Unicode's test file, without those that have surrogates."""
    lines = [line.partition("#")[0].split() for line in content.splitlines()]
    codes = [[int(part, 16) for part in line if part not in "÷×"] for line in lines]
    return [
        "".join(map(chr, line))
        for line in codes
        if line and not any(0xD800 <= code < 0xE000 for code in line)
    ]


def test_padded_batches_and_invalid_utf8(real_tokenizer: Any, real_function: Any) -> None:
    tokenize, spec = real_function
    texts = quick_texts(64, 2, ["[CLS]", "[MASK]"])
    assert any(b"\xff" in text for text in texts)
    check_padded_tokens(tokenize, real_tokenizer, spec, texts)


def bert_tokenizer(tmp_path: Path, lines: list[str], **options: Any) -> Any:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return BertTokenizer(str(path), **options)


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_odd_vocabulary_lines(tmp_path: Path) -> None:
    # Duplicates (the last counts), an empty line, blanks, a bare prefix, and a doubled prefix.
    lines = [
        *SPECIAL,
        "a",
        "b",
        "ab",
        "",
        "a",
        "##b",
        " c",
        "d e",
        "##",
        "####b",
        "ab ",
        "\u00a0",
        "é",
        "##ab",
        "ab",
        "b",
    ]
    texts = [
        "a b ab abb abab",
        "aab",
        "c d e de",
        "## ##b",
        "é e\u0301",
        "ab\u00a0b",
        "",
        "a" * 101,
    ]
    for lower in (True, False):
        assert mismatches(bert_tokenizer(tmp_path, lines, do_lower_case=lower), texts) == []


def test_longest_word_is_counted_in_characters(tmp_path: Path) -> None:
    hf_tokenizer = bert_tokenizer(
        tmp_path, [*SPECIAL, "é", "##é", "中"], do_lower_case=False, strip_accents=False
    )
    texts = ["é" * length for length in (1, 99, 100, 101)] + ["中" * 150, "e\u0301" * 101]
    assert mismatches(hf_tokenizer, texts) == []


@pytest.mark.parametrize(
    "max_length", [2, *(pytest.param(length, marks=pytest.mark.slow) for length in (3, 4, 7))]
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation_and_padding_sides(tmp_path: Path, max_length: int, side: str) -> None:
    other = {"left": "right", "right": "left"}[side]
    for padding in (side, other):
        hf_tokenizer = bert_tokenizer(
            tmp_path, [*SPECIAL, "a", "b", "c"], truncation_side=side, padding_side=padding
        )
        tokenize, spec = tokenizer_function(hf_tokenizer, max_length)
        texts = [b"a b c a b c", b"a", b"", b"c b", b"a b c"]
        check_padded_tokens(tokenize, hf_tokenizer, spec, texts)


def test_equal_patterns_after_normalization(tmp_path: Path) -> None:
    """The reference matches any of them, at random each time it is loaded."""
    hf_tokenizer = bert_tokenizer(tmp_path, [*SPECIAL, "a", "b"])
    hf_tokenizer.add_tokens([AddedToken("Xy", normalized=True), AddedToken("XY", normalized=False)])
    assert mismatches(hf_tokenizer, ["xy Xy xY XY", "axyb"]) == []
    hf_tokenizer.add_tokens([AddedToken("xY", normalized=True)])
    with pytest.raises(UnsupportedError, match=r"'xY' .* 'Xy' becomes 'xy', too"):
        tokenizer_function(hf_tokenizer, None)
    # The match is random: all 64 loads agree once in 2⁶³ times.
    stored = hf_tokenizer.backend_tokenizer.to_str()
    assert len({tuple(Tokenizer.from_str(stored).encode("xy").ids) for _ in range(64)}) == 2


def test_white_space_token_that_was_stripped_already(tmp_path: Path) -> None:
    hf_tokenizer = bert_tokenizer(tmp_path, [*SPECIAL, "a", "b"])
    hf_tokenizer.add_tokens(
        [AddedToken("\n", lstrip=True, rstrip=True), AddedToken("b", rstrip=True)]
    )
    assert mismatches(hf_tokenizer, ["a\n\nb", "\na\n a", "b\na b \n", "b \n"]) == []


def test_endless_words(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    hf_tokenizer = bert_tokenizer(tmp_path, [*SPECIAL, "a", "##a", "a" * 300])
    values = json.loads(hf_tokenizer.backend_tokenizer.to_str())
    values["model"]["max_input_chars_per_word"] = 2**40
    path.write_text(json.dumps(values))
    endless = PreTrainedTokenizerFast(tokenizer_file=str(path), pad_token="[PAD]")
    assert mismatches(endless, ["a" * 299, "a" * 300, "a" * 301]) == []
    assert mismatches(hf_tokenizer, ["a" * 100, "a" * 300]) == []


def test_empty_batch_and_huge_text(real_tokenizer: Any, real_function: Any) -> None:
    tokenize, _ = real_function
    assert tokenize(input_sequence=tf.constant([], tf.string))["input_ids"].shape == [0, 0]
    text = "a, " * 100_000
    ids = tokenize(input_sequence=tf.constant([text]))["input_ids"].numpy()
    assert ids.tolist() == [real_tokenizer(text)["input_ids"]]


MUTATIONS: dict[str, tuple[Any, str, Any]] = {
    "strip": (
        added_tokens.AddedTokenSplitter,
        "_strip",
        lambda self, stream, start, end, *_: (start, end),
    ),
    "refuse": (
        added_tokens.AddedTokenSplitter,
        "_refuse",
        lambda self, stream, start, end, pattern, limits: (start, end, pattern, limits),
    ),
    "overlaps": (
        added_tokens,
        "_without_overlaps",
        lambda start, end: tf.ones_like(start, tf.bool),
    ),
    "reorder": (
        code_points.CodePointNormalizer,
        "_reorder",
        lambda self, source, normalized, owner: (normalized.codes, normalized.spans),
    ),
    "long walks": (double_arrays, "_DENSE_STEPS", 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_are_noticed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any of these steps the ids differ, so the tests above cover it."""
    hf_tokenizer = bert_tokenizer(tmp_path, [*SPECIAL, "a", "b", "x", "\u1b44\u08da"])
    hf_tokenizer.add_tokens(
        [
            AddedToken("ab", rstrip=True, normalized=False),
            AddedToken("ba", normalized=False),
            AddedToken("x", single_word=True, normalized=False),
            AddedToken(" b", normalized=True),
        ]
    )
    texts = ["ab b", "aba", "axa x", "\u08da\u1b44", "\u1b44\u08da", "a" * 9]
    assert mismatches(hf_tokenizer, texts) == []
    monkeypatch.setattr(*MUTATIONS[name])
    mismatched = [text for text, _, _ in mismatches(hf_tokenizer, texts)]
    # The number of steps before walks are compacted must not change the ids.
    assert mismatched == {
        "long walks": [],
        "strip": ["ab b"],
        "refuse": ["axa x"],
        "overlaps": ["aba"],
    }.get(name, ["\u08da\u1b44"])
