"""A JSON object of a model, of which every key has to be accounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tf_exporter.errors import InputError, UnsupportedError, joined

_MOST_KEYS = 1_000
"""That nothing knows, of one object."""


class ConfigFile:
    """A JSON object of which every key is read, has one allowed value, or cannot change the result.

    Args:
        file: the name of the file, for messages.
        values: the object.
        at: where in the file the object is, such as `normalizer.`, for messages.
        ignored: gets the names of keys that the reference does not read, by file.
    """

    def __init__(self, file: str, values: dict[str, Any], at: str = "", ignored: dict[str, list[str]] | None = None) -> None:
        self.file = file
        self.values = values
        self.at = at
        self.ignored: dict[str, list[str]] = {} if ignored is None else ignored
        self._unread = set(values)
        self._refused: list[UnsupportedError] = []

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def replaced(self, values: dict[str, Any]) -> ConfigFile:
        """The same place with other values, none of them read yet."""
        return ConfigFile(self.file, values, self.at, self.ignored)

    def part(self, key: str, values: dict[str, Any]) -> ConfigFile:
        """An object inside this one, under `key`."""
        return ConfigFile(self.file, values, f"{self.at}{key}.", self.ignored)

    def take(self, key: str, kinds: type | tuple[type, ...], default: Any = None, *, required: bool = False) -> Any:
        """The value of `key`, checked for its type; `default` only where the key is absent."""
        self._unread.discard(key)
        if key not in self.values:
            if required:
                raise InputError(f"{self.file}: key {self.at + key!r} is missing")
            return default
        value = self.values[key]
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise self.unsupported(key, f"a value of type {names}")
        return value

    def require(self, key: str, allowed: tuple[Any, ...], *follows_from: str) -> None:
        """Refuses any value but `allowed` where the key is present. `finish` raises the error.

        `follows_from`: other keys that the allowed values depend on, as for `refuse`.
        """
        self._unread.discard(key)
        if key in self.values and not any(_same(self.values[key], value) for value in allowed):
            self.refuse(self.unsupported(key, " or ".join(map(repr, allowed))), *follows_from)

    def refuse(self, error: UnsupportedError, *follows_from: str) -> None:
        """Keeps a reason to refuse the model until `finish`, so that all reasons are told at once.

        Args:
            error: the reason. Of a key that was refused already, it is dropped.
            follows_from: other keys that the reason depends on. If one of them was refused, the reason is dropped.
        """
        refused = {reason.key for reason in self._refused}
        if refused.isdisjoint(self.at + key for key in follows_from):
            self._refused += [reason for reason in error.reasons if reason.key not in refused]

    @contextmanager
    def refusing(self, *follows_from: str) -> Iterator[None]:
        """Keeps an `UnsupportedError` that is raised inside, as `refuse` does."""
        try:
            yield
        except UnsupportedError as error:
            self.refuse(error, *follows_from)

    def ignore(self, key: str) -> None:
        """Lists a key that is without effect in the reference."""
        self._unread.discard(key)
        listed = self.ignored.setdefault(self.file, [])
        if self.at + key not in listed:
            listed.append(self.at + key)

    def finish(self, harmless: frozenset[str] = frozenset(), reads: Callable[[str], bool] = lambda key: True) -> None:
        """Accounts for the keys that nothing has read, and raises all reasons to refuse the object.

        Args:
            harmless: keys that the reference reads, but that do not change the result.
            reads: whether the reference reads a key. Keys that it does not read are listed as ignored.

        Raises:
            UnsupportedError: a value that is not reproduced, or a key that the reference reads and nothing here knows.
        """
        unread = self._unread - harmless
        if len(unread) > _MOST_KEYS:
            raise InputError(f"{self.file}: {len(unread):,} keys that are not known here; no config has so many")
        for key in sorted(unread):
            if reads(key):
                self.refuse(self.unsupported(key, "no such key: the reference reads it, and it is not known here"))
            else:
                self.ignore(key)
        self.check()

    def check(self) -> None:
        """Raises the reasons to refuse the object that were found so far, if there are any."""
        if self._refused:
            raise joined(self._refused)

    def unsupported(self, key: str, supported: str | Iterable[str]) -> UnsupportedError:
        """The error that refuses the value of `key`."""
        return UnsupportedError(self.file, self.at + key, self.values.get(key), supported)


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and bool(left == right)
