"""Dropout, which does nothing outside of training."""

from __future__ import annotations

from tf_exporter.modules.base import Module
from tf_exporter.modules.dropout.config import DropoutConfig
from tf_exporter.modules.features import Features


class Dropout(Module):
    """The identity."""

    def __init__(self, config: DropoutConfig):
        super().__init__()

    def __call__(self, features: Features) -> Features:
        return features
