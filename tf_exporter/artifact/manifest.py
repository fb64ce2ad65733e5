"""The manifest of an artifact, `assets.extra/tf_exporter.json`, which is for programs."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tf_exporter._version import __version__
from tf_exporter.artifact.saved_model import graph_ops, signature_tensors
from tf_exporter.model.source import ModelSource
from tf_exporter.options import Options
from tf_exporter.tokenizers.models.tensorflow_text import TEXT_OPS
from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.verification.report import Verification

_MISSING_TOKENS = 100
"""The most tokens without an embedding that are listed."""
_PACKAGES = ("tensorflow", "transformers", "tokenizers", "safetensors", "numpy")


def manifest(
    source: ModelSource,
    options: Options,
    facts: dict[str, Any],
    report: Verification | None,
    saved: Path,
) -> dict[str, Any]:
    """The manifest.

    Args:
        source: the model.
        options: the options of the conversion.
        facts: the export's own entries.
        report: the result of the verification; None where it was turned off.
        saved: the SavedModel's folder.
    """
    packages = _PACKAGES if options.tokenizer_ops == "core" else (*_PACKAGES, options.tokenizer_ops)
    ops = graph_ops(saved)
    requests = options.requests
    return {
        "export_type": options.export_type,
        "source": source.name,
        "revision": source.revision,
        "sha256": dict(sorted(source.all_sha256.items())),
        "ignored": {file: sorted(keys) for file, keys in sorted(source.all_ignored.items())},
        "versions": {
            "tf-exporter": __version__,
            **{package: version(package) for package in packages},
            **(report.reference_versions if report else {}),
        },
        "batch_size": options.batch_size,
        "sequence_length": options.sequence_length,
        "embeddings_on_cpu": options.embeddings_on_cpu,
        "request_batching": requests and requests._asdict(),
        **facts,
        "tensors": signature_tensors(saved),
        "ops": ops,
        "custom_ops": [op for op in ops if op in TEXT_OPS],
        "verification": asdict(report) if report else {"level": "off"},
    }


def missing_tokens(*tokenizers: TokenizerSpec) -> dict[str, Any]:
    """The tokens without an embedding: the first ones with their ids, and the number of all."""
    tokens = {token: id for spec in tokenizers for token, id in spec.tokens_without_rows.items()}
    first = dict(sorted(tokens.items(), key=lambda item: item[1])[:_MISSING_TOKENS])
    return {"tokens_without_rows": first, "tokens_without_rows_count": len(tokens)}
