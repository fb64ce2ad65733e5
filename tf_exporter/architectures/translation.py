"""Translating configs for a model's own code into transformers' keys."""

from __future__ import annotations

from typing import Any

from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.model.config_file import ConfigFile

TRANSLATIONS = {
    translation.model_type: translation
    for architecture in ARCHITECTURES.values()
    for translation in architecture.remote_code
}
"""Translations by the `model_type` of the untranslated config."""


def translated(file: ConfigFile) -> ConfigFile | None:
    """The config in transformers' keys, with the architecture's `model_type`; None: no translation.

    Keys that are not in the published layout are left for the architecture to read or refuse.

    Raises:
        UnsupportedError: the config names other code, or the architecture does not support it.
    """
    translation = TRANSLATIONS.get(str(file.values.get("model_type")))
    if translation is None or not translation.applies(file):
        return None
    copy = file.replaced(dict(file.values))
    translation.translate(copy)
    copy.check()
    return file.replaced(copy.values)


def for_transformers(config: ConfigFile) -> dict[str, Any]:
    """The values that transformers gets for a translated config.

    If transformers has no class for the model, they are enough for the tokenizer.
    """
    known_as = ARCHITECTURES[config.values["model_type"]].known_as
    return config.values if known_as is None else {**config.values, "model_type": known_as}


def note(model_type: str) -> str:
    """A sentence about the reference of a model with a translated config."""
    return (
        "config.json names the model's own code, which is never run; the reference was "
        f"transformers' `{model_type}` with the same weights and the translated config"
    )
