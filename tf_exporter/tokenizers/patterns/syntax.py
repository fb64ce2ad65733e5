"""A parser of regular expressions, for the part of Oniguruma's syntax that tokenizers use.

An expression is a list of alternatives, and an alternative is a list of items. All other syntax is
refused, with its position.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_REPEATS = 1000
_ESCAPES = re.compile(
    r"\\(?:[nrtfvaedDsSwWhH]|[^a-zA-Z0-9]|x\{[0-9A-Fa-f]{1,6}\}|x[0-7][0-9A-Fa-f]|u[0-9A-Fa-f]{4})"
)
_PROPERTY = re.compile(r"\\[pP]\{\^?[A-Za-z_ -]+\}")
_COUNTS = re.compile(r"\{(\d*)(,?)(\d*)\}")
_POSIX = re.compile(r"\[:\^?[a-z]+:\]")
_FOLDED = "(?i:"
_NOT_BEFORE = "(?!"


class PatternSyntaxError(ValueError):
    """A part of an expression that is not supported."""

    def __init__(self, what: str, position: int) -> None:
        super().__init__(f"{what} at position {position}")


class Repeat(NamedTuple):
    """A class in Oniguruma's syntax, [least, most] times; a single character is a class too."""

    name: str
    least: int
    most: int | None
    possessive: bool
    """Whether it never backtracks."""
    position: int


class Group(NamedTuple):
    """Alternatives in parentheses; optional ones may be missing."""

    alternatives: tuple[Alternative, ...]
    optional: bool
    folded: bool
    """Whether case does not matter: (?i:…)."""
    position: int


class NotBefore(NamedTuple):
    """(?!…): a class of characters that must not follow."""

    name: str
    position: int


Item = Repeat | Group | NotBefore
Alternative = tuple[Item, ...]


def parse(expression: str) -> tuple[Alternative, ...]:
    """The alternatives of an expression.

    Raises:
        PatternSyntaxError: A part of the expression is not supported.
    """
    parser = _Parser(expression)
    alternatives = parser.alternatives()
    if parser.position < len(expression):
        raise PatternSyntaxError("a closing parenthesis", parser.position)
    return alternatives


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self.position = 0

    def alternatives(self) -> tuple[Alternative, ...]:
        """The alternatives up to the end or a closing parenthesis."""
        alternatives, items = [], list[Item]()
        while self.position < len(self._text) and self._text[self.position] != ")":
            if self._text[self.position] == "|":
                self.position += 1
                alternatives.append(tuple(items))
                items = []
            else:
                items.append(self._item())
        return (*alternatives, tuple(items))

    def _item(self) -> Item:
        start = self.position
        if self._text[start] == "(":
            return self._group()
        name = self._class()
        least, most, possessive = self._counts()
        return Repeat(name, least, most, possessive, start)

    def _group(self) -> Item:
        start = self.position
        if self._text.startswith(_NOT_BEFORE, start):
            self.position += len(_NOT_BEFORE)
            name = self._class()
            self._close(start)
            return NotBefore(name, start)
        folded = self._text.startswith(_FOLDED, start)
        opening = next(
            (opening for opening in (_FOLDED, "(?:") if self._text.startswith(opening, start)), "("
        )
        if self._text.startswith(f"{opening}?", start):
            raise PatternSyntaxError(f"a group {self._text[start : start + 4]}", start)
        self.position += len(opening)
        alternatives = self.alternatives()
        self._close(start)
        least, most, possessive = self._counts()
        if most != 1 or possessive:
            raise PatternSyntaxError(f"a {'possessive' if possessive else 'repeated'} group", start)
        return Group(alternatives, least == 0, folded, start)

    def _close(self, start: int) -> None:
        if not self._text.startswith(")", self.position):
            raise PatternSyntaxError("a group", start)
        self.position += 1

    def _class(self) -> str:
        """One character, an escape, a property or a class in brackets."""
        start, text = self.position, self._text
        if start >= len(text):
            raise PatternSyntaxError("an end", start)
        char = text[start]
        if char == "[":
            self.position = self._bracket(start)
        elif char == "\\":
            match = _ESCAPES.match(text, start) or _PROPERTY.match(text, start)
            if match is None:
                raise PatternSyntaxError(f"{text[start : start + 2]}", start)
            self.position = match.end()
        elif char in "*+?^$)|":
            raise PatternSyntaxError(f"{char}", start)
        else:
            self.position += 1
        name = text[start : self.position]
        return f"\\{name}" if name in "{}]" else name

    def _bracket(self, start: int) -> int:
        """The end of a class in brackets."""
        text = self._text
        position = start + (2 if text.startswith("[^", start) else 1)
        if text.startswith("]", position):
            raise PatternSyntaxError("an empty class", start)
        while position < len(text) and text[position] != "]":
            posix = _POSIX.match(text, position)
            if posix is not None:
                position = posix.end()
            elif text[position] == "[":
                position = self._bracket(position)
            else:
                position += 2 if text[position] == "\\" else 1
        if position >= len(text):
            raise PatternSyntaxError("a class without an end", start)
        return position + 1

    def _counts(self) -> tuple[int, int | None, bool]:
        """The least and the most repetitions, and whether they are possessive."""
        start, text = self.position, self._text
        counts: tuple[int, int | None] = (1, 1)
        if start < len(text) and text[start] in "*+?":
            counts = {"*": (0, None), "+": (1, None), "?": (0, 1)}[text[start]]
            self.position += 1
        elif (match := _COUNTS.match(text, start)) and (match[1] or match[3]):
            least = int(match[1] or 0)
            counts = (least, int(match[3]) if match[3] else None if match[2] else least)
            self.position = match.end()
        else:
            return 1, 1, False
        if max(counts[0], counts[1] or 0) > MOST_REPEATS or (
            counts[1] is not None and not counts[0] <= counts[1] > 0
        ):
            raise PatternSyntaxError(f"{text[start : self.position]}", start)
        more = text[self.position : self.position + 1]
        if more == "?" or (more and more in "*+" and text[start] == "{"):
            # A lazy repetition, or {…}+, which Oniguruma takes for a repeated repetition.
            raise PatternSyntaxError(f"{text[start : self.position + 1]}", start)
        if more == "+":
            self.position += 1
        if text[self.position : self.position + 1] in tuple("*+?"):
            raise PatternSyntaxError(f"{text[self.position]}", self.position)
        return *counts, more == "+"
