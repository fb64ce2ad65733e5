"""The pieces that patterns are put together of: where a match that starts at each place of a text would end."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import tensorflow as tf

from tf_exporter.tokenizers.stream import count, places, run_ends, select

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
