"""The exports with TensorFlow Hub's API: from a model to a SavedModel that is verified, its manifest and its card."""

from __future__ import annotations

import gc
import logging
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_exporter import reference as references
from tf_exporter.architectures.heads import HeadConfig
from tf_exporter.architectures.registry import ARCHITECTURES
from tf_exporter.costs import room, size_of
from tf_exporter.embeddings import Export
from tf_exporter.encoders import ENCODERS
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.encoders.placement import keep_on_cpu, place_variables
from tf_exporter.encoders.training import DropoutRates, trained_further
from tf_exporter.errors import UnsupportedError, UsageError, WeightsError
from tf_exporter.heads import build_head
from tf_exporter.hub import cards
from tf_exporter.hub.classifier import Classifier
from tf_exporter.hub.encoder import Parts, encoder
from tf_exporter.hub.pooler import NAMES, build_pooler
from tf_exporter.hub.preprocessing import preprocessing, special_tokens
from tf_exporter.hub.reading import lower_cases, read_hub_tokenizer, vocabulary_assets
from tf_exporter.hub.reference import REQUIRED
from tf_exporter.hub.verify import (
    HubVerification,
    check_all_tokens,
    check_classifier,
    check_encoder,
    check_preprocessing,
    sample_inputs,
)
from tf_exporter.limits import limits
from tf_exporter.manifest import custom_ops, missing_tokens, origin
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.options import ENCODER_WITH_MLM, Options
from tf_exporter.parameter_names import finish_weights
from tf_exporter.progress import progress
from tf_exporter.publish import writing
from tf_exporter.published import note
from tf_exporter.saved_model import graph_ops, signature_tensors
from tf_exporter.source import ModelSource
from tf_exporter.spec import read_encoder
from tf_exporter.tokenizers.pipeline import TokenizerGraph
from tf_exporter.transformer_spec import TransformerSpec
from tf_exporter.views import view
from tf_exporter.weights import Weights, open_weights

logger = logging.getLogger("tf_exporter")

_RATE_KEYS = {"distilbert": ("dropout", "attention_dropout")}
_NO_DROPOUT = ("albert",)
"""Where the configs of transformers have none by themselves; all others have 0.1."""


def export_preprocessing(source: ModelSource, folder: Path, options: Options) -> Export:
    """Texts → the inputs of an encoder."""
    transformer = read_encoder(source)
    hf_tokenizer, spec = read_hub_tokenizer(source, transformer, options.do_lower_case)
    special = special_tokens(hf_tokenizer, spec)
    _check_seq_length(transformer.encoder_config, options.default_seq_length, spec.pair.added)
    logger.info("building the graph")
    graph = TokenizerGraph(spec, hf_tokenizer.backend_tokenizer)
    root, signatures = preprocessing(graph, spec, special, options.default_seq_length, options.batch_size)
    _save(root, signatures, folder)
    report = None
    if options.verify != "off":
        logger.info("verifying (%s)", options.verify)
        texts = check_preprocessing(folder, hf_tokenizer, spec, options.default_seq_length, options.batch_size)
        if options.verify == "full":
            texts += check_all_tokens(folder, hf_tokenizer, spec, options.quiet)
        report = HubVerification(options.verify, texts, 0, None, None, {})
    facts = {
        "model_type": transformer.model_type,
        "default_seq_length": options.default_seq_length,
        "do_lower_case": lower_cases(hf_tokenizer),
        "special_tokens": special,
        **missing_tokens(spec),
    }
    return _told(source, folder, options, report, facts)


def _check_seq_length(file: ConfigFile, length: int, added: int) -> None:
    most = file.values.get("max_position_embeddings")
    if isinstance(most, int) and length > most:
        raise UsageError(f"--default-seq-length {length}: more than the {most} positions of the encoder")
    if length < added:
        raise UsageError(f"--default-seq-length {length}: less than the {added} special tokens around two texts")


def export_encoder(source: ModelSource, folder: Path, options: Options) -> Export:
    """Token ids → the outputs of all layers and a vector for each text, to be trained further."""
    transformer = read_encoder(source)
    file = transformer.encoder_config
    if transformer.model_type not in NAMES:
        raise UnsupportedError(file.file, "model_type", transformer.model_type, NAMES)
    hf_tokenizer, spec = read_hub_tokenizer(source, transformer, options.do_lower_case)
    logger.info("building the graph")
    parts = _parts(source, transformer, options)
    config = parts.encoder.config
    most = config.max_length
    if options.sequence_length is not None and most is not None and options.sequence_length > most:
        raise UsageError(f"--sequence-length {options.sequence_length}: more than the {most} positions of the encoder")
    on_cpu = keep_on_cpu(parts.encoder) if options.embeddings_on_cpu else set()
    with tempfile.TemporaryDirectory() as place:
        assets = vocabulary_assets(source, transformer, hf_tokenizer, spec, Path(place))
        root, signatures = encoder(parts, assets, options.batch_size, options.sequence_length)
        _save(root, signatures, folder)
    with writing(folder):
        place_variables(folder, on_cpu)
    facts = {
        "model_type": transformer.model_type,
        "pooler": options.pooler,
        "hidden_size": config.hidden_size,
        "layers": len(parts.encoder.layers),
        "vocab_size": config.vocab_size,
        "max_seq_length": most,
        "dropout": asdict(parts.rates),
        "vocabulary": next((name for name in ("vocab_file", "sp_model_file") if name in assets), None),
        "do_lower_case": lower_cases(hf_tokenizer),
    }
    del root, signatures
    gc.collect()
    return _told(source, folder, options, _verified(source, transformer, folder, parts, options), facts)


def _parts(source: ModelSource, transformer: TransformerSpec, options: Options) -> Parts:
    file, model_type = transformer.encoder_config, transformer.model_type
    rates = _rates(file, model_type)
    deviation = file.take("initializer_range", (int, float), 0.02) if options.pooler == "random" else 0.0
    task = "fill-mask" if options.export_type == ENCODER_WITH_MLM else "feature-extraction"
    configs = replace(transformer, task=task).read()
    architecture = ARCHITECTURES[model_type]
    weights = open_weights(source, transformer.folder, shards=True).without_prefix(architecture.prefix)
    with progress("weights", len(weights), options.quiet) as bar, trained_further():
        weights.on_take = bar.update
        built = ENCODERS[model_type](configs.encoder, weights)
        pooler = build_pooler(options.pooler, deviation, model_type, weights, built.hidden_size)
        head = _head(configs.head, weights, built) if options.export_type == ENCODER_WITH_MLM else None
    finish_weights(source, weights, architecture, replace(transformer, task=task))
    return Parts(built, pooler, head, rates, configs.encoder.type_vocab_size > 1)


def _head(config: HeadConfig, weights: Weights, built: Encoder) -> Any:
    try:
        return build_head(config, weights, built)
    except WeightsError as error:
        supported = f"encoder, as the checkpoint has no masked language model head ({error})"
        raise UnsupportedError("arguments", "--export-type", ENCODER_WITH_MLM, supported) from error


def _rates(file: ConfigFile, model_type: str) -> DropoutRates:
    keys = _RATE_KEYS.get(model_type, ("hidden_dropout_prob", "attention_probs_dropout_prob"))
    default = 0.0 if model_type in _NO_DROPOUT else 0.1
    rates = [float(file.take(key, (int, float), default)) for key in keys]
    for key, rate in zip(keys, rates):
        if not 0 <= rate < 1:
            raise file.unsupported(key, "a number from 0 to below 1")
    return DropoutRates(*rates)


def _verified(
    source: ModelSource, transformer: TransformerSpec, folder: Path, parts: Parts, options: Options
) -> HubVerification | None:
    if options.verify == "off":
        return None
    if missing := references.missing_packages(REQUIRED):
        return HubVerification(options.verify, 0, 0, None, f"the outputs: {references.not_installed(missing)}", {})
    logger.info("verifying (%s)", options.verify)
    config = parts.encoder.config
    batches = sample_inputs(
        config.vocab_size,
        config.type_vocab_size if parts.has_types else 0,
        config.max_length,
        options.batch_size,
        options.sequence_length,
    )
    with view(source, {transformer.folder: transformer.native_config}) as model:
        place = model / transformer.folder
        rows, worst, versions = check_encoder(folder, place, parts, options.pooler, batches, options.atol)
    return HubVerification(options.verify, 0, rows, worst, None, versions, _note(transformer))


def _note(transformer: TransformerSpec) -> str | None:
    return note(transformer.model_type) if transformer.native_config else None


def export_classifier(source: ModelSource, folder: Path, options: Options) -> Export:
    """Texts → labels."""
    logger.info("building the graph")
    classifier = Classifier(source, options)
    _save(classifier, classifier.signature_functions(), folder)
    with writing(folder):
        place_variables(folder, classifier.model.on_cpu)
    first, allowed = classifier.model.first, limits(options.precision, options.atol)
    facts = {
        "model_type": classifier.spec.transformers[0].model_type,
        "labels": list(classifier.labels),
        "problem_type": classifier.problem,
        "max_seq_length": first.max_length,
        **missing_tokens(first.tokenizer_spec),
        "precision": options.precision,
        "micro_batch_tokens": first.micro_batch_tokens,
    }
    transformer, memory = classifier.spec.transformers[0], room(source.weight_bytes())
    report = None
    if options.verify != "off" and (missing := references.missing_packages(REQUIRED)):
        report = HubVerification(options.verify, 0, 0, None, f"the logits: {references.not_installed(missing)}", {})
    elif options.verify != "off":
        logger.info("verifying (%s)", options.verify)
        with view(source, {transformer.folder: transformer.native_config}) as model:
            cost = size_of(transformer, options.verify)
            found = check_classifier(folder, model / classifier.folder, first, options.batch_size, allowed, cost, memory)
        report = HubVerification(
            options.verify, 0, found.rows, found.worst, None, found.versions, _note(transformer), found.longest, found.left_out
        )
    return _told(source, folder, options, report, facts)


def _save(root: Any, signatures: dict[str, Any], folder: Path) -> None:
    logger.info("saving")
    with writing(folder):
        tf.saved_model.save(root, str(folder), signatures=signatures)


def _told(source: ModelSource, folder: Path, options: Options, report: HubVerification | None, facts: dict[str, Any]) -> Export:
    ops = graph_ops(folder)
    values = {
        **origin(source, report.reference_versions if report else {}, options),
        **facts,
        "tensors": signature_tensors(folder),
        "ops": ops,
        "custom_ops": custom_ops(ops),
        "verification": asdict(report) if report else {"level": "off"},
    }
    lines = cards.verification_lines(report, options)
    return Export(values, cards.card(values, lines), lines)
