r"""Compiles regular expressions to pieces that match at all positions at once.

Oniguruma backtracks: it tries the matches of an item from the longest to the shortest, until the
rest matches too. The pieces try only the longest. So an expression is accepted only if backtracking
would not help: if the rest begins with other characters, or cannot fail. The exceptions are an
optional character, which is tried both ways, `A*B+` (`UpToLast`), and `\s+(?!\S)` (`ButLast`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tf_exporter.tokenizers.patterns.pieces import (
    ButLast,
    Chain,
    Class,
    Contraction,
    Either,
    Maybe,
    Run,
    Spaces,
    Step,
    Text,
    UpToLast,
)
from tf_exporter.tokenizers.patterns.syntax import (
    Alternative,
    Group,
    Item,
    NotBefore,
    PatternSyntaxError,
    Repeat,
    parse,
)

_CONTRACTIONS = frozenset(("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"))
_MOST_ALTERNATIVES = 200
_MOST_CLASSES = 30
"""Each class is a bit of an int32."""
_SURROGATES = slice(0xD800, 0xE000)
_SPECIAL = "\\^$.|?*+()[]{}"
Members = Callable[[str], np.ndarray]
"""The name of a class → bool [code points]."""


def compile_pattern(expression: str, members: Members) -> Either:
    """The pieces for an expression.

    Args:
        expression: A regular expression in Oniguruma's syntax.
        members: Probes which code points are in a class.

    Raises:
        PatternSyntaxError: A part of the expression is not supported.
    """
    compiled = Either(tuple(_Compiler(members).alternatives(parse(expression))))
    if (count := len(compiled.classes())) > _MOST_CLASSES:
        raise PatternSyntaxError(f"{count} classes of characters", 0)
    return compiled


def text_pattern(text: str) -> Either:
    """The pieces that match a string."""
    return Either((Chain((Text(text),)),))


class _Compiler:
    def __init__(self, members: Members) -> None:
        self._members = members

    def alternatives(self, parsed: Sequence[Alternative]) -> list[Chain]:
        """The chains of the alternatives, in order; neighbouring alternatives may share one."""
        remaining = self._distributed(parsed)
        chains: list[Chain] = []
        while remaining:
            count, chain = self._shared(remaining)
            chains.append(chain)
            remaining = remaining[count:]
        return chains

    def _distributed(self, parsed: Sequence[Alternative]) -> list[Alternative]:
        """The alternatives with groups expanded, except contractions: a(b|c)d becomes abd, acd."""
        result: list[Alternative] = []
        pending = list(parsed)
        while pending:
            if len(result) + len(pending) > _MOST_ALTERNATIVES:
                raise PatternSyntaxError(f"more than {_MOST_ALTERNATIVES} alternatives", 0)
            items, *pending = pending
            position = next((index for index, item in enumerate(items) if _is_spread(item)), None)
            if position is None:
                result.append(items)
                continue
            group = items[position]
            assert isinstance(group, Group)
            parts = [*group.alternatives, *([()] if group.optional else [])]
            expanded = [(*items[:position], *part, *items[position + 1 :]) for part in parts]
            for index in range(position):
                for rest in (alternative[index + 1 :] for alternative in expanded):
                    self._check_prefix(items[index], rest, group)
            pending = [*expanded, *pending]
        return result

    def _check_prefix(self, item: Item, rest: Alternative, group: Group) -> None:
        """Refuses an item before a group if it may give back what it matched.

        Oniguruma tries all parts of the group before that, but expanded alternatives one by one.
        """
        if not isinstance(item, Repeat) or item.possessive or item.least == item.most:
            return
        for items in self._distributed([rest]):
            if not all(map(_never_fails, items)) and not self._begins_otherwise(item.name, items):
                what = f"a group after {item.name}, which may have to give back what it matched"
                raise PatternSyntaxError(what, group.position)

    def _shared(self, alternatives: list[Alternative]) -> tuple[int, Chain]:
        """The number of leading alternatives that share a chain, and the chain."""
        count = len(_CONTRACTIONS)
        if {_literal(items) for items in alternatives[:count]} == _CONTRACTIONS:
            return count, Chain((Contraction(),))
        if len(alternatives) > 1 and (spaces := self._spaces(*alternatives[:2])):
            return 2, Chain((spaces,))
        if (run := self._run(alternatives)) is not None:
            return run
        return 1, self._chain(alternatives[0])

    def _spaces(self, first: Alternative, second: Alternative) -> Spaces | None:
        r"""The piece for A+(?![^A])|A+, such as \s+(?!\S)|\s+; None for other alternatives."""
        if len(first) != 2 or len(second) != 1 or not isinstance(first[1], NotBefore):
            return None
        one, other = first[0], second[0]
        if not (
            isinstance(one, Repeat)
            and isinstance(other, Repeat)
            and one._replace(position=0) == other._replace(position=0)
        ):
            return None
        if (one.least, one.most, one.possessive) != (1, None, False) or not self._complements(
            one.name, first[1].name
        ):
            return None
        return Spaces(one.name)

    def _run(self, alternatives: list[Alternative]) -> tuple[int, Chain] | None:
        """The chain for ` ?A+| ?B+|…` with disjoint classes, and the number of its alternatives."""
        names: list[str] = []
        before: Alternative | None = None
        for items in alternatives:
            last = items[-1] if items else None
            if (
                not (isinstance(last, Repeat) and (last.least, last.most) == (1, None))
                or len(items) > 2
            ):
                break
            first = tuple(item._replace(position=0) for item in items[:-1])
            if before is not None and first != before:
                break
            if any(not self._disjoint(name, last.name) for name in names):
                break
            before = first
            names.append(last.name)
        if len(names) < 2 or before is None or not all(_is_optional(item) for item in before):
            return None
        if any(
            isinstance(item, Repeat) and not self._disjoint(item.name, name)
            for item in before
            for name in names
        ):
            return None
        return len(names), Chain((*map(_class, before), Run(tuple(names))))

    def _chain(self, items: Alternative) -> Chain:
        """The steps of one alternative.

        Raises:
            PatternSyntaxError: The alternative may match nothing, or backtracking would help.
        """
        if self._may_be_empty(items):
            raise PatternSyntaxError(
                "an alternative that may match nothing", items[0].position if items else 0
            )
        return Chain(tuple(self._steps(items)))

    def _steps(self, items: Sequence[Item]) -> list[Step]:
        steps: list[Step] = []
        items = _joined(items)
        while items:
            item, *rest = items
            if (text := _text(items)) is not None and len(text) > 1:
                steps.append(Text(text))
                items = items[len(text) :]
                continue
            if (
                isinstance(item, Repeat)
                and (steps_and_rest := self._backtracking(item, rest)) is not None
            ):
                new_steps, items = steps_and_rest
                steps += new_steps
                continue
            steps.append(self._step(item, rest))
            items = rest
        return steps

    def _backtracking(self, item: Repeat, rest: list[Item]) -> tuple[list[Step], list[Item]] | None:
        """The steps for an item that may backtrack, and the items after them; else None."""
        if item.possessive or item.least == item.most:
            return None
        if rest and isinstance(rest[0], NotBefore):
            if (
                rest[1:]
                or (item.least, item.most) != (1, None)
                or not self._complements(item.name, rest[0].name)
            ):
                raise PatternSyntaxError("a look ahead", rest[0].position)
            return [ButLast(item.name)], []
        failing = max(
            (index + 1 for index, other in enumerate(rest) if not _never_fails(other)), default=0
        )
        if not failing or self._begins_otherwise(item.name, rest):
            return None
        if (item.least, item.most) == (0, 1):
            return [Maybe(Class(item.name), Chain(tuple(self._steps(rest[:failing]))))], rest[
                failing:
            ]
        then = rest[0]
        fits = isinstance(then, Repeat) and (then.least, then.most, then.possessive) == (
            1,
            None,
            False,
        )
        if (
            fits
            and failing == 1
            and (item.least, item.most) == (0, None)
            and isinstance(then, Repeat)
        ):
            return [UpToLast(item.name, then.name)], rest[1:]
        raise PatternSyntaxError(
            f"{item.name} that may have to give back what it matched", item.position
        )

    def _step(self, item: Item, rest: list[Item]) -> Step:
        """The step for an item that never has to backtrack."""
        if isinstance(item, Repeat):
            return _class(item)
        if isinstance(item, NotBefore):
            raise PatternSyntaxError("a look ahead", item.position)
        # All other groups were expanded.
        if any(not _never_fails(other) for other in rest):
            raise PatternSyntaxError("an optional group that something follows", item.position)
        return Maybe(_contractions(item), Chain(())) if item.optional else _contractions(item)

    def _begins_otherwise(self, name: str, rest: Sequence[Item]) -> bool:
        """Whether the rest cannot begin with a character of the class."""
        for item in rest:
            first = (
                item.name if isinstance(item, Repeat) else "'" if isinstance(item, Group) else None
            )
            if first is None or not self._disjoint(name, first):
                return False
            if not _never_fails(item):
                return True
        return False

    def _disjoint(self, one: str, other: str) -> bool:
        return not bool((self._members(one) & self._members(other)).any())

    def _complements(self, one: str, other: str) -> bool:
        """Whether the classes are disjoint and have all code points but surrogates."""
        both = self._members(one) | self._members(other)
        both[_SURROGATES] = True
        return self._disjoint(one, other) and bool(both.all())

    @staticmethod
    def _may_be_empty(items: Sequence[Item]) -> bool:
        return all(not isinstance(item, NotBefore) and _never_fails(item) for item in items)


def _never_fails(item: Item) -> bool:
    if isinstance(item, NotBefore):
        return False
    return item.least == 0 if isinstance(item, Repeat) else item.optional


def _is_optional(item: Item) -> bool:
    return isinstance(item, Repeat) and (item.least, item.most) == (0, 1)


def _class(item: Item) -> Class:
    assert isinstance(item, Repeat)
    return Class(item.name, item.least, item.most)


def _joined(items: Sequence[Item]) -> list[Item]:
    """The items, with equal neighbours of fixed length merged: `[0-9][0-9]` as `[0-9]{2}`."""
    result: list[Item] = []
    for item in items:
        last = result[-1] if result else None
        if (
            isinstance(item, Repeat)
            and isinstance(last, Repeat)
            and item.name == last.name
            and _char(item) is None
            and item.least == item.most
            and last.least == last.most
        ):
            count = last.least + item.least
            result[-1] = last._replace(least=count, most=count)
        else:
            result.append(item)
    return result


def _char(item: Item) -> str | None:
    """The one character that an item stands for; None if it stands for more."""
    if not isinstance(item, Repeat) or (item.least, item.most) != (1, 1):
        return None
    if len(item.name) == 1 and item.name != ".":
        return item.name
    return (
        item.name[1]
        if len(item.name) == 2 and item.name[0] == "\\" and item.name[1] in f"{_SPECIAL}/-"
        else None
    )


def _text(items: Sequence[Item]) -> str | None:
    """The string that the items begin with; None if they begin with a class."""
    text = ""
    for item in items:
        char = _char(item)
        if char is None:
            break
        text += char
    return text or None


def _literal(items: Sequence[Item]) -> str | None:
    """The string that the items stand for; None if they stand for more."""
    text = _text(items)
    return text if text is not None and len(text) == len(items) else None


def _contractions(group: Group) -> Contraction:
    if {_literal(items) for items in group.alternatives} != _CONTRACTIONS:
        what = "(?i:…) of other texts than 's|'t|'re|'ve|'m|'ll|'d" if group.folded else "a group"
        raise PatternSyntaxError(what, group.position)
    return Contraction(group.folded)


def _is_spread(item: Item) -> bool:
    """Whether an item is a group that has to be expanded."""
    if not isinstance(item, Group) or item.folded:
        return False
    return {_literal(items) for items in item.alternatives} != _CONTRACTIONS
