"""A plain transformers folder, without modules.json: the modules that the reference adds."""

from __future__ import annotations

from dataclasses import replace

from tf_exporter.errors import InputError, UnsupportedError
from tf_exporter.model.adapters.config import read_adapter
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.source import ModelSource
from tf_exporter.modules.late_interaction import read_stanford
from tf_exporter.modules.model_config import plain_activation, read_labels
from tf_exporter.modules.model_spec import ModelSpec
from tf_exporter.modules.module_spec import ModuleSpec, by_text_task
from tf_exporter.modules.router import ONE_ROUTE
from tf_exporter.modules.transformer.config import read_transformer
from tf_exporter.names import CROSS_ENCODER, MULTI_VECTOR, SENTENCE_TRANSFORMER
from tf_exporter.tokenizers.chat.settings import ChatSettings


def read_plain(source: ModelSource) -> ModelSpec:
    """The spec of a plain folder: with a head, a classifier; else with a pooling.

    Raises:
        InputError: files are missing or are not what they claim to be.
        UnsupportedError: something in them is not reproduced.
    """
    adapter = read_adapter(source, "")
    if adapter is None and not source.exists("config.json"):
        raise InputError(f"{source.name}: neither modules.json nor config.json, so not a model")
    file = ConfigFile("(no modules.json)", {})
    home, name = (adapter.base, adapter.base_config) if adapter else (source, "config.json")
    config = home.read_object(name)
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list) or any(
        not isinstance(name, str) for name in architectures
    ):
        raise UnsupportedError("config.json", "architectures", architectures, "a list of names")
    classifies = bool(architectures) and architectures[0].endswith("ForSequenceClassification")
    transformer = read_transformer(
        source, "", file, "sequence-classification" if classifies else "feature-extraction"
    )
    # The reference uses a chat template if there is one.
    transformer = replace(transformer, chat=ChatSettings(required=False))
    module = ModuleSpec("Transformer", "", file, transformer)
    if classifies:
        activation = plain_activation(transformer.encoder_config)
        labels = read_labels((module,))
        return ModelSpec(
            CROSS_ENCODER,
            {"": (module,)},
            ONE_ROUTE,
            {},
            None,
            None,
            None,
            None,
            activation,
            labels,
        )
    if transformer.output == "sentence_embedding":
        return ModelSpec(
            SENTENCE_TRANSFORMER, {"": (module,)}, ONE_ROUTE, {}, None, None, None, None, None, ()
        )
    causal = (
        bool(architectures)
        and architectures[0].endswith("ForCausalLM")
        and config.get("is_causal", True)
    )
    mode = "lasttoken" if causal else "mean"
    pooling = ModuleSpec(
        "Pooling",
        "",
        ConfigFile("(no modules.json)", {"embedding_dimension": 0, "pooling_mode": mode}),
    )
    return ModelSpec(
        SENTENCE_TRANSFORMER,
        {"": (module, pooling)},
        ONE_ROUTE,
        {},
        None,
        None,
        None,
        None,
        None,
        (),
    )


def read_stanford_model(source: ModelSource) -> ModelSpec:
    """Stanford's ColBERT: a Transformer and a Dense module, whose matrix is beside its weights.

    Raises:
        InputError: files are missing or are not what they claim to be.
        UnsupportedError: something in them is not reproduced.
    """
    late, prompts = read_stanford(source)
    file = ConfigFile("(no modules.json)", {})
    transformer = read_transformer(source, "", file, late=late)
    transformer = replace(transformer, others=(r"linear\.weight",))
    projection = ConfigFile("(linear.weight)", {"module_input_name": "token_embeddings"})
    modules = [
        ModuleSpec("Transformer", "", file, transformer),
        ModuleSpec("InlineDense", "", projection),
    ]
    pipelines, tasks = by_text_task(modules, late)
    return ModelSpec(MULTI_VECTOR, pipelines, tasks, prompts, None, None, None, None, None, ())
