"""Causal language model heads: the scores of every token as the next one, behind the last place only, as LogitScore asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tf_exporter.source import ConfigFile
from tf_exporter.weights import Weights

CAUSAL_LM_HEADS: dict[str, Callable[[ConfigFile, Weights, Any], Any]] = {}
