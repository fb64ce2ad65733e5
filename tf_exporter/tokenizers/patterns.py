"""The regular expressions that tokenizers split and replace by: where a match that starts at each place would end.

A closed list: each expression in use is written down once more, out of few kinds of pieces that are computed for all places
at once. Classes of characters are asked of the installed `tokenizers`, which matches with Oniguruma.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.tokenizers.probing import probe_class
from tf_exporter.tokenizers.stream import count, places, run_ends, select
from tf_exporter.tokenizers.tables import UNICODE_SIZE, CodePointTable

FAILED = -1


class Scan:
    """What pieces of patterns ask about the text: classes, and where runs of a class end, within pieces of text."""

    def __init__(self, codes: tf.Tensor, ends: tf.Tensor, classes: tf.Tensor) -> None:
        """All int32 [N]: `ends`: where the piece of text that each code is in ends; `classes`: one bit a class."""
        self.size = count(codes)
        self.here = tf.range(self.size)
        self.ends = tf.concat([ends, self.size[tf.newaxis]], 0)
        self._codes, self._classes = tf.concat([codes, [-1]], 0), tf.concat([classes, [0]], 0)
        self._runs: dict[int, tf.Tensor] = {}

    def belongs(self, bit: int) -> tf.Tensor:
        """Bool [N + 1]: whether the code is of this class."""
        return tf.bitwise.bitwise_and(self._classes, bit) > 0

    def within(self, at: tf.Tensor) -> tf.Tensor:
        """Whether `at` is still in the piece of text that each place is in (FAILED is not)."""
        return (at >= 0) & (at < self.ends[:-1])

    def run(self, bit: int, at: tf.Tensor) -> tf.Tensor:
        """Where the run of this class that goes on at `at` ends."""
        if bit not in self._runs:
            self._runs[bit] = run_ends(self.belongs(bit))
        return tf.minimum(self.take(self._runs[bit], at), self.ends[:-1])

    def own_run(self, bits: int, at: tf.Tensor) -> tf.Tensor:
        """Where the run of the class that the code at `at` is of ends; of disjoint classes `bits`, FAILED where of none."""
        kinds = tf.bitwise.bitwise_and(self._classes, bits)
        ends = run_ends(tf.concat([kinds[1:] == kinds[:-1], [False]], 0)) + 1
        found = self.within(at) & (self.take(kinds, at) > 0)
        return select(found, tf.minimum(self.take(ends, at), self.ends[:-1]), FAILED)

    def take(self, values: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
        """Element `at` of values [N + 1]."""
        return values[:-1] if at is self.here else tf.gather(values, tf.maximum(at, 0))

    def code(self, at: tf.Tensor) -> tf.Tensor:
        """The code at `at`."""
        return self.take(self._codes, at)

    def last(self, bit: int, before: tf.Tensor) -> tf.Tensor:
        """The last place before `before` of this class; −1 if there is none."""
        flags = self.belongs(bit)[:-1]
        found = tf.concat([[-1], places(flags)], 0)
        return tf.gather(found, self.take(tf.concat([[0], tf.cumsum(tf.cast(flags, tf.int32))], 0), before))


class Class(NamedTuple):
    """A class of characters, written as Oniguruma does, with its number of repetitions: [least, most]."""

    name: str
    least: int = 1
    most: int | None = 1

    def match(self, scan: Scan, bits: dict[str, int], at: tf.Tensor) -> tf.Tensor:
        """Where the match that starts at `at` ends, int32 [N]; FAILED where there is none."""
        bit = bits[self.name]
        if self.most == 1:
            found = scan.within(at) & scan.take(scan.belongs(bit), at)
            return select(found, at + 1, at if self.least == 0 else FAILED)
        end = tf.maximum(scan.run(bit, at), at)
        if self.most is not None:
            end = tf.minimum(end, at + self.most)
        return select((at >= 0) & (end - at >= self.least), end, FAILED)

    def classes(self) -> set[str]:
        """The classes that have to be known."""
        return {self.name}


class Text(NamedTuple):
    """These characters."""

    text: str

    def match(self, scan: Scan, bits: dict[str, int], at: tf.Tensor) -> tf.Tensor:
        """As `Class.match`."""
        fits = at >= 0
        for index, char in enumerate(self.text):
            there = at if index == 0 else at + index
            fits &= scan.within(there)
            there = there if index == 0 else tf.minimum(there, scan.size)
            fits &= scan.code(there) == ord(char)
        return select(fits, at + len(self.text), FAILED)

    def classes(self) -> set[str]:
        """As `Class.classes`."""
        return set()


class Contraction(NamedTuple):
    """'s|'t|'re|'ve|'m|'ll|'d; `folded`: in (?i:…)."""

    folded: bool = False

    def match(self, scan: Scan, bits: dict[str, int], at: tf.Tensor) -> tf.Tensor:
        """As `Class.match`."""
        second, third = tf.minimum(at + 1, scan.size), tf.minimum(at + 2, scan.size)
        one, double, *ends = (bits[name] for name in self._names())
        quote = scan.within(at) & scan.within(at + 1) & (scan.code(at) == ord("'"))
        short = scan.take(scan.belongs(one), second)
        long = scan.take(scan.belongs(double), second) & scan.take(scan.belongs(ends[0]), third)
        long |= scan.take(scan.belongs(ends[1]), second) & scan.take(scan.belongs(ends[1]), third)
        long &= scan.within(at + 2)
        return select(quote & (short | long), at + select(short, 2, 3), FAILED)

    def _names(self) -> list[str]:
        names = ("[stmd]", "[rv]", "e", "l")
        return [f"(?i:{name})" if self.folded else name for name in names]

    def classes(self) -> set[str]:
        """As `Class.classes`."""
        return {*self._names()}


class Run(NamedTuple):
    """A+|B+|…: of classes that have no character in common."""

    names: tuple[str, ...]

    def match(self, scan: Scan, bits: dict[str, int], at: tf.Tensor) -> tf.Tensor:
        """As `Class.match`."""
        return scan.own_run(sum(bits[name] for name in self.names), at)

    def classes(self) -> set[str]:
        """As `Class.classes`."""
        return {*self.names}


class Spaces(NamedTuple):
    r"""\s+(?!\S)|\s+: white space, but for the last before something else if there is more."""

    def match(self, scan: Scan, bits: dict[str, int], at: tf.Tensor) -> tf.Tensor:
        """As `Class.match`."""
        end = scan.run(bits[r"\s"], at)
        return select(end > at, select(end == scan.ends[:-1], end, tf.maximum(end - 1, at + 1)), FAILED)

    def classes(self) -> set[str]:
        """As `Class.classes`."""
        return {r"\s"}


class UpToLast(NamedTuple):
    """A*B+ where all of B may be A too: all of the run of A up to its last B, and the B that follow.

    That is how backtracking from a greedy A* ends.
    """

    first: str
    then: str

    def match(self, scan: Scan, bits: dict[str, int], at: tf.Tensor) -> tf.Tensor:
        """As `Class.match`."""
        run = tf.maximum(scan.run(bits[self.first], at), at)
        further = tf.maximum(scan.run(bits[self.then], run), run)
        last = scan.last(bits[self.then], run)
        end = select(further > run, further, select(last >= at, last + 1, FAILED))
        return select(at >= 0, end, FAILED)

    def classes(self) -> set[str]:
        """As `Class.classes`."""
        return {self.first, self.then}


class Maybe(NamedTuple):
    """`first`, if it is there and `then` follows; else `then` alone."""

    first: Class | Contraction
    then: Chain

    def match(self, scan: Scan, bits: dict[str, int], at: tf.Tensor) -> tf.Tensor:
        """As `Class.match`."""
        without = self.then.match(scan, bits, at)
        with_first = self.then.match(scan, bits, self.first.match(scan, bits, at))
        return select(with_first >= 0, with_first, without)

    def classes(self) -> set[str]:
        """As `Class.classes`."""
        return self.first.classes() | self.then.classes()


class Chain(NamedTuple):
    """One piece after the other; none may need to give anything back to the next (see `Maybe` and `UpToLast`)."""

    steps: tuple[Class | Text | Contraction | Run | Spaces | UpToLast | Maybe | Either, ...]

    def match(self, scan: Scan, bits: dict[str, int], at: tf.Tensor) -> tf.Tensor:
        """As `Class.match`."""
        for step in self.steps:
            at = step.match(scan, bits, at)
        return at

    def classes(self) -> set[str]:
        """As `Class.classes`."""
        return set().union(*(step.classes() for step in self.steps))


class Either(NamedTuple):
    """The first of the alternatives that matches."""

    alternatives: tuple[Chain, ...]

    def match(self, scan: Scan, bits: dict[str, int], at: tf.Tensor) -> tf.Tensor:
        """As `Class.match`."""
        ends = [alternative.match(scan, bits, at) for alternative in self.alternatives]
        return reduce(lambda later, earlier: select(earlier >= 0, earlier, later), reversed(ends))

    def classes(self) -> set[str]:
        """As `Class.classes`."""
        return set().union(*(alternative.classes() for alternative in self.alternatives))


def _some(name: str) -> Class:
    return Class(name, 1, None)


def _any(name: str) -> Class:
    return Class(name, 0, None)


def _maybe(name: str) -> Class:
    return Class(name, 0, 1)


def _chain(*steps: Class | Text | Contraction | Run | Spaces | UpToLast | Maybe | Either) -> Chain:
    return Chain(steps)


def _texts(*texts: str) -> tuple[Chain, ...]:
    return tuple(Chain((Text(text),)) for text in texts)


_SPACE, _LINE, _WHITE = " ", r"[\r\n]", r"\s"
_SPACES = (
    # \s*[\r\n]+ is all white space up to the last line break.
    _chain(UpToLast(_WHITE, _LINE)),
    _chain(Spaces()),
)
_BEFORE_LETTERS = r"[^\r\n\p{L}\p{N}]"


def _gpt4(letters: str, digits: Class, others: str) -> Either:
    words = _chain(_maybe(_BEFORE_LETTERS), _some(letters))
    if r"\p{M}" in letters:
        # A mark is both what may come before letters and one of them.
        words = _chain(Maybe(Class(_BEFORE_LETTERS), _chain(_some(letters))))
    return Either(
        (_chain(Contraction(folded=True)), words, _chain(digits), _chain(_maybe(_SPACE), _some(others), _any(_LINE)), *_SPACES)
    )


_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cased(digits: Class, contractions: bool) -> Either:
    """GPT-4o's and Mistral's: words break before capitals."""
    after: tuple[Maybe, ...] = ()
    if contractions:
        after = (Maybe(Contraction(folded=True), Chain(())),)
    lower, upper = UpToLast(_UPPER, _LOWER), (_some(_UPPER), _any(_LOWER))
    return Either(
        (
            _chain(Maybe(Class(_BEFORE_LETTERS), _chain(lower)), *after),
            _chain(Maybe(Class(_BEFORE_LETTERS), _chain(*upper)), *after),
            _chain(digits),
            _chain(_maybe(_SPACE), _some(r"[^\s\p{L}\p{N}]"), _any(r"[\r\n/]")),
            *_SPACES,
        )
    )


_OTHERS = r"[^\s\p{L}\p{N}]"
_GPT2 = Either(
    (
        _chain(Contraction()),
        # All three may begin with the space.
        _chain(_maybe(_SPACE), Run((r"\p{L}", r"\p{N}", _OTHERS))),
        _chain(Spaces()),
    )
)
_CLIP = (_chain(Contraction()), _chain(_some(r"\p{L}")), _chain(Class(r"\p{N}")), _chain(_some(_OTHERS)))
_FOLDED = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def _cased_words(after: str) -> str:
    return f"{_BEFORE_LETTERS}?{_UPPER}*{_LOWER}+{after}|{_BEFORE_LETTERS}?{_UPPER}+{_LOWER}*{after}"


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PATTERNS: dict[str, Either] = {
    GPT2: _GPT2,
    # Llama 3, Qwen 2 and 3, Qwen 3.5
    rf"{_FOLDED}|{_BEFORE_LETTERS}?\p{{L}}+|\p{{N}}{{1,3}}| ?{_OTHERS}+[\r\n]*|{_TAIL}": _gpt4(
        r"\p{L}", Class(r"\p{N}", 1, 3), _OTHERS
    ),
    rf"{_FOLDED}|{_BEFORE_LETTERS}?\p{{L}}+|\p{{N}}| ?{_OTHERS}+[\r\n]*|{_TAIL}": _gpt4(r"\p{L}", Class(r"\p{N}"), _OTHERS),
    rf"{_FOLDED}|{_BEFORE_LETTERS}?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_TAIL}": _gpt4(
        r"[\p{L}\p{M}]", Class(r"\p{N}"), r"[^\s\p{L}\p{M}\p{N}]"
    ),
    # Mistral, GPT-4o
    _cased_words("") + rf"|\p{{N}}| ?{_OTHERS}+[\r\n/]*|{_TAIL}": _cased(Class(r"\p{N}"), contractions=False),
    _cased_words(_FOLDED + "?") + rf"|\p{{N}}{{1,3}}| ?{_OTHERS}+[\r\n/]*|{_TAIL}": _cased(
        Class(r"\p{N}", 1, 3), contractions=True
    ),
    # CLIP, as transformers builds it and as it was converted before
    rf"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|{_OTHERS}+": Either(
        (*_texts("<|startoftext|>", "<|endoftext|>"), *_CLIP)
    ),
    rf"'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|{_OTHERS}+": Either(_CLIP),
    # BLOOM
    r" ?[^(\s|[.,!?…。，、।۔،])]+": Either((_chain(_maybe(_SPACE), _some(r"[^(\s|[.,!?…。，、।۔،])]")),)),
    # Digits
    r"\p{N}": Either((_chain(Class(r"\p{N}")),)),
    r"\p{N}+": Either((_chain(_some(r"\p{N}")),)),
    r"\p{N}{1,3}": Either((_chain(Class(r"\p{N}", 1, 3)),)),
    r"[0-9]": Either((_chain(Class("[0-9]")),)),
    r"\d": Either((_chain(Class(r"\d")),)),
    r"\d{1,3}": Either((_chain(Class(r"\d", 1, 3)),)),
    # White space
    r"\s": Either((_chain(Class(_WHITE)),)),
    r"\s+": Either((_chain(_some(_WHITE)),)),
    " {2,}": Either((_chain(Class(_SPACE, 2, None)),)),
    " +": Either((_chain(_some(_SPACE)),)),
    r"\n": Either((_chain(Class(r"\n")),)),
    r"[\n\r\t]": Either((_chain(Class(r"[\n\r\t]")),)),
    r"\s{2,}|[\n\r\t]": Either((_chain(Class(_WHITE, 2, None)), _chain(Class(r"[\n\r\t]")))),
    # Words
    r"\w+|[^\w\s]+": Either((_chain(_some(r"\w")), _chain(_some(r"[^\w\s]")))),
}
"""Regular expression → its match. Expressions must be spelled exactly so."""


class Pattern:
    """A string or a listed regular expression, with the classes it asks for in one table."""

    def __init__(self, expression: Either, added_token_count: int) -> None:
        self._expression = expression
        self._bits = {name: 1 << index for index, name in enumerate(sorted(expression.classes()))}
        values = np.zeros(UNICODE_SIZE + added_token_count, np.int32)
        for name, bit in self._bits.items():
            values[:UNICODE_SIZE] |= probe_class(name) * np.int32(bit)
        self._table = CodePointTable(values)

    def may_match(self, codes: tf.Tensor) -> tf.Tensor:
        """Whether there may be a match: a cheap test, by what all matches begin with."""
        first = [alternative.steps[0] for alternative in self._expression.alternatives]
        found = []
        for step in first:
            if isinstance(step, Text):
                found.append(tf.reduce_any(codes == ord(step.text[0])))
            elif isinstance(step, Class) and step.least >= 1:
                belongs = tf.bitwise.bitwise_and(self._table(codes), self._bits[step.name]) > 0
                found.append(tf.reduce_any(belongs[1:] & belongs[:-1] if step.least > 1 else belongs))
            else:
                return tf.size(codes) > 0
        return tf.reduce_any(tf.stack(found))

    def __call__(self, codes: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
        """int32 [N]: where a match that starts at each code ends, FAILED where none does; `ends`: see `Scan`."""
        scan = Scan(codes, ends, self._table(codes))
        return self._expression.match(scan, self._bits, scan.here)


def read_pattern(config: ConfigFile, added_token_count: int) -> Pattern:
    """The `pattern` of Split and Replace: {"String": …} or {"Regex": …}.

    Raises:
        UnsupportedError: the expression is not on the list.
    """
    pattern = config.take("pattern", dict)
    text = pattern.get("String")
    if text:
        return Pattern(Either(_texts(text)), added_token_count)
    expression = PATTERNS.get(pattern.get("Regex", ""))
    if expression is None:
        raise config.unsupported("pattern", ("a string", *PATTERNS))
    return Pattern(expression, added_token_count)
