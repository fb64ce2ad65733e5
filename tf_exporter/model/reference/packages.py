"""Whether the packages of the reference are installed."""

from __future__ import annotations

import importlib.util

SENTENCE_TRANSFORMERS, TRANSFORMERS = "sentence_transformers", "transformers"
"""The package for embeddings and scores, and the package for encoders and classifiers."""
NEEDED = {SENTENCE_TRANSFORMERS: ("torch", "sentence_transformers"), TRANSFORMERS: ("torch",)}
"""Reference → the packages that it needs besides the dependencies of tf-exporter."""


def missing_packages(package: str, adapters: bool = False) -> list[str]:
    """The packages that the reference with `package` needs and that are not installed.

    `adapters`: whether the model has an adapter of PEFT.
    """
    needed = (*NEEDED[package], *(("peft",) if adapters else ()))
    return [name for name in needed if importlib.util.find_spec(name) is None]


def not_installed(packages: list[str]) -> str:
    """A clause that names missing packages, by their names on the package index."""
    names = [name.replace("_", "-") for name in packages]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not installed"
