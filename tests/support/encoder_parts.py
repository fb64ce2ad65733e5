"""Finding and changing parts of an encoder that has been built, for deliberate mistakes."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

Patch = pytest.MonkeyPatch


def with_parts(encoder: Any, *names: str) -> list[Any]:
    """The parts of an encoder, itself included, on which none of these attributes is None."""
    parts = [encoder, *encoder.submodules]
    return [part for part in parts if all(getattr(part, name, None) is not None for name in names)]


def no_bias(parts: list[Any]) -> bool:
    biased = [part for part in parts if part.bias is not None]
    for part in biased:
        part.bias.assign(tf.zeros_like(part.bias))
    return bool(biased)
