"""The plan of a verification: batches of bounded cost, and texts of affordable length."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from tf_exporter.verification import costs
from tf_exporter.verification.costs import Cost, free_memory, room
from tf_exporter.verification.plans import (
    BATCH,
    BATCH_TOKENS,
    affordable,
    batched,
    is_long,
    mixed,
    short_rows,
    spread,
    text_of,
)

BASE = Cost("gte", 12, 768, 12, 3072)
FULL = replace(BASE, most=costs.MOST_OPERATIONS["full"])
TOY = Cost("bert", 3, 32, 4, 48)


def counted(limit: int) -> Callable[[list[str], list[str] | None], list[int]]:
    """Counts one token for each word and two special tokens, up to the limit."""
    return lambda texts, pairs: [
        min(limit, len(text.split()) + 2 + (0 if pairs is None else len(pairs[row].split())))
        for row, text in enumerate(texts)
    ]


def around(limit: int) -> list[str]:
    return [
        "",
        "hello world",
        *(" ".join(["a"] * length) for length in (limit - 3, limit - 2, limit - 1, 2 * limit)),
    ]


def test_batches_shrink_as_texts_grow() -> None:
    tokens = [3] * 50 + [300] * 20 + [9000, 5000]
    batches = batched(tokens, BATCH)
    assert sorted(row for rows in batches for row in rows) == list(range(len(tokens)))
    assert [len(rows) for rows in batches if tokens[rows[0]] > BATCH_TOKENS] == [1, 1]
    assert all(
        len(rows) == 1 or len(rows) * max(tokens[row] for row in rows) <= BATCH_TOKENS
        for rows in batches
    )
    assert max(map(len, batches)) == BATCH
    assert all(len(rows) == 1 for rows in batched(tokens, 1))


def test_long_texts_are_alone_in_ours_too() -> None:
    long = [False, False, True, False, False, False]
    assert mixed(range(6), long, 2) == [[0, 1], [2], [3, 4], [5]]
    assert mixed([0, 2, 5], long, 2) == [[0], [2], [5]]


def test_all_texts_where_they_cost_little() -> None:
    """Every model of up to 512 tokens, and small models of thousands."""
    for limit, cost in (
        (512, BASE),
        (32, TOY),
        (4096, TOY),
        (512, Cost("bert", 80, 8192, 64, 28672)),
    ):
        sized, note = affordable(around(limit), None, counted(limit), limit, cost, 2**30)
        assert (sized.texts, note) == (around(limit), None)
        assert sized.tokens.count(limit) == 3


def test_fewer_short_texts_of_large_models() -> None:
    """An even sample of at least 100 rows with the longest text; all where they are cheap."""
    tokens = [3 + row % 40 for row in range(400)]
    tokens[7] = tokens[201] = 512
    assert short_rows(tokens, None) == short_rows(tokens, TOY) == [*range(400)]
    half, least = (short_rows(tokens, cost) for cost in (BASE, Cost("bert", 80, 8192, 64, 28672)))
    assert 100 < len(half) < 150 and {7, 201} <= {*half}
    assert 100 <= len(least) <= 108 and {7, 201} <= {*least}
    assert max(second - first for first, second in pairwise(least)) <= 4
    assert 9 not in short_rows([*tokens[:9], 9000], BASE)


def test_spread() -> None:
    assert spread([2, 4, 6, 8], 2) == [2, 6]
    assert spread([2, 4], 9) == [2, 4] and spread([2, 4], 0) == [2] and spread([], 0) == []


def test_one_text_at_the_limit_where_more_are_too_many() -> None:
    sized, note = affordable(around(4000), None, counted(4000), 4000, BASE, 2**40)
    assert note is None
    assert sized.tokens.count(4000) == 1
    sized, note = affordable(around(8192), None, counted(8192), 8192, FULL, 2**40)
    assert note is None
    assert sized.tokens.count(8192) == 3


def test_long_texts_are_known() -> None:
    assert is_long(8192, BASE) and not is_long(8192, None) and not is_long(512, BASE)


@pytest.mark.parametrize(
    ("memory", "words"),
    [(2**40, "take about 8 minutes"), (2**29, r"need about \d+\.\d GB of memory")],
)
def test_the_longest_that_is_affordable(memory: int, words: str) -> None:
    sized, note = affordable(around(32768), None, counted(32768), 32768, BASE, memory)
    longest = max(sized.tokens)
    assert longest == BASE.longest(32768, memory) < 32768
    assert BASE.memory(longest) <= memory < 2**40 or BASE.operations(longest) <= BASE.most
    assert note is not None and note.startswith(
        f"the longest text compared had {longest:,} of 32,768 tokens: one of 32,768 would "
    )
    assert re.search(words, note)
    # The other texts are unchanged.
    assert sized.texts[:2] == around(32768)[:2]


def test_the_note_names_the_full_verification() -> None:
    sized, note = affordable(around(8192), None, counted(8192), 8192, BASE, 2**40)
    assert max(sized.tokens) == BASE.longest(8192, 2**40) < 8192
    assert note is not None and note.endswith(
        "would take about 1 minute each time on two cores; --verify full compares one"
    )
    assert FULL.longest(8192, 2**40) == 8192


def test_pairs_keep_their_partners() -> None:
    texts = around(32768)
    sized, _ = affordable(texts, ["x y"] * len(texts), counted(32768), 32768, BASE, 2**30)
    assert sized.pairs is not None
    assert len(sized.pairs) == len(sized.texts) == len(sized.tokens)


def test_a_text_of_a_given_length() -> None:
    def two_a_word(text: str) -> int:
        return 2 * len(text.split()) + 2

    assert two_a_word(text_of(1000, two_a_word)) == 1000
    assert len({*text_of(1000, two_a_word).split()}) > 50


def test_memory_grows_with_the_square() -> None:
    """Eager attention stores the scores of all heads; fused attention needs far less."""
    mpnet = Cost("mpnet", 12, 768, 12, 3072)
    assert mpnet.memory(8192) > 12 * 8192**2 * 4 * 2
    assert mpnet.longest(10**6, 2**30) < mpnet.longest(10**6, 2**32)
    assert mpnet.longest(10**6, 0) == costs.SHORT
    assert BASE.longest(100, 0) == 100
    # With fused attention, only the masks of the reference grow with the square.
    assert FULL.longest(8192, 2**30) == 8192 > replace(mpnet, most=FULL.most).longest(8192, 2**30)


def test_room() -> None:
    assert 0 < free_memory() < 2**40
    assert room(0) <= 2**30


def test_room_where_little_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "free_memory", lambda: 2**29)
    assert room(2**32) == 2**28
