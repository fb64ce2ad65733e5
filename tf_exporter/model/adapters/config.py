"""adapter_config.json, as `peft.LoraConfig` 0.21, and the base model that it names."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass

from tf_exporter.errors import InputError, UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.reference.keys import reads_adapter_key
from tf_exporter.model.source import ADAPTER, ModelSource

_NAME = "adapter_config.json"
ADAPTER_FILES = (f"{ADAPTER}.safetensors", f"{ADAPTER}.bin")
ALL_LINEAR = "all-linear"
"""The `target_modules` that stands for every linear layer."""
_TASKS = (
    *("SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"),
    None,
)
_INITIALIZATIONS = (True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the base model's weights as they are.

All tensors of an adapter come from its file.
"""
_FIXED: dict[str, tuple[object, ...]] = {
    "bias": ("none", "all", "lora_only"),
    "init_lora_weights": _INITIALIZATIONS,
    "task_type": _TASKS,
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
    "ensure_weight_tying": (False,),
    "kasa_config": (None,),
    "layer_replication": (None, []),
    "megatron_config": (None,),
    "monteclora_config": (None,),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, [], {}),
    "use_bdlora": (None,),
    "use_qalora": (False,),
    "velora_config": (None,),
}
_HARMLESS = frozenset(
    """
    auto_mapping corda_config eva_config fan_in_fan_out inference_mode loftq_config lora_dropout
    lora_ga_config megatron_core peft_version qalora_group_size runtime_config
    """.split()
)
"""Keys that matter only to training, or to values that are refused.

`fan_in_fan_out` has no effect on torch's linear layers and embeddings.
"""
_LONGEST_PATTERN = 10_000
_MOST_NAMES = 10_000


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """A LoRA adapter (E. Hu et al., 2021): which modules it changes, and by how much."""

    file: str
    rank: int
    alpha: float
    rank_pattern: dict[str, int]
    """Pattern of module names → rank."""
    alpha_pattern: dict[str, float]
    root: bool
    """`use_rslora`: whether alpha is divided by the root of the rank, not by the rank."""
    lora_bias: bool
    """Whether the second matrix of a pair has a bias."""
    targets: tuple[str, ...] | str
    """Ends of module names, or a pattern of whole names."""
    excluded: tuple[str, ...] | str
    saved: tuple[str, ...]
    """`modules_to_save`: patterns of modules that the adapter replaces; no pair changes them."""
    layers: tuple[int, ...]
    """`layers_to_transform`; none: all layers."""
    layers_patterns: tuple[str, ...]
    """Patterns of the names of lists of layers; none: any name."""
    classifies: bool
    """Whether it was trained for sequence classification."""

    @property
    def all_linear(self) -> bool:
        """Whether the targets are all linear layers."""
        return isinstance(self.targets, str) and self.targets.lower() == ALL_LINEAR

    def patterns(self) -> list[tuple[str, str]]:
        """The regular expressions of the config, each after its key."""
        named = {"target_modules": self.targets, "exclude_modules": self.excluded}
        whole = [(key, value) for key, value in named.items() if isinstance(value, str) and value]
        keys = {
            "modules_to_save": self.saved,
            "rank_pattern": self.rank_pattern,
            "alpha_pattern": self.alpha_pattern,
            "layers_pattern": self.layers_patterns,
        }
        return [*whole, *((key, pattern) for key, values in keys.items() for pattern in values)]


@dataclass(frozen=True)
class Adapter:
    """An adapter in a folder of a model."""

    config: AdapterConfig
    weights: str | None
    """The file of its tensors; None: it is missing."""
    base: ModelSource
    """The model whose config.json and weights it changes; the adapter's own if they are there."""
    base_folder: str

    @property
    def base_config(self) -> str:
        """The base's config.json, relative to its source."""
        return f"{self.base_folder}/config.json" if self.base_folder else "config.json"


def read_adapter(source: ModelSource, folder: str) -> Adapter | None:
    """The adapter in a folder of the model; None: there is none.

    The base is the folder itself if it has a config.json, else the model that
    `base_model_name_or_path` names: a folder inside the model, or a model of the Hub. As in the
    reference, `revision` does not choose the base's revision.

    Raises:
        InputError: a file is not what it claims to be, or the base model cannot be fetched.
        UnsupportedError: something in the config is not reproduced.
    """
    prefix = f"{folder}/" if folder else ""
    if not source.exists(prefix + _NAME):
        return None
    file = source.config(prefix + _NAME)
    config = read_adapter_config(file)
    if source.exists(f"{prefix}config.json"):
        base, base_folder = source, folder
    else:
        base, base_folder = _base(source, file)
    source.bases[file.file] = base, base_folder
    return Adapter(config, adapter_file(source, folder), base, base_folder)


def adapter_file(source: ModelSource, folder: str) -> str | None:
    """The file with an adapter's tensors in a folder; None: there is none."""
    prefix = f"{folder}/" if folder else ""
    return next((prefix + name for name in ADAPTER_FILES if source.exists(prefix + name)), None)


def read_adapter_config(file: ConfigFile) -> AdapterConfig:
    """Reads adapter_config.json.

    Raises:
        InputError: a key is missing.
        UnsupportedError: something in it is not reproduced; it has all reasons.
    """
    file.require("peft_type", ("LORA",))
    if "peft_type" not in file:
        raise InputError(f"{file.file}: key 'peft_type' is missing")
    file.check()
    for key, allowed in _FIXED.items():
        file.require(key, allowed)
    if file.take("use_dora", bool, False):
        supported = (
            "false: the reference leaves the magnitudes of DoRA out when it loads an adapter"
        )
        file.refuse(file.unsupported("use_dora", supported))
    if file.take("revision", (str, type(None))) is not None:
        file.ignore("revision")
    file.take("base_model_name_or_path", (str, type(None)))
    config = AdapterConfig(
        file=file.file,
        rank=_rank(file, "r", file.take("r", int, 8)),
        alpha=_alpha(file, "lora_alpha", file.take("lora_alpha", (int, float), 8)),
        rank_pattern={
            key: _rank(file, f"rank_pattern.{key}", value)
            for key, value in file.take("rank_pattern", dict, {}).items()
        },
        alpha_pattern={
            key: _alpha(file, f"alpha_pattern.{key}", value)
            for key, value in file.take("alpha_pattern", dict, {}).items()
        },
        root=file.take("use_rslora", bool, False),
        lora_bias=file.take("lora_bias", bool, False),
        targets=_names(file, "target_modules"),
        excluded=_names(file, "exclude_modules"),
        saved=_list(file, "modules_to_save"),
        layers=_layers(file),
        layers_patterns=_list(file, "layers_pattern"),
        classifies=file.values.get("task_type") == "SEQ_CLS",
    )
    _check_targets(file, config)
    file.finish(_HARMLESS, reads_adapter_key)
    return config


def _check_targets(file: ConfigFile, config: AdapterConfig) -> None:
    """Refuses what peft refuses, and what is no regular expression."""
    if not config.targets:
        supported = "names of modules, a pattern of their names, or all-linear"
        file.refuse(file.unsupported("target_modules", supported))
    for key, given in (
        ("layers_to_transform", config.layers),
        ("layers_pattern", config.layers_patterns),
    ):
        if isinstance(config.targets, str) and given:
            file.refuse(file.unsupported(key, "null, where target_modules is a pattern"))
    if config.layers_patterns and not config.layers:
        file.refuse(file.unsupported("layers_pattern", "null without layers_to_transform"))
    for key, pattern in config.patterns():
        if not _compiles(pattern):
            supported = f"a regular expression of Python, up to {_LONGEST_PATTERN:,} characters"
            file.refuse(UnsupportedError(file.file, key, pattern, supported))


def _compiles(pattern: str) -> bool:
    if len(pattern) > _LONGEST_PATTERN:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about syntax that may change
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _base(source: ModelSource, file: ConfigFile) -> tuple[ModelSource, str]:
    """The base model's source and its folder there."""
    name = file.values.get("base_model_name_or_path")
    supported = (
        "the name of a model on the Hub, or a folder inside this model; "
        "or the base model's config.json and weights beside the adapter; "
        "--follow-links allows any local folder"
    )
    if not name or (not source.follow_links and _leaves(name)):
        raise file.unsupported("base_model_name_or_path", supported)
    folder = name.strip("/")
    if not _leaves(name) and source.path(folder).is_dir():
        if not source.exists(f"{folder}/config.json"):
            raise InputError(f"{folder}/: the base model of {file.file} has no config.json")
        base, base_folder = source, folder
    else:
        try:
            base, base_folder = source.other(name), ""
        except InputError as error:
            raise InputError(f"{file.file}: base_model_name_or_path: {error}") from error
    nested = f"{base_folder}/{_NAME}" if base_folder else _NAME
    if base.exists(nested):
        raise file.unsupported("base_model_name_or_path", "a model without an adapter of its own")
    return base, base_folder


def _leaves(name: str) -> bool:
    """Whether a path may lead out of the model's folder."""
    return name.startswith(("/", "~", ".")) or "\\" in name or ".." in name.split("/")


def _rank(file: ConfigFile, key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        file.refuse(UnsupportedError(file.file, key, value, "a positive number"))
        return 1
    return value


def _alpha(file: ConfigFile, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        file.refuse(UnsupportedError(file.file, key, value, "a finite number"))
        return 1.0
    return float(value)


def _names(file: ConfigFile, key: str) -> tuple[str, ...] | str:
    value: list[str] | str | None = file.take(key, (list, str, type(None)))
    return value if isinstance(value, str) else _strings(file, key, value or [])


def _list(file: ConfigFile, key: str) -> tuple[str, ...]:
    value: list[str] | str | None = file.take(key, (list, str, type(None)))
    return _strings(file, key, [value] if isinstance(value, str) else value or [])


def _strings(file: ConfigFile, key: str, values: list[str]) -> tuple[str, ...]:
    if len(values) > _MOST_NAMES or not all(isinstance(value, str) for value in values):
        file.refuse(file.unsupported(key, f"at most {_MOST_NAMES:,} names"))
        return ("",)
    return tuple(values)


def _layers(file: ConfigFile) -> tuple[int, ...]:
    value: list[int] | int | None = file.take("layers_to_transform", (list, int, type(None)))
    values = [value] if isinstance(value, int) else value or []
    if not all(isinstance(index, int) and not isinstance(index, bool) for index in values):
        file.refuse(file.unsupported("layers_to_transform", "numbers of layers"))
        return ()
    return tuple(values)
