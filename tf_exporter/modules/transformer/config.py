"""The config of a Transformer module: its settings, old and new, and the config of its encoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tf_exporter.architectures.reading import Configs, read_architecture
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.architectures.task_adapters import KEY, CheckpointAdapters
from tf_exporter.architectures.translation import for_transformers, translated
from tf_exporter.errors import Refusals, UnsupportedError
from tf_exporter.model.adapters.config import Adapter, read_adapter
from tf_exporter.model.adapters.folders import read_folders
from tf_exporter.model.adapters.tasks import TaskAdapters
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.reference.keys import reads_config_key
from tf_exporter.model.source import ModelSource
from tf_exporter.model.untyped import Json
from tf_exporter.modules.late_interaction import LateSettings
from tf_exporter.modules.transformer.late import Lengths, read_lengths
from tf_exporter.modules.transformer.modalities import chat_of, read_modalities, read_processing
from tf_exporter.tokenizers.chat.settings import ChatSettings

TRANSFORMER_CONFIGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_TASKS = {
    "feature-extraction": ("last_hidden_state", "token_embeddings"),
    "fill-mask": ("logits", "token_embeddings"),
    "sequence-classification": ("logits", "scores"),
    "text-generation": ("logits", "causal_logits"),
}
"""transformer_task → the model's output that is used, and the feature it becomes."""
TASK_MODULE = "custom_st.Transformer"
"""The `type` of Jina's own classes: a Transformer that takes a task."""
_DEFAULT_TASK = "default_task"
"""The argument of these classes that names the task of texts without a task."""
_CLASSIFIES = "ForSequenceClassification"
_TRUST = "trust_remote_code"
"""sentence-transformers removes this key from a model's configs, too."""
_HARMLESS_MODEL_KWARGS = {
    "attn_implementation",
    "dtype",
    "torch_dtype",
    "add_pooling_layer",
    _TRUST,
}
"""Arguments without effect: the reference sets its own dtype and attention; no pooler is used."""
_HARMLESS_TOKENIZER_KWARGS = {"use_fast", _TRUST}
_TOKENIZER_KWARGS = {"padding_side", "truncation_side"}
"""Settings of the tokenizer that are passed to transformers."""
_OLD_NAMES = {
    "tokenizer_args": "processor_kwargs",
    "model_args": "model_kwargs",
    "config_args": "config_kwargs",
}
"""Old name of a setting → current name."""


@dataclass(frozen=True)
class TransformerSpec:
    """A tokenizer, an encoder and its head."""

    folder: str
    model_type: str
    encoder_config: ConfigFile
    task: str
    """`transformer_task`: "feature-extraction", or the head that follows the encoder."""
    output: str
    """The feature that is written."""
    do_lower_case: bool
    max_seq_length: int | None
    """The configured limit; None: the tokenizer's, at most the encoder's positions."""
    text_max_length: int | None
    """The limit in `processing_kwargs`, which takes precedence over all other limits."""
    text_max_length_key: str
    """Its key in the module's config, for messages."""
    chat: ChatSettings | None
    """How texts become messages for a chat template; None: they are taken as they are."""
    tokenizer_kwargs: dict[str, Any]
    """Arguments of `AutoTokenizer.from_pretrained` in the module's config."""
    translated: bool
    """Whether config.json is for the model's own code, so that transformers gets a stand-in."""
    adapter: Adapter | None
    """The adapter that is merged into the weights."""
    tasks: TaskAdapters | None
    """The tasks that a text can be encoded for, by adapters beside the weights."""
    strips: bool
    """Whether texts are stripped of white space at both ends first."""
    lengths: Lengths | None = None
    """The limits by task of a multi-vector model; None: another kind of model."""
    prefixes: dict[str, str] = field(default_factory=dict)
    """Task → the token before its texts, in older layouts of multi-vector models."""
    others: tuple[str, ...] = ()
    """Patterns for the names of tensors that other modules read from the checkpoint."""

    def read(self) -> Configs:
        """Reads the config of the encoder and its head.

        Raises:
            InputError: a key is missing.
            UnsupportedError: all reasons to refuse the config.
        """
        return read_architecture(self.encoder_config, self.model_type, self.task, self.translated)


def first_config(source: ModelSource, folder: str) -> ConfigFile:
    """The Transformer module's own config: the first of its names that exists and is not empty."""
    for name in TRANSFORMER_CONFIGS:
        path = f"{folder}/{name}" if folder else name
        if source.exists(path) and (config := source.config(path)).values:
            return config
    return ConfigFile(TRANSFORMER_CONFIGS[0], {})


def read_transformer(
    source: ModelSource,
    folder: str,
    file: ConfigFile,
    task: str = "feature-extraction",
    by_task: bool = False,
    late: LateSettings | None = None,
) -> TransformerSpec:
    """The spec of the Transformer module in `folder`.

    Args:
        source: the model.
        folder: the module's folder.
        file: the module's own config.
        task: its `transformer_task` if `file` has none.
        by_task: whether the module's class is Jina's, which takes a task.
        late: the settings outside the modules, if it is a multi-vector model.

    Raises:
        InputError: files are missing or are not what they claim to be.
        UnsupportedError: something in them is not reproduced.
    """
    task = file.take("transformer_task", str, task)
    if task not in _TASKS:
        raise file.unsupported("transformer_task", _TASKS)
    adapter = read_adapter(source, folder)
    name = f"{folder}/config.json" if folder else "config.json"
    home, name = (adapter.base, adapter.base_config) if adapter else (source, name)
    format, output = _read_outputs(file, task, home.config(name))
    lengths = None
    if late is None:
        for key in ("query_length", "document_length", "query_expansion"):
            file.require(key, (None,))
    else:
        lengths = read_lengths(file.replaced({**late.transformer, **file.values}))
        if isinstance(format, str):
            supported = "text alone, for a multi-vector model"
            file.refuse(file.unsupported("modality_config", supported))
        for key in ("query_length", "document_length", "query_expansion"):
            file.take(key, (int, dict, type(None)))
    file.require("tokenizer_name_or_path", (None,))
    file.take("unpad_inputs", (bool, type(None)))
    for old, new in _OLD_NAMES.items():
        if old in file and new in file:
            file.refuse(file.unsupported(old, f"{new} alone, not both"))
    own = {_DEFAULT_TASK} if by_task else set()
    default_task = _kwargs(file, "model_kwargs", _HARMLESS_MODEL_KWARGS | own).get(_DEFAULT_TASK)
    changes = _kwargs(file, "config_kwargs", None)
    tokenizer_kwargs = _kwargs(
        file,
        "processor_kwargs",
        {"model_max_length", *_TOKENIZER_KWARGS, *_HARMLESS_TOKENIZER_KWARGS},
    )
    max_seq_length = read_length(
        file, "max_seq_length", file.take("max_seq_length", (int, type(None)))
    )
    if "model_max_length" in tokenizer_kwargs:
        max_seq_length = read_length(
            file, "processor_kwargs.model_max_length", tokenizer_kwargs["model_max_length"]
        )
    do_lower_case = file.take("do_lower_case", (bool, type(None)), False) or False
    processing = read_processing(file, isinstance(format, str))
    refusals = Refusals()
    with refusals.part():
        # The reference overwrites `backend`, and `cache_dir` is only the place of a cache.
        file.finish(frozenset({"backend", "cache_dir"}))
    encoder_config = _changed(home.config(name), file, changes)
    translation = None
    with refusals.part():
        translation = translated(encoder_config)
        if adapter is not None:
            _check_base(encoder_config, translation)
            encoder_config = _with_new_head(encoder_config, task)
        _check_tasks(encoder_config, translation, by_task)
    refusals.check()
    if translation is not None:
        encoder_config = translation
        source.stand_in(name, for_transformers(translation))
    tasks = _read_tasks(source, folder, file, encoder_config, default_task) if by_task else None
    if tasks is not None and tasks.pools:
        # Its class has its own default limit, and ignores this setting.
        file.require("do_lower_case", (None, False))
        file.check()
        if max_seq_length is None:
            max_seq_length = encoder_config.take("max_position_embeddings", int, required=True)
    return TransformerSpec(
        folder=folder,
        model_type=encoder_config.take("model_type", str, required=True),
        encoder_config=encoder_config,
        task=task,
        output=output,
        do_lower_case=do_lower_case,
        max_seq_length=max_seq_length,
        text_max_length=processing.max_length,
        text_max_length_key=processing.max_length_key,
        chat=chat_of(format, processing),
        tokenizer_kwargs={
            key: value for key, value in tokenizer_kwargs.items() if key in _TOKENIZER_KWARGS
        },
        translated=translation is not None,
        adapter=adapter,
        tasks=tasks,
        lengths=lengths,
        prefixes=late.prefixes if late else {},
        strips=tasks is not None and not tasks.pools,
    )


def _read_outputs(file: ConfigFile, task: str, encoder: ConfigFile) -> tuple[bool | str, str]:
    """The format of messages, as `read_modalities` has it; and the feature that is written.

    `encoder`: config.json.
    """
    architecture = ARCHITECTURES.get(str(encoder.values.get("model_type")))
    if architecture is None or architecture.text_features is None or task != "feature-extraction":
        model_output, output = _TASKS[task]
        format = read_modalities(file, {"method": "forward", "method_output_name": model_output})
    else:
        output = "sentence_embedding"
        text, image = (
            {"method": f"get_{kind}_features", "method_output_name": "pooler_output"}
            for kind in ("text", "image")
        )
        # The graph takes texts; images do not change their embeddings.
        format = read_modalities(file, text, {"image": image})
    file.require("module_output_name", (output,))
    return format, output


def _kwargs(file: ConfigFile, name: str, known: set[str] | None) -> dict[str, Any]:
    """Settings under the current or old name. `known`: the allowed keys; None: all."""
    old = next(old for old, new in _OLD_NAMES.items() if new == name)
    settings: dict[str, Any] = {}
    for key in (old, name):
        values = file.take(key, (dict, type(None)), {}) or {}
        for unknown in sorted(values.keys() - (values.keys() if known is None else known)):
            file.refuse(
                UnsupportedError(file.file, f"{key}.{unknown}", values[unknown], known or ())
            )
        settings.update(values)
    return settings


def _changed(config: ConfigFile, file: ConfigFile, changes: dict[str, Any]) -> ConfigFile:
    """config.json with the module's own `config_kwargs`, which replace keys of the same name.

    Other keys can be arguments of transformers' loader. They are ignored only if it does not read
    them.
    """
    reads = reads_config_key(str(config.values.get("model_type")))
    values = dict(config.values)
    for key, value in changes.items():
        if key in values:
            values[key] = value
        elif key != _TRUST and reads(key):
            supported = f"only keys that are in {config.file}"
            raise UnsupportedError(file.file, f"config_kwargs.{key}", value, supported)
        elif key != _TRUST:
            file.ignore(f"config_kwargs.{key}")
    return config.replaced(values)


def _check_base(config: ConfigFile, translation: ConfigFile | None) -> None:
    """Refuses adapters for checkpoints whose tensors do not have the names of modules."""
    model_type = config.values.get("model_type")
    architecture = ARCHITECTURES.get(str(model_type))
    if translation is not None or (architecture and not architecture.adapters):
        known = [name for name, architecture in ARCHITECTURES.items() if architecture.adapters]
        supported = f"for adapters: {', '.join(known)}, without code of their own"
        raise config.unsupported("model_type", supported)


def _check_tasks(config: ConfigFile, translation: ConfigFile | None, by_task: bool) -> None:
    """Refuses adapters for tasks without a module that takes the task, and such a module alone."""
    key = "task_names" if "task_names" in config.values else "lora_adaptations"
    if translation is not None and KEY in translation.values and not by_task:
        supported = f"adapters for tasks only with the module {TASK_MODULE}"
        raise config.unsupported(key, supported)
    if by_task and translation is None:
        supported = (
            f"for {TASK_MODULE}: xlm-roberta with rotary positions and adapters for tasks, "
            "or jina_embeddings_v5"
        )
        raise config.unsupported("model_type", supported)
    if by_task and translation is not None and KEY not in translation.values:
        raise config.unsupported(key, f"names of tasks, for {TASK_MODULE}")


def _read_tasks(
    source: ModelSource, folder: str, file: ConfigFile, config: ConfigFile, default: Json
) -> TaskAdapters:
    """The adapters that a translated config has; `default`: the `default_task` of the module."""
    values = config.values[KEY]
    prefix = ARCHITECTURES[config.values["model_type"]].prefix
    assert isinstance(prefix, str)
    if default is not None and default not in values["tasks"]:
        raise UnsupportedError(file.file, f"model_kwargs.{_DEFAULT_TASK}", default, values["tasks"])
    first: str = default or values.get("default", "")
    if "rank" not in values:
        return read_folders(source, folder, values["tasks"], first, prefix)
    tasks = tuple(values["tasks"])
    return CheckpointAdapters(folder, tasks, first, values["rank"], values["alpha"], prefix)


def _with_new_head(config: ConfigFile, task: str) -> ConfigFile:
    """config.json of an adapter's base, with the head that the reference adds for classification.

    If the base model does not classify, the head has one label, and its weights are the adapter's.
    """
    names = config.values.get("architectures")
    names = names if isinstance(names, list) else []
    if task != "sequence-classification" or any(str(name).endswith(_CLASSIFIES) for name in names):
        return config
    left_out = ("id2label", "label2id")
    values = {key: value for key, value in config.values.items() if key not in left_out}
    head = {"architectures": [_CLASSIFIES], "num_labels": 1}
    return config.replaced({**values, **head})


def read_length(file: ConfigFile, key: str, value: Json) -> int | None:
    """`value`, which must be a positive number or None."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UnsupportedError(file.file, key, value, "a positive number")
    return value
