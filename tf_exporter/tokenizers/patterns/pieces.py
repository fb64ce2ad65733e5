"""The pieces of patterns: the end of the match that starts at each position of a text."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import tensorflow as tf

from tf_exporter.tokenizers.ops.ragged import count, places, run_ends, select

FAILED = -1


class Scan:
    """The classes of codes and the runs of a class, within spans of text."""

    def __init__(self, codes: tf.Tensor, ends: tf.Tensor, classes: tf.Tensor) -> None:
        """`ends`: the end of each code's span; `classes`: one bit per class; int32 [N] each."""
        self.size = count(codes)
        self.here = tf.range(self.size)
        self.ends = tf.concat([ends, self.size[tf.newaxis]], 0)
        self._codes, self._classes = tf.concat([codes, [-1]], 0), tf.concat([classes, [0]], 0)
        self._runs: dict[int, tf.Tensor] = {}

    def belongs(self, bit: int) -> tf.Tensor:
        """Whether each code is in this class: bool [N + 1]."""
        return tf.bitwise.bitwise_and(self._classes, bit) > 0

    def within(self, position: tf.Tensor) -> tf.Tensor:
        """Whether `position` is before the end of each code's span; False for FAILED."""
        return (position >= 0) & (position < self.ends[:-1])

    def run(self, bit: int, position: tf.Tensor) -> tf.Tensor:
        """The end of the run of this class that goes on at `position`."""
        if bit not in self._runs:
            self._runs[bit] = run_ends(self.belongs(bit))
        return tf.minimum(self.take(self._runs[bit], position), self.ends[:-1])

    def own_run(self, bits: int, position: tf.Tensor) -> tf.Tensor:
        """The end of the run of one of the disjoint classes `bits` at `position`, or FAILED."""
        kinds = tf.bitwise.bitwise_and(self._classes, bits)
        ends = run_ends(tf.concat([kinds[1:] == kinds[:-1], [False]], 0)) + 1
        has_class = self.within(position) & (self.take(kinds, position) > 0)
        return select(has_class, tf.minimum(self.take(ends, position), self.ends[:-1]), FAILED)

    def take(self, values: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """The elements of `values`, [N + 1], at `position`."""
        return values[:-1] if position is self.here else tf.gather(values, tf.maximum(position, 0))

    def code(self, position: tf.Tensor) -> tf.Tensor:
        """The codes at `position`."""
        return self.take(self._codes, position)

    def last(self, bit: int, before: tf.Tensor) -> tf.Tensor:
        """The last position of this class before `before`; −1 if there is none."""
        flags = self.belongs(bit)[:-1]
        members = tf.concat([[-1], places(flags)], 0)
        return tf.gather(
            members, self.take(tf.concat([[0], tf.cumsum(tf.cast(flags, tf.int32))], 0), before)
        )


class Class(NamedTuple):
    """A class of characters in Oniguruma's syntax, [least, most] times."""

    name: str
    least: int = 1
    most: int | None = 1

    def match(self, scan: Scan, bits: dict[str, int], position: tf.Tensor) -> tf.Tensor:
        """The end of the match that starts at `position`, or FAILED: int32 [N]."""
        bit = bits[self.name]
        if self.most == 1:
            is_member = scan.within(position) & scan.take(scan.belongs(bit), position)
            return select(is_member, position + 1, position if self.least == 0 else FAILED)
        end = tf.maximum(scan.run(bit, position), position)
        if self.most is not None:
            end = tf.minimum(end, position + self.most)
        return select((position >= 0) & (end - position >= self.least), end, FAILED)

    def classes(self) -> set[str]:
        """The names of all classes in the piece."""
        return {self.name}


class Text(NamedTuple):
    """A string."""

    text: str

    def match(self, scan: Scan, bits: dict[str, int], position: tf.Tensor) -> tf.Tensor:
        fits = position >= 0
        for index, char in enumerate(self.text):
            there = position if index == 0 else position + index
            fits &= scan.within(there)
            there = there if index == 0 else tf.minimum(there, scan.size)
            fits &= scan.code(there) == ord(char)
        return select(fits, position + len(self.text), FAILED)

    def classes(self) -> set[str]:
        return set()


class Contraction(NamedTuple):
    """'s|'t|'re|'ve|'m|'ll|'d; `folded`: inside (?i:…)."""

    folded: bool = False

    def match(self, scan: Scan, bits: dict[str, int], position: tf.Tensor) -> tf.Tensor:
        second, third = tf.minimum(position + 1, scan.size), tf.minimum(position + 2, scan.size)
        one, double, *ends = (bits[name] for name in self._names())
        quote = (
            scan.within(position) & scan.within(position + 1) & (scan.code(position) == ord("'"))
        )
        short = scan.take(scan.belongs(one), second)
        long = scan.take(scan.belongs(double), second) & scan.take(scan.belongs(ends[0]), third)
        long |= scan.take(scan.belongs(ends[1]), second) & scan.take(scan.belongs(ends[1]), third)
        long &= scan.within(position + 2)
        return select(quote & (short | long), position + select(short, 2, 3), FAILED)

    def _names(self) -> list[str]:
        names = ("[stmd]", "[rv]", "e", "l")
        return [f"(?i:{name})" if self.folded else name for name in names]

    def classes(self) -> set[str]:
        return {*self._names()}


class Run(NamedTuple):
    """A+|B+|… for disjoint classes."""

    names: tuple[str, ...]

    def match(self, scan: Scan, bits: dict[str, int], position: tf.Tensor) -> tf.Tensor:
        return scan.own_run(sum(bits[name] for name in self.names), position)

    def classes(self) -> set[str]:
        return {*self.names}


class ButLast(NamedTuple):
    r"""A+(?![^A]), such as \s+(?!\S): a run less its last code, unless it ends a span."""

    name: str

    def match(self, scan: Scan, bits: dict[str, int], position: tf.Tensor) -> tf.Tensor:
        end = scan.run(bits[self.name], position)
        end = select(end == scan.ends[:-1], end, end - 1)
        return select((position >= 0) & (end > position), end, FAILED)

    def classes(self) -> set[str]:
        return {self.name}


class Spaces(NamedTuple):
    r"""A+(?![^A])|A+, such as \s+(?!\S)|\s+: `ButLast`, or a run of a single character."""

    name: str

    def match(self, scan: Scan, bits: dict[str, int], position: tf.Tensor) -> tf.Tensor:
        end = scan.run(bits[self.name], position)
        return select(
            end > position,
            select(end == scan.ends[:-1], end, tf.maximum(end - 1, position + 1)),
            FAILED,
        )

    def classes(self) -> set[str]:
        return {self.name}


class UpToLast(NamedTuple):
    """A*B+ with any classes: a run of A and the run of B after it.

    Without a run of B after it, backtracking ends at the last B in the run of A.
    """

    first: str
    then: str

    def match(self, scan: Scan, bits: dict[str, int], position: tf.Tensor) -> tf.Tensor:
        run = tf.maximum(scan.run(bits[self.first], position), position)
        further = tf.maximum(scan.run(bits[self.then], run), run)
        last = scan.last(bits[self.then], run)
        end = select(further > run, further, select(last >= position, last + 1, FAILED))
        return select(position >= 0, end, FAILED)

    def classes(self) -> set[str]:
        return {self.first, self.then}


class Maybe(NamedTuple):
    """`first` and `then` if both match, else `then` alone."""

    first: Class | Contraction
    then: Chain

    def match(self, scan: Scan, bits: dict[str, int], position: tf.Tensor) -> tf.Tensor:
        without = self.then.match(scan, bits, position)
        with_first = self.then.match(scan, bits, self.first.match(scan, bits, position))
        return select(with_first >= 0, with_first, without)

    def classes(self) -> set[str]:
        return self.first.classes() | self.then.classes()


class Chain(NamedTuple):
    """A sequence of pieces; none has to backtrack, apart from `Maybe` and `UpToLast`."""

    steps: tuple[Step, ...]

    def match(self, scan: Scan, bits: dict[str, int], position: tf.Tensor) -> tf.Tensor:
        for step in self.steps:
            position = step.match(scan, bits, position)
        return position

    def classes(self) -> set[str]:
        return set().union(*(step.classes() for step in self.steps))


class Either(NamedTuple):
    """The first alternative that matches."""

    alternatives: tuple[Chain, ...]

    def match(self, scan: Scan, bits: dict[str, int], position: tf.Tensor) -> tf.Tensor:
        ends = [alternative.match(scan, bits, position) for alternative in self.alternatives]
        return reduce(lambda later, earlier: select(earlier >= 0, earlier, later), reversed(ends))

    def classes(self) -> set[str]:
        return set().union(*(alternative.classes() for alternative in self.alternatives))


Step = Class | Text | Contraction | Run | ButLast | Spaces | UpToLast | Maybe | Either
