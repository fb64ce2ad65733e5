"""Plans: the texts that the reference computes, their batches, and a note on unaffordable texts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import TypeVar

from tf_exporter.graph.description import Description
from tf_exporter.names import ALL, CLASSIFY, CROSS_ENCODER, DEFAULT, IDS, TOKENS
from tf_exporter.tokenizers.contract import ReferenceTokenizer
from tf_exporter.verification import costs
from tf_exporter.verification.costs import Cost
from tf_exporter.verification.reference import Job
from tf_exporter.verification.sample_texts import decoded, words

BATCH = 32
"""The most texts of a batch."""
BATCH_TOKENS = 4096
"""The most tokens of a batch, padding included. A single text may have more."""
_LONG = 1e11
"""A text of more operations is long: it is computed at most once, in a batch of its own."""
_PARTNER_DISTANCE = 7
"""The distance from a text to its partner, for pairs of texts."""
_SINGLES = 48
"""The number of texts that are also encoded one by one."""
_SIGNATURE_SHARE = 5
"""Every fifth text goes through the signatures other than `serving_default`."""
_SIGNATURE_TEXTS = 12
"""Texts of such a signature if not all texts are affordable: its first calls alone take seconds."""
_SHORT_PART = 3
"""Short texts may take a third of the operations of long ones; all-MiniLM-L6-v2 needs no more."""
_LEAST = 100
"""The number of short texts that are always compared."""
_LONGEST = 8
"""The number of the longest short texts that are always compared."""
_SLOWEST = 1e9
"""Operations a second on a busy machine."""

Item = TypeVar("Item")
Counted = Callable[[list[str], "list[str] | None"], list[int]]
"""A function that counts the tokens of each text, or of each pair of texts."""


def partners(texts: list[Item]) -> list[Item]:
    """A partner for each text, mostly of another length."""
    return texts[_PARTNER_DISTANCE:] + texts[:_PARTNER_DISTANCE]


@dataclass(frozen=True)
class Plan:
    """The texts that are computed by the reference, and then by our graph."""

    jobs: list[tuple[str, Job]]
    """Signatures and their texts."""
    note: str | None
    """A note on why texts of the model's maximum length are not compared; None if they are."""
    has_long: bool
    """Whether there are long texts, whose working memory matters."""


@dataclass(frozen=True)
class Sized:
    """Texts, or pairs of texts, with the number of tokens of each."""

    texts: list[str]
    pairs: list[str] | None
    tokens: list[int]

    def subset(self, rows: Sequence[int]) -> Sized:
        pairs = None if self.pairs is None else [self.pairs[row] for row in rows]
        return Sized([self.texts[row] for row in rows], pairs, [self.tokens[row] for row in rows])


def plan(texts: list[bytes], model: Description, cost: Cost | None, memory: int) -> Plan:
    """The plan for a model of sentence-transformers.

    The affordable texts go through `serving_default`, in mixed batches, and some of them again one
    by one. Fewer go through the other signatures.

    Args:
        texts: the texts whose token ids are compared.
        model: the model that was saved.
        cost: the cost of its largest Transformer; None if the length of a text costs little.
        memory: the bytes that one text may take.
    """
    strings = [decoded(text) for text in texts]
    pairs = partners(strings) if model.kind == CROSS_ENCODER else None
    sized, note = _affordable_texts(model, strings, pairs, cost, memory)
    short, long = short_rows(sized.tokens, cost), long_rows(sized.tokens, cost)
    all_short = len(sized.texts) - len(long)
    singles = spread(short, _SINGLES * len(short) // max(all_short, 1))
    all_are_affordable = len(short) == all_short
    sample = spread(
        short, len(short) // _SIGNATURE_SHARE if all_are_affordable else _SIGNATURE_TEXTS
    )
    jobs = [
        _job(DEFAULT, sized.subset(sorted([*short, *long])), BATCH, model, cost),
        _job(DEFAULT, sized.subset(singles), 1, model, cost),
        *(
            _job(name, sized.subset(sample), BATCH, model, cost)
            for name in model.signatures
            if name != DEFAULT
        ),
    ]
    if TOKENS in model.extras:
        _, job = _job(DEFAULT, sized.subset(sample), BATCH, model, cost)
        jobs.append((TOKENS, replace(job, tokens=True)))
    if model.heads:
        _, job = _job(DEFAULT, sized.subset(sample), BATCH, model, cost)
        jobs.append((ALL, replace(job, tokens=True)))
    if IDS in model.extras:
        _, job = _job(DEFAULT, sized.subset(sample), BATCH, model, cost)
        jobs.append((IDS, replace(job, prompt="")))
    return Plan(jobs, note, bool(long))


def plan_of_classifier(texts: list[str], model: Description, cost: Cost, memory: int) -> Plan:
    """The plan for a classifier: texts for `classify`, pairs for `classify_pair`; see `plan`."""
    jobs, notes, has_long = [], [], False
    for name, pairs in zip(CLASSIFY, (None, partners(texts))):
        sized, note = _affordable_texts(model, texts, pairs, cost, memory)
        long = long_rows(sized.tokens, cost)
        jobs.append(
            _job(
                name,
                sized.subset(sorted([*short_rows(sized.tokens, cost), *long])),
                BATCH,
                model,
                cost,
            )
        )
        notes.append(note)
        has_long = has_long or bool(long)
    return Plan(jobs, next(filter(None, notes), None), has_long)


def _affordable_texts(
    model: Description, texts: list[str], pairs: list[str] | None, cost: Cost | None, memory: int
) -> tuple[Sized, str | None]:
    if cost is None:
        return Sized(texts, pairs, [0] * len(texts)), None
    return affordable(
        texts, pairs, partial(count, model), model.tokenizer_spec.max_length, cost, memory
    )


def long_rows(tokens: list[int], cost: Cost | None) -> list[int]:
    """The rows of long texts."""
    return [row for row in range(len(tokens)) if is_long(tokens[row], cost)]


def short_rows(tokens: list[int], cost: Cost | None) -> list[int]:
    """The rows of short texts that are affordable, the longest of them included."""
    rows = [row for row in range(len(tokens)) if not is_long(tokens[row], cost)]
    operations = 0.0 if cost is None else sum(cost.operations(tokens[row]) for row in rows)
    allowed = inf if cost is None else cost.most / _SHORT_PART
    if operations <= allowed:
        return rows
    # The longest texts are there to test the limit.
    longest = sorted(rows, key=lambda row: -tokens[row])[:_LONGEST]
    return sorted({*spread(rows, max(_LEAST, int(len(rows) * allowed / operations))), *longest})


def spread(rows: list[int], count: int) -> list[int]:
    """`count` of the rows, at least one, at equal distances; all rows if there are fewer."""
    count = max(count, 1)
    return (
        rows if count >= len(rows) else [rows[index * len(rows) // count] for index in range(count)]
    )


def is_long(tokens: int, cost: Cost | None) -> bool:
    """Whether a text costs so much that it is computed in a batch of its own."""
    return cost is not None and tokens > costs.SHORT and cost.operations(tokens) > _LONG


def count(model: Description, texts: list[str], pairs: list[str] | None) -> list[int]:
    """The number of tokens that the model's first signature computes for each text or pair."""
    hf_tokenizer, spec = next(iter(model.tokenizers.values()))
    prompt = next(iter(model.signatures.values())).prompt
    return tokens_of(hf_tokenizer, spec.max_length, [prompt + text for text in texts], pairs)


def tokens_of(
    hf_tokenizer: ReferenceTokenizer, limit: int | None, texts: list[str], pairs: list[str] | None
) -> list[int]:
    """The number of tokens of each text or pair, up to the limit."""
    truncation = {"truncation": True, "max_length": limit} if limit else {}
    ids: list[list[int]] = hf_tokenizer(
        texts, *([] if pairs is None else [pairs]), verbose=False, **truncation
    )["input_ids"]
    return [len(row) for row in ids]


def affordable(
    texts: list[str],
    pairs: list[str] | None,
    counted: Counted,
    limit: int | None,
    cost: Cost,
    memory: int,
) -> tuple[Sized, str | None]:
    """The affordable texts, and a note if texts of the maximum length are not affordable.

    Texts that cost too much are left out. If texts at the limit are among them, a text of the
    largest affordable length is added.

    Args:
        texts: the first or only text of each row.
        pairs: the second text of each row, if any.
        counted: counts the tokens of rows.
        limit: the most tokens of a row that the model computes; None: all.
        cost: the cost of its Transformer.
        memory: the bytes that one row may take.
    """
    sized = Sized(texts, pairs, counted(texts, pairs))
    limit = limit or max(sized.tokens)
    longest = cost.longest(limit, memory)
    kept: list[int] = []
    spent = 0.0
    # The longest first: they are there to test the limit.
    for row in sorted(range(len(texts)), key=lambda row: -sized.tokens[row]):
        tokens = sized.tokens[row]
        if tokens > longest:
            continue
        if is_long(tokens, cost):
            if kept and spent + cost.operations(tokens) > cost.most:
                continue
            spent += cost.operations(tokens)
        kept.append(row)
    chosen = sized.subset(sorted(kept))
    if longest >= limit:
        return chosen, None
    second = None if pairs is None else pairs[:1]
    text = text_of(longest, lambda text: counted([text], second)[0])
    more = None if chosen.pairs is None or second is None else [*chosen.pairs, *second]
    extended = Sized([*chosen.texts, text], more, [*chosen.tokens, *counted([text], second)])
    return extended, _note(max(extended.tokens), limit, cost, memory)


def text_of(tokens: int, counted: Callable[[str], int]) -> str:
    """Random words that make `tokens` tokens, or slightly fewer."""
    random_ = random.Random(tokens)
    pieces = words(random_, tokens).split()
    while len(pieces) > 1 and (size := counted(" ".join(pieces))) > tokens:
        pieces = pieces[: min(len(pieces) - 1, len(pieces) * tokens // size)]
    return " ".join(pieces)


def _note(longest: int, limit: int, cost: Cost, memory: int) -> str:
    needed, minutes = (
        cost.memory(limit),
        max(1, round(cost.operations(limit) / costs.OPERATIONS_A_MINUTE)),
    )
    why = f"need about {needed / 1e9:,.1f} GB of memory"
    if needed <= memory:
        why = f"take about {minutes:,} minute{'s' if minutes > 1 else ''} each time on two cores"
        if cost.most < cost.operations(limit) <= cost.most_in_full:
            why += "; --verify full compares one"
    return (
        f"the longest text compared had {longest:,} of {limit:,} tokens: "
        f"one of {limit:,} would {why}"
    )


def _job(
    name: str, sized: Sized, batch_size: int, model: Description, cost: Cost | None
) -> tuple[str, Job]:
    signature = model.signatures[name]
    if name in model.leaking:
        # The reference's result depends on the batch; the graph's is that of a text alone.
        batch_size = 1
    batches = None if cost is None else batched(sized.tokens, batch_size)
    seconds = allowed_seconds(sized.tokens, cost)
    # Adapters stand for tasks; the reference's own class would not know their names.
    return name, Job(
        sized.texts,
        signature.prompt,
        batch_size,
        task="" if model.adapters else signature.task,
        adapter=model.adapters.get(signature.route, ""),
        strips=model.strips,
        pairs=sized.pairs,
        batches=batches,
        seconds=seconds,
    )


def allowed_seconds(tokens: list[int], cost: Cost | None) -> float:
    """The seconds that the reference may take for texts with these numbers of tokens."""
    return 0.0 if cost is None else sum(map(cost.operations, tokens)) / _SLOWEST


def batched(tokens: list[int], most: int) -> list[list[int]]:
    """Batches of at most `most` rows and `BATCH_TOKENS` tokens with padding, in order of length."""
    batches: list[list[int]] = []
    for row in sorted(range(len(tokens)), key=lambda row: -tokens[row]):
        last = batches[-1] if batches else []
        if last and len(last) < most and (len(last) + 1) * tokens[last[0]] <= BATCH_TOKENS:
            last.append(row)
        else:
            batches.append([row])
    return batches


def mixed(rows: Sequence[int], long: Sequence[bool], size: int) -> list[list[int]]:
    """Batches of at most `size` rows in the given order, which mixes lengths.

    A long text has a batch of its own, as the memory of several would add up. `long`: whether the
    text of a row is long, for all rows.
    """
    batches: list[list[int]] = []
    for row in rows:
        last = batches[-1] if batches else []
        if last and len(last) < size and not long[row] and not long[last[0]]:
            last.append(row)
        else:
            batches.append([row])
    return batches
