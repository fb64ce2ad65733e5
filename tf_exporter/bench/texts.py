"""The texts that are timed: random English words of set lengths, or the user's own."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tf_exporter.bench.artifacts import Texts
from tf_exporter.errors import InputError, one_line

SHORT, LONG, EACH, UNIFORM, MIXED = 16, 128, 32, 32, 128
"""Tokens of a short and a long text, and of each of so many; texts of mixed lengths."""
MIXED_WORDS = (4, 200)
"""The least and most words of a text of the mixed batch, most of which are short."""
QUERY_WORDS = 5
"""Words of the first text of a pair."""
Count = Callable[[Texts], Sequence[int]]
_WORDS = (
    "about above across after again air all almost along also always another answer any around "
    "because before began below between book both bring build carry change children city close "
    "cold country cut day different door down each early earth end enough every example eye face "
    "family far few find first follow food form four friend garden give good great ground group "
    "grow hand hard head help here high home house idea important keep kind know land large last "
    "late learn leave left letter life light line list little live long look made make many mark "
    "might mountain move much music name near never next night number often old once only open "
    "other over page paper part people place plant point question quick quite rain read ready "
    "right river road run same school sea second seem sentence side simple small something song "
    "sound spell stand start state still stop story street study such table take talk tell think "
    "three time together town travel tree turn under until very walk watch water weather well "
    "while white winter without wood word work world write year young"
).split()


@dataclass(frozen=True)
class Shape:
    """Texts that are given to each artifact in one call."""

    name: str
    texts: Texts

    @property
    def single(self) -> bool:
        """Whether it is one text."""
        return len(self.texts) == 1


def own_shapes(pairs: bool, count: Count | None) -> list[Shape]:
    """One short text, one of `LONG` tokens, a batch of equal lengths, one of mixed lengths.

    Args:
        pairs: whether a text is a pair: a short query and a document of the given length.
        count: texts → the tokens of each, as the model takes them; None: lengths are of words.
    """
    random_ = random.Random(0)
    unit = "words" if count is None else "tokens"
    count = count or _words
    short, long = (_of_length(random_, tokens, pairs, count) for tokens in (SHORT, LONG))
    equal = [_of_length(random_, EACH, pairs, count) for _ in range(UNIFORM)]
    low, high = map(math.log, MIXED_WORDS)
    mixed = [
        _text(random_, round(math.exp(random_.uniform(low, high))), pairs) for _ in range(MIXED)
    ]
    shapes = [
        Shape(f"{len(texts)} × {max(count(texts)):,} {unit}", texts)
        for texts in ([short], [long], equal)
    ]
    shapes.append(Shape(f"{MIXED} × {'–'.join(map(str, MIXED_WORDS))} words", mixed))
    # Where the model truncates to a few tokens, the long text is as short as the short one.
    return [*{shape.name: shape for shape in shapes}.values()]


def _text(random_: random.Random, words: int, pairs: bool) -> tuple[str, ...]:
    text = " ".join(random_.choices(_WORDS, k=words))
    return (" ".join(random_.choices(_WORDS, k=QUERY_WORDS)), text) if pairs else (text,)


def _of_length(random_: random.Random, tokens: int, pairs: bool, count: Count) -> tuple[str, ...]:
    """A text of as many tokens, or of a few less where no beginning of it has as many."""
    *query, text = _text(random_, tokens, pairs)
    words = text.split()
    begins = [(*query, " ".join(words[: number + 1])) for number in range(tokens)]
    counts = count(begins)
    fitting = [begin for begin, length in zip(begins, counts) if length <= tokens]
    return fitting[-1] if fitting else begins[0]


def _words(texts: Texts) -> list[int]:
    return [sum(len(text.split()) for text in pair) for pair in texts]


def read_lines(path: str) -> list[tuple[int, str]]:
    """The lines of a file that are not blank, with their numbers from 1.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or has no text.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = [(number, line.strip("\r\n")) for number, line in enumerate(file, 1)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not UTF-8 ({one_line(error)})") from error
    lines = [(number, line) for number, line in lines if line.strip()]
    if not lines:
        raise InputError(f"{path}: no texts")
    return lines


def split(path: str, lines: Sequence[tuple[int, str]], pairs: bool) -> list[tuple[str, ...]]:
    """The texts of lines; of pairs, the first and the second with a tab between.

    Raises:
        InputError: a line is not a pair.
    """
    texts = []
    for number, line in lines:
        text = tuple(line.split("\t")) if pairs else (line,)
        if len(text) != 1 + pairs:
            raise InputError(f"{path}: line {number} is not two texts with a tab between")
        texts.append(text)
    return texts


def shapes_of(texts: Texts) -> list[Shape]:
    """The text of middle length, the longest, and batches of up to `UNIFORM` and `MIXED` texts."""
    by_length = sorted(texts, key=lambda text: sum(map(len, text)))
    shapes = [
        Shape(f"1 × {sum(map(len, text)):,} characters", [text])
        for text in (by_length[len(texts) // 2], by_length[-1])
    ]
    for most in (UNIFORM, MIXED):
        # Spread over the file, which may be in some order.
        number = min(most, len(texts))
        if number > 1:
            spread = [texts[index * len(texts) // number] for index in range(number)]
            shapes.append(Shape(f"{number} of {len(texts):,} texts", spread))
    return [*{shape.name: shape for shape in shapes}.values()]
