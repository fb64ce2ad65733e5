"""The modules that an adapter changes, by their names, as `peft` 0.21 matches them."""

from __future__ import annotations

import json
import math
import re
import sys
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from tf_exporter.errors import InputError, VerificationError
from tf_exporter.model.adapters.config import AdapterConfig
from tf_exporter.model.reference import processes
from tf_exporter.model.reference.scratch import scratch_folder

_TIME_LIMIT = 20.0
"""Seconds for all regular expressions of an adapter. Some would take years."""
_PLAIN = re.compile(r"(?:[\w.^$-]|\\[.d])*")
"""Patterns without repetition, which are matched at once, without a process of their own."""
_HEADS = ("classifier", "score")
"""Heads of classifiers, which `all-linear` leaves out."""
_ANY_LAYER = r".*?\.[^.]*\.(?P<index>\d+)\."

_Pattern = tuple[str, str]
"""The method of a regular expression, "match" or "fullmatch", and the expression."""


class Pair(NamedTuple):
    """The rank of the two matrices that change a module, and the factor of their product."""

    rank: int
    scale: float


def targeted(
    config: AdapterConfig, modules: Iterable[str], prefixes: tuple[str, ...]
) -> dict[str, Pair]:
    """Module that the adapter changes → its pair.

    Args:
        config: the adapter's config.
        modules: names of modules in the bare encoder.
        prefixes: what the reference's class may put before these names.

    Raises:
        InputError: the config's patterns take too long.
    """
    names = {module: [f"{prefix}{module}" for prefix in prefixes] for module in modules}
    matches = _Matches(config, [name for full in names.values() for name in full])
    found = {}
    for module, full in names.items():
        name = next(filter(matches.is_target, full), None)
        if name is not None:
            found[module] = matches.pair(name)
    return found


class _Matches:
    """The matches of all names with all patterns of a config."""

    def __init__(self, config: AdapterConfig, names: list[str]) -> None:
        self._config = config
        patterns = [
            *([("fullmatch", config.targets)] if isinstance(config.targets, str) else []),
            *([("fullmatch", config.excluded)] if isinstance(config.excluded, str) else []),
            *map(_saved, config.saved),
            *map(_layer, config.layers_patterns),
            ("match", _ANY_LAYER),
            *map(_key, (*config.rank_pattern, *config.alpha_pattern)),
        ]
        plain = all(_PLAIN.fullmatch(pattern) for _, pattern in config.patterns())
        self._found = (_matches if plain else _in_a_process)(list(dict.fromkeys(patterns)), names)

    def is_target(self, name: str) -> bool:
        """Whether the adapter changes a module, by its full name."""
        config = self._config
        if self._is_named(name, config.excluded):
            return False
        if any((_saved(pattern), name) in self._found for pattern in config.saved):
            return False
        if config.all_linear:
            return not (config.classifies and name in _HEADS)
        # Layers are looked at only for names that are not given whole.
        return (isinstance(config.targets, tuple) and name in config.targets) or (
            self._is_named(name, config.targets) and self._is_in_layers(name)
        )

    def _is_named(self, name: str, names: tuple[str, ...] | str) -> bool:
        if isinstance(names, str):
            return bool(names) and (("fullmatch", names), name) in self._found
        return name in names or any(name.endswith(f".{end}") for end in names)

    def _is_in_layers(self, name: str) -> bool:
        config = self._config
        if not config.layers:
            return True
        patterns = [*map(_layer, config.layers_patterns)] or [("match", _ANY_LAYER)]
        index = next(
            (self._found[pattern, name] for pattern in patterns if (pattern, name) in self._found),
            None,
        )
        return index is not None and index in config.layers

    def pair(self, name: str) -> Pair:
        """The pair of a module that the adapter changes."""
        config = self._config
        rank = self._first(config.rank_pattern, name, config.rank)
        alpha = self._first(config.alpha_pattern, name, config.alpha)
        return Pair(int(rank), alpha / (math.sqrt(rank) if config.root else rank))

    def _first(self, values: dict[str, int] | dict[str, float], name: str, default: float) -> float:
        """The value of the first pattern that matches; a key may also be the whole name."""
        key = next((key for key in values if (_key(key), name) in self._found), name)
        return values.get(key, default)


def _saved(pattern: str) -> _Pattern:
    return "match", rf"(^|.*\.){pattern}($|\..*)"


def _layer(pattern: str) -> _Pattern:
    return "match", rf"(?:^|.*?\.){pattern}\.(?P<index>\d+)\."


def _key(pattern: str) -> _Pattern:
    return "match", rf"(.*\.)?({pattern})$"


def _matches(patterns: list[_Pattern], names: list[str]) -> dict[tuple[_Pattern, str], int | None]:
    """(pattern, name) that match → the number that the pattern calls `index`, or None."""
    found: dict[tuple[_Pattern, str], int | None] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about syntax that may change
        for method, pattern in patterns:
            compiled = re.compile(pattern)
            for name in names:
                match = (compiled.fullmatch if method == "fullmatch" else compiled.match)(name)
                if match:
                    index = match.groupdict().get("index")
                    found[(method, pattern), name] = None if index is None else int(index)
    return found


def _in_a_process(
    patterns: list[_Pattern], names: list[str]
) -> dict[tuple[_Pattern, str], int | None]:
    """As `_matches`, in a process that is ended after some time."""
    with scratch_folder() as place:
        process = processes.start(__name__, {}, place)
        request = json.dumps([patterns, names]).encode()
        try:
            answer = processes.finished(process, request, "re", _TIME_LIMIT)
        except VerificationError as error:
            raise InputError(
                f"the adapter's patterns of module names cannot be matched in {_TIME_LIMIT:.0f} s"
            ) from error
    return {
        ((method, pattern), name): index for (method, pattern), name, index in json.loads(answer)
    }


def main(arguments: str) -> None:
    """Runs in the process: reads patterns and names, writes their matches, in JSON."""
    with processes.answering() as output:
        patterns, names = json.loads(sys.stdin.read())
        found = _matches([(method, pattern) for method, pattern in patterns], names)
        output.write(json.dumps([[*key, index] for key, index in found.items()]).encode())
