"""A JSON object of a model. Every key has to be accounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tf_exporter.errors import InputError, UnsupportedError, joined
from tf_exporter.model.untyped import Json

_MAX_UNKNOWN_KEYS = 1_000
"""The most unknown keys of one object."""


class ConfigFile:
    """A JSON object. Every key is read, has an allowed value, or cannot change the result.

    Args:
        file: the name of the file, for messages.
        values: the object.
        prefix: the path of the object in the file, such as `normalizer.`, for messages.
        ignored: file → keys that the reference does not read; keys of this object are added.
    """

    def __init__(
        self,
        file: str,
        values: dict[str, Any],
        prefix: str = "",
        ignored: dict[str, list[str]] | None = None,
    ) -> None:
        self.file = file
        self.values = values
        self.prefix = prefix
        self.ignored: dict[str, list[str]] = {} if ignored is None else ignored
        self._unread = set(values)
        self._refused: list[UnsupportedError] = []

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def replaced(self, values: dict[str, Any]) -> ConfigFile:
        """A config at the same path with other values, none of them read yet."""
        return ConfigFile(self.file, values, self.prefix, self.ignored)

    def part(self, key: str, values: dict[str, Any]) -> ConfigFile:
        """The config of the object `values`, which is under `key` in this one."""
        return ConfigFile(self.file, values, f"{self.prefix}{key}.", self.ignored)

    def take(
        self,
        key: str,
        kinds: type | tuple[type, ...],
        default: Json = None,
        *,
        required: bool = False,
    ) -> Json:
        """The value of `key`, or `default` if the key is absent.

        Raises:
            InputError: the key is `required` and absent.
            UnsupportedError: the value is not one of the types `kinds`.
        """
        self._unread.discard(key)
        if key not in self.values:
            if required:
                raise InputError(f"{self.file}: key {self.prefix + key!r} is missing")
            return default
        value = self.values[key]
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise self.unsupported(key, f"a value of type {names}")
        return value

    def require(self, key: str, allowed: tuple[Any, ...], *follows_from: str) -> None:
        """Refuses any value but `allowed` if the key is present. `finish` raises the error.

        `follows_from`: other keys that the allowed values depend on, as for `refuse`.
        """
        self._unread.discard(key)
        if key in self.values and not any(_same(self.values[key], value) for value in allowed):
            self.refuse(self.unsupported(key, " or ".join(map(repr, allowed))), *follows_from)

    def refuse(self, error: UnsupportedError, *follows_from: str) -> None:
        """Keeps a reason to refuse the model until `finish`, which reports all reasons together.

        Args:
            error: the reason. It is dropped if its key was refused before.
            follows_from: other keys that the reason depends on. If one of them was refused, the
                reason is dropped.
        """
        refused = {reason.key for reason in self._refused}
        if refused.isdisjoint(self.prefix + key for key in follows_from):
            self._refused += [reason for reason in error.reasons if reason.key not in refused]

    @contextmanager
    def refusing(self, *follows_from: str) -> Iterator[None]:
        """Keeps an `UnsupportedError` from the `with` block, as `refuse` does."""
        try:
            yield
        except UnsupportedError as error:
            self.refuse(error, *follows_from)

    def ignore(self, key: str) -> None:
        """Lists a key that has no effect in the reference."""
        self._unread.discard(key)
        listed = self.ignored.setdefault(self.file, [])
        if self.prefix + key not in listed:
            listed.append(self.prefix + key)

    def finish(
        self,
        harmless: frozenset[str] = frozenset(),
        reads: Callable[[str], bool] = lambda key: True,
    ) -> None:
        """Accounts for the keys that were not read, and raises all reasons to refuse the object.

        Args:
            harmless: keys that the reference reads, but that do not change the result.
            reads: whether the reference reads a key. All other keys are listed as ignored.

        Raises:
            InputError: there are too many unknown keys.
            UnsupportedError: a value is not reproduced, or the reference reads an unknown key.
        """
        unread = self._unread - harmless
        if len(unread) > _MAX_UNKNOWN_KEYS:
            raise InputError(
                f"{self.file}: {len(unread):,} unknown keys; the limit is {_MAX_UNKNOWN_KEYS:,}"
            )
        for key in sorted(unread):
            if reads(key):
                supported = "no such key: the reference reads it, and tf-exporter does not"
                self.refuse(self.unsupported(key, supported))
            else:
                self.ignore(key)
        self.check()

    def check(self) -> None:
        """Raises the reasons so far to refuse the object, if there are any."""
        if self._refused:
            raise joined(self._refused)

    def unsupported(self, key: str, supported: str | Iterable[str]) -> UnsupportedError:
        """The error that refuses the value of `key`."""
        return UnsupportedError(self.file, self.prefix + key, self.values.get(key), supported)


def _same(left: Json, right: Json) -> bool:
    return type(left) is type(right) and bool(left == right)
