"""A model's folder as the reference may open it: regular files only, and configs that choose no code, package or file."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tf_exporter.errors import InputError, one_line
from tf_exporter.scratch import scratch_folder
from tf_exporter.source import CONFIG_LIMIT, ModelSource

_MOST_ENTRIES = 100_000
_DEEPEST = 6
"""Folders in folders; the modules of a model are in its own, or one below that."""

_CHOOSING = {
    "config.json": frozenset(
        """
        attn_implementation _attn_implementation _attn_implementation_internal output_attentions
        experts_implementation _experts_implementation _experts_implementation_internal
        use_kernels kernel_config allow_all_kernels quantization_config compression_config fusion_config
        distributed_config device_map tp_plan base_model_tp_plan base_model_pp_plan base_model_ep_plan
        configuration_files transformers_weights gguf_file adapters adapter_kwargs
        auto_map custom_pipelines processor_class attribute_map sub_configs dtype torch_dtype
        """.split()
    ),
    "tokenizer_config.json": frozenset({"auto_map", "processor_class", "fast_tokenizer_files"}),
    "config_sentence_transformers.json": frozenset({"requirements", "__version__"}),
}
"""File → the keys by which transformers or sentence-transformers choose code, packages, files or the type of numbers. None of
them says what the model computes; our own process refuses those that come with weights of another form.
"""
_KWARGS = ("model_args", "model_kwargs")
"""Of a Transformer module's own config, arguments of its loader. Of those that are accepted, none changes an embedding in float32
but by the type of numbers, which is the reference's own.
"""
_CONFIG_KWARGS = ("config_args", "config_kwargs")
"""The same for keys of config.json."""
_MODULE_CONFIG = "sentence_*_config.json"
_LEFT_OUT = frozenset(
    """
    processor_config.json preprocessor_config.json video_preprocessor_config.json generation_config.json
    onnx openvino .git .cache
    """.split()
)
"""What chooses a processor of images or sound, or how texts are generated; other formats of the same weights; what tools keep."""


@contextmanager
def view(source: ModelSource, configs: Mapping[str, dict[str, Any] | None]) -> Iterator[Path]:
    """A folder with links to the files of a model, and with its configs rewritten.

    Left out are code, and links out of the model.

    Args:
        source: the model.
        configs: the folder of a Transformer in it → what its config.json is to be, None where it stays as it is.

    Raises:
        InputError: something in the model is neither a file nor a folder, such as a pipe, which would be waited for without end.
    """
    replaced = {part.strip("/"): config for part, config in configs.items() if config is not None}
    with scratch_folder() as scratch:
        try:
            _View(source, replaced).fill(scratch / "model", "")
        except OSError as error:
            raise InputError(f"{source.name}: cannot be read ({error.strerror or one_line(error)})") from error
        yield scratch / "model"


class _View:
    def __init__(self, source: ModelSource, replaced: Mapping[str, dict[str, Any]]) -> None:
        self._source, self._replaced = source, replaced
        self._entries = 0

    def fill(self, place: Path, part: str) -> None:
        """Makes the folder `place`, with all that is in the folder `part` of the model."""
        place.mkdir()
        for entry in sorted((self._source.folder / part).iterdir()):
            self._entries += 1
            if self._entries > _MOST_ENTRIES:
                raise InputError(f"{part or self._source.name}: more than {_MOST_ENTRIES:,} files in the model's folder")
            if entry.name not in _LEFT_OUT and entry.suffix != ".py":
                self._add(place / entry.name, f"{part}/{entry.name}" if part else entry.name)

    def _add(self, place: Path, name: str) -> None:
        try:
            real = self._source.path(name)
        except InputError:
            return  # a link out of the model, which our own process refuses where it would read it
        if not real.exists():
            return
        mode = real.stat().st_mode
        part, _, file = name.rpartition("/")
        if stat.S_ISDIR(mode):
            if name.count("/") < _DEEPEST:
                self.fill(place, name)
        elif not stat.S_ISREG(mode):
            raise InputError(f"{name}: neither a file nor a folder")
        elif file == "config.json" and part in self._replaced:
            _write(place, _cleaned(file, self._replaced[part]))
        else:
            _link(place, real)


def _link(place: Path, real: Path) -> None:
    """A link to a file; in place of a config with keys that choose, a copy without them."""
    if place.name in _CHOOSING or place.match(_MODULE_CONFIG):
        values = _read(real)
        if values is not None and (cleaned := _cleaned(place.name, values)) != values:
            _write(place, cleaned)
            return
    place.symlink_to(real)


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where it is none, which our own process tells of, or larger than a config that chooses."""
    if path.stat().st_size > CONFIG_LIMIT:
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def without_choices(config: dict[str, Any]) -> dict[str, Any]:
    """A config.json without the keys by which transformers chooses code, packages or files."""
    return _cleaned("config.json", config)


def _cleaned(name: str, values: dict[str, Any]) -> dict[str, Any]:
    if name not in _CHOOSING:
        values = {key: value for key, value in values.items() if key not in _KWARGS}
        changes = {key: values[key] for key in _CONFIG_KWARGS if isinstance(values.get(key), dict)}
        return {**values, **{key: _cleaned("config.json", change) for key, change in changes.items()}}
    return {key: value for key, value in values.items() if key not in _CHOOSING[name]}


def _write(place: Path, values: dict[str, Any]) -> None:
    place.write_text(json.dumps(values), encoding="utf-8")
