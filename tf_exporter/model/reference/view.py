"""A view of a model's folder that is safe for the reference.

It has only regular files, and its configs choose no code, package or file.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tf_exporter.errors import InputError, one_line
from tf_exporter.model.reference.scratch import scratch_folder
from tf_exporter.model.source import ADAPTER, CONFIG_LIMIT, ModelSource
from tf_exporter.model.weights import read_weights

_MAX_ENTRIES = 100_000
_MAX_DEPTH = 6
"""Levels of folders; the modules of a model are on the first two."""

_CHOOSING = {
    "config.json": frozenset(
        """
        attn_implementation _attn_implementation _attn_implementation_internal output_attentions
        experts_implementation _experts_implementation _experts_implementation_internal
        use_kernels kernel_config allow_all_kernels quantization_config compression_config
        fusion_config distributed_config device_map tp_plan base_model_tp_plan base_model_pp_plan
        base_model_ep_plan configuration_files transformers_weights gguf_file adapters
        adapter_kwargs auto_map custom_pipelines processor_class attribute_map sub_configs dtype
        torch_dtype
        """.split()
    ),
    "adapter_config.json": frozenset({"auto_mapping", "megatron_core", "revision"}),
    "tokenizer_config.json": frozenset({"auto_map", "processor_class", "fast_tokenizer_files"}),
    "config_sentence_transformers.json": frozenset({"requirements", "__version__"}),
}
"""File → the keys by which the reference chooses code, packages, files or dtypes.

None of them describes what the model computes. Our own process refuses the keys that come with
weights in another form.
"""
_KWARGS = ("model_args", "model_kwargs")
"""Keys of a Transformer module's own config with arguments of its loader.

The accepted arguments change an embedding only by the dtype, and the reference sets its own.
"""
_CONFIG_KWARGS = ("config_args", "config_kwargs")
"""Keys of a Transformer module's own config with changes to config.json."""
_MODULE_CONFIG = "sentence_*_config.json"
_LEFT_OUT = frozenset(
    """
    processor_config.json preprocessor_config.json video_preprocessor_config.json
    generation_config.json onnx openvino .git .cache
    """.split()
)
"""Configs for images, sound and text generation; other formats of the weights; caches."""


@contextmanager
def view(source: ModelSource) -> Iterator[Path]:
    """A folder with links to a model's files, its rewritten configs, and its stand-ins.

    It has no code and no links out of the model.

    Raises:
        InputError: there is something other than a file or a folder, such as a pipe, which would
            block the reference.
    """
    with scratch_folder() as scratch:
        try:
            _fill(source, scratch / "model")
            _put_bases(source, scratch)
        except OSError as error:
            raise InputError(
                f"{source.name}: cannot be read ({error.strerror or one_line(error)})"
            ) from error
        yield scratch / "model"


@contextmanager
def transformers_folder(source: ModelSource) -> Iterator[Path]:
    """A folder for transformers: a view if the model has stand-ins, else the model's folder."""
    if not source.stand_ins:
        yield source.folder
        return
    with view(source) as place:
        yield place


def _fill(source: ModelSource, place: Path) -> None:
    _View(source).fill(place, "")
    for name, stand_in in source.stand_ins.items():
        _put(place / name, stand_in)


def _put_bases(source: ModelSource, scratch: Path) -> None:
    """Adds the base models of adapters, and names them in the adapters' configs.

    A base that is no part of the model gets a view of its own.
    """
    others: dict[int, Path] = {}
    for name, (base, folder) in source.bases.items():
        place = scratch / "model"
        if base is not source:
            place = others.setdefault(id(base), scratch / f"base{len(others)}")
            if not place.exists():
                _fill(base, place)
        path = scratch / "model" / name
        values = _cleaned(path.name, source.read_object(name))
        path.unlink(missing_ok=True)  # writing through a link would change the model
        _write(path, {**values, "base_model_name_or_path": str(place / folder)})
        _put_tensors(source, name.removesuffix(path.name), path.parent)


def _put_tensors(source: ModelSource, prefix: str, place: Path) -> None:
    """Adds a pickled adapter as safetensors: transformers loads no other from a folder."""
    name, pickled = f"{prefix}{ADAPTER}.safetensors", f"{prefix}{ADAPTER}.bin"
    if not source.exists(name) and source.exists(pickled):
        from safetensors.numpy import save_file

        weights = read_weights(source, pickled)
        tensors = {name: weights.take_floats(name) for name in weights.names}
        save_file(tensors, place / f"{ADAPTER}.safetensors")


class _View:
    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._entries = 0

    def fill(self, place: Path, part: str) -> None:
        """Makes the folder `place` from the folder `part` of the model."""
        place.mkdir()
        for entry in sorted((self._source.folder / part).iterdir()):
            self._entries += 1
            if self._entries > _MAX_ENTRIES:
                name = part or self._source.name
                raise InputError(f"{name}: more than {_MAX_ENTRIES:,} files in the model's folder")
            if entry.name not in _LEFT_OUT and entry.suffix != ".py":
                self._add(place / entry.name, f"{part}/{entry.name}" if part else entry.name)

    def _add(self, place: Path, name: str) -> None:
        try:
            real = self._source.path(name)
        except InputError:
            return  # a link out of the model; our own process refuses it when it reads it
        if not real.exists():
            return
        mode = real.stat().st_mode
        if stat.S_ISDIR(mode):
            if name.count("/") < _MAX_DEPTH:
                self.fill(place, name)
        elif not stat.S_ISREG(mode):
            raise InputError(f"{name}: neither a file nor a folder")
        elif name not in self._source.stand_ins:
            _link(place, real)


def _put(place: Path, stand_in: dict[str, Any] | Path) -> None:
    place.unlink(missing_ok=True)  # writing through a link would change the model
    if isinstance(stand_in, Path):
        place.symlink_to(stand_in)
    else:
        _write(place, _cleaned(place.name, stand_in))


def _link(place: Path, real: Path) -> None:
    """Links a file. A config with keys in `_CHOOSING` is copied without them instead."""
    if place.name in _CHOOSING or place.match(_MODULE_CONFIG):
        values = _read(real)
        if values is not None and (cleaned := _cleaned(place.name, values)) != values:
            _write(place, cleaned)
            return
    place.symlink_to(real)


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None: invalid, as our own process reports, or too large."""
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
        return {
            **values,
            **{key: _cleaned("config.json", change) for key, change in changes.items()},
        }
    return {key: value for key, value in values.items() if key not in _CHOOSING[name]}


def _write(place: Path, values: dict[str, Any]) -> None:
    place.write_text(json.dumps(values), encoding="utf-8")
