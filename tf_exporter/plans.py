"""Which texts the reference is asked for, in which batches: those that the machine can afford, and what is said of the rest."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, TypeVar

from tf_exporter import costs
from tf_exporter.costs import Cost
from tf_exporter.description import Description
from tf_exporter.reference import Job
from tf_exporter.samples import decoded, words
from tf_exporter.saved_model import DEFAULT
from tf_exporter.spec import CROSS_ENCODER

BATCH = 32
"""Texts of a batch, at most."""
BATCH_TOKENS = 4096
"""Tokens of a batch, padding included, at most; one text may have more."""
_LONG = 1e11
"""A text of more operations is long: it is computed once and by itself, if at all."""
_NEXT = 7
"""How far behind a text its partner is, where pairs are scored."""
_SINGLES = 48
"""How many texts are also encoded one by one."""
_OTHERS = 5
"""Every fifth text goes through the signatures beside `serving_default`."""
_FEW = 12
"""Texts of such a signature where not all texts are affordable. Its first calls alone take seconds there."""
_SHORT_PART = 3
"""The texts that are not long take as much as a third of what long ones may: enough for all texts of all-MiniLM-L6-v2."""
_LEAST = 100
"""How many short texts are compared in any case."""
_LONGEST = 8
"""How many of the longest short texts are always compared."""
_SLOWEST = 1e9
"""Operations a second, of a machine that is busy with much else."""

Item = TypeVar("Item")
Counted = Callable[[list[str], "list[str] | None"], list[int]]
"""How many tokens texts, or pairs of them, have."""


def others(texts: list[Item]) -> list[Item]:
    """A second text for each, of another length mostly."""
    return texts[_NEXT:] + texts[:_NEXT]


@dataclass(frozen=True)
class Plan:
    """What the reference is asked, and our graph after it."""

    jobs: list[tuple[str, Job]]
    """Signature → texts."""
    note: str | None
    """In plain words, where texts as long as the model takes are not compared, and why."""
    has_long: bool
    """Whether there are texts whose working memory counts."""


@dataclass(frozen=True)
class Sized:
    """Texts, or pairs of them, with the tokens of each."""

    texts: list[str]
    pairs: list[str] | None
    tokens: list[int]

    def some(self, rows: Sequence[int]) -> Sized:
        """Those of some rows."""
        pairs = None if self.pairs is None else [self.pairs[row] for row in rows]
        return Sized([self.texts[row] for row in rows], pairs, [self.tokens[row] for row in rows])


def plan(texts: list[bytes], model: Description, cost: Cost | None, memory: int) -> Plan:
    """The affordable texts through `serving_default`, in mixed batches and some one by one; fewer through the other signatures.

    Args:
        texts: those whose token ids are compared.
        model: what was saved.
        cost: of its largest Transformer; None where the length of a text costs little.
        memory: bytes that there are for one text.
    """
    asked = [decoded(text) for text in texts]
    pairs = others(asked) if model.kind == CROSS_ENCODER else None
    if cost is None:
        sized, note = Sized(asked, pairs, [0] * len(asked)), None
    else:
        sized, note = affordable(asked, pairs, partial(count, model), model.tokenizer_spec.max_length, cost, memory)
    long = [row for row, tokens in enumerate(sized.tokens) if is_long(tokens, cost)]
    rows = short_rows(sized.tokens, cost)
    short = len(sized.texts) - len(long)
    singles = spread(rows, _SINGLES * len(rows) // max(short, 1))
    some = spread(rows, len(rows) // _OTHERS if len(rows) == short else _FEW)
    jobs = [
        _job(DEFAULT, sized.some(sorted([*rows, *long])), BATCH, model, cost),
        _job(DEFAULT, sized.some(singles), 1, model, cost),
        *(_job(name, sized.some(some), BATCH, model, cost) for name in model.signatures if name != DEFAULT),
    ]
    return Plan(jobs, note, bool(long))


def short_rows(tokens: list[int], cost: Cost | None) -> list[int]:
    """Those of the texts that are not long that may be computed, the longest of them among them."""
    rows = [row for row in range(len(tokens)) if not is_long(tokens[row], cost)]
    operations = 0.0 if cost is None else sum(cost.operations(tokens[row]) for row in rows)
    allowed = inf if cost is None else cost.most / _SHORT_PART
    if operations <= allowed:
        return rows
    # The limit is what the longest are there for.
    longest = sorted(rows, key=lambda row: -tokens[row])[:_LONGEST]
    return sorted({*spread(rows, max(_LEAST, int(len(rows) * allowed / operations))), *longest})


def spread(rows: list[int], count: int) -> list[int]:
    """So many of the rows, at least one, at equal distances; all where there are not as many."""
    count = max(count, 1)
    return rows if count >= len(rows) else [rows[index * len(rows) // count] for index in range(count)]


def is_long(tokens: int, cost: Cost | None) -> bool:
    """Whether a text costs so much that it is computed once and by itself."""
    return cost is not None and tokens > costs.SHORT and cost.operations(tokens) > _LONG


def count(model: Description, texts: list[str], pairs: list[str] | None) -> list[int]:
    """How many tokens of each text or pair the model computes, by the tokenizer of `serving_default`."""
    hf_tokenizer, spec = next(iter(model.tokenizers.values()))
    prompt = model.signatures[DEFAULT].prompt
    return tokens_of(hf_tokenizer, spec.max_length, [prompt + text for text in texts], pairs)


def tokens_of(hf_tokenizer: Any, limit: int | None, texts: list[str], pairs: list[str] | None) -> list[int]:
    """How many tokens each text or pair has, up to the limit."""
    cut = {"truncation": True, "max_length": limit} if limit else {}
    ids: list[list[int]] = hf_tokenizer(texts, *([] if pairs is None else [pairs]), verbose=False, **cut)["input_ids"]
    return [len(row) for row in ids]


def affordable(
    texts: list[str], pairs: list[str] | None, counted: Counted, limit: int | None, cost: Cost, memory: int
) -> tuple[Sized, str | None]:
    """The texts without those that would cost too much, with one that costs as much as there is in their place; and a note of it.

    Args:
        texts: the first or only text of each row.
        pairs: the second ones.
        counted: how many tokens rows have.
        limit: how many tokens of a row the model computes; None: all.
        cost: of its Transformer.
        memory: bytes that there are for one row.
    """
    sized = Sized(texts, pairs, counted(texts, pairs))
    limit = limit or max(sized.tokens)
    longest = cost.longest(limit, memory)
    kept: list[int] = []
    spent = 0.0
    # The longest first, as the limit is what they are there for.
    for row in sorted(range(len(texts)), key=lambda row: -sized.tokens[row]):
        tokens = sized.tokens[row]
        if tokens > longest:
            continue
        if is_long(tokens, cost):
            if kept and spent + cost.operations(tokens) > cost.most:
                continue
            spent += cost.operations(tokens)
        kept.append(row)
    found = sized.some(sorted(kept))
    if longest >= limit:
        return found, None
    second = None if pairs is None else pairs[:1]
    text = text_of(longest, lambda text: counted([text], second)[0])
    more = None if found.pairs is None or second is None else [*found.pairs, *second]
    found = Sized([*found.texts, text], more, [*found.tokens, *counted([text], second)])
    return found, _note(max(found.tokens), limit, cost, memory)


def text_of(tokens: int, counted: Callable[[str], int]) -> str:
    """Random words that make so many tokens, or a few less."""
    random_ = random.Random(tokens)
    pieces = words(random_, tokens).split()
    while len(pieces) > 1 and (found := counted(" ".join(pieces))) > tokens:
        pieces = pieces[: min(len(pieces) - 1, len(pieces) * tokens // found)]
    return " ".join(pieces)


def _note(longest: int, limit: int, cost: Cost, memory: int) -> str:
    needed, minutes = cost.memory(limit), max(1, round(cost.operations(limit) / costs.OPERATIONS_A_MINUTE))
    why = f"need about {needed / 1e9:,.1f} GB of memory"
    if needed <= memory:
        why = f"take about {minutes:,} minute{'s' if minutes > 1 else ''} each time on two cores"
        if cost.most < cost.operations(limit) <= costs.MOST_OPERATIONS["full"]:
            why += "; --verify full compares one"
    return f"the longest text compared had {longest:,} of {limit:,} tokens: one of {limit:,} would {why}"


def _job(name: str, sized: Sized, batch_size: int, model: Description, cost: Cost | None) -> tuple[str, Job]:
    signature = model.signatures[name]
    if name in model.leaking:
        # What the reference makes of a text then depends on its neighbours; we make of it what it makes of it alone.
        batch_size = 1
    batches = None if cost is None else batched(sized.tokens, batch_size)
    seconds = allowed_seconds(sized.tokens, cost)
    return name, Job(sized.texts, signature.prompt, batch_size, signature.task, sized.pairs, batches, seconds)


def allowed_seconds(tokens: list[int], cost: Cost | None) -> float:
    """How long texts of so many tokens may take in the reference."""
    return 0.0 if cost is None else sum(map(cost.operations, tokens)) / _SLOWEST


def batched(tokens: list[int], most: int) -> list[list[int]]:
    """Rows in order of length, in batches of at most so many of them and of at most `BATCH_TOKENS` tokens with padding."""
    batches: list[list[int]] = []
    for row in sorted(range(len(tokens)), key=lambda row: -tokens[row]):
        last = batches[-1] if batches else []
        if last and len(last) < most and (len(last) + 1) * tokens[last[0]] <= BATCH_TOKENS:
            last.append(row)
        else:
            batches.append([row])
    return batches


def mixed(rows: Sequence[int], long: Sequence[bool], size: int) -> list[list[int]]:
    """Rows in batches of a size, as they come, short ones among longer; long texts, whose memory adds up, by themselves.

    `long`: of every row that there is.
    """
    batches: list[list[int]] = []
    for row in rows:
        last = batches[-1] if batches else []
        if last and len(last) < size and not long[row] and not long[last[0]]:
            last.append(row)
        else:
            batches.append([row])
    return batches
