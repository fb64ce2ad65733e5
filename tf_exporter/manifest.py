"""What is told about an artifact: the manifest for machines, the model card for people."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from tf_exporter.description import Description
from tf_exporter.errors import printable
from tf_exporter.graph import INPUT, PAIR, SCORES
from tf_exporter.limits import Limits
from tf_exporter.markdown import code, plain
from tf_exporter.options import Options
from tf_exporter.saved_model import Tensors
from tf_exporter.source import ModelSource
from tf_exporter.spec import SPARSE_ENCODER, ModelSpec
from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.tokenizers.text_ops import TEXT_OPS
from tf_exporter.verify import Verification

_MISSING_TOKENS = 100
"""How many tokens without an embedding are listed."""
_PACKAGES = ("tf-exporter", "tensorflow", "transformers", "tokenizers", "safetensors", "numpy")


def manifest(
    source: ModelSource,
    spec: ModelSpec,
    model: Description,
    verification: Verification | None,
    ops: list[str],
    tensors: dict[str, Tensors],
    options: Options,
) -> dict[str, Any]:
    """`assets.extra/tf_exporter.json`; `verification` is None where the user turned it off."""
    modules = {route: [module.kind for module in modules] for route, modules in spec.pipelines.items()}
    types = {module.transformer.model_type for all_ in spec.pipelines.values() for module in all_ if module.transformer}
    signatures: dict[str, Any] = {name: signature.prompt for name, signature in model.signatures.items()}
    return {
        **origin(source, verification.reference_versions if verification else {}, options),
        "kind": spec.kind,
        "model_type": ", ".join(sorted(types)) or None,
        "modules": modules.get("", modules),
        "pooling": [list(modes) for modes in model.poolings],
        "dimension": model.dim,
        "similarity_fn_name": spec.similarity_fn_name,
        "labels": list(spec.labels),
        "max_active_dims": spec.max_active_dims,
        "prompts": spec.prompts,
        "output": model.output,
        "signatures": {**signatures, **dict.fromkeys(model.tokenizers)},
        "tensors": tensors,
        "max_seq_length": model.tokenizer_spec.max_length,
        **missing_tokens(*(of for _, of in model.tokenizers.values())),
        "tokenizer_ops": options.tokenizer_ops,
        "precision": options.precision,
        "micro_batch_tokens": model.micro_batch_tokens,
        "ops": ops,
        "custom_ops": custom_ops(ops),
        "verification": asdict(verification) if verification else {"level": "off"},
    }


def missing_tokens(*tokenizers: TokenizerSpec) -> dict[str, Any]:
    """The tokens that have no embedding, with their ids: the first of them, and how many there are."""
    tokens = {token: id for spec in tokenizers for token, id in spec.tokens_without_rows.items()}
    first = dict(sorted(tokens.items(), key=lambda item: item[1])[:_MISSING_TOKENS])
    return {"tokens_without_rows": first, "tokens_without_rows_count": len(tokens)}


def custom_ops(ops: list[str]) -> list[str]:
    """Those that a server has no kernels for by itself."""
    return [op for op in ops if op in TEXT_OPS]


def origin(source: ModelSource, reference_versions: dict[str, str], options: Options) -> dict[str, Any]:
    """What every manifest begins with: the model, its files, what it was made with and which shapes are fixed."""
    packages = _PACKAGES if options.tokenizer_ops == "core" else (*_PACKAGES, options.tokenizer_ops)
    return {
        "export_type": options.export_type,
        "source": source.name,
        "revision": source.revision,
        "sha256": dict(sorted((source.translated_from or source).sha256.items())),
        "ignored": {file: sorted(keys) for file, keys in sorted(source.ignored.items())},
        "versions": {**{package: version(package) for package in packages}, **reference_versions},
        "batch_size": options.batch_size,
        "sequence_length": options.sequence_length,
        "embeddings_on_cpu": options.embeddings_on_cpu,
    }


def title(values: dict[str, Any]) -> str:
    """The last part of the model's name, for a card."""
    return plain(values["source"].rstrip("/").rpartition("/")[2])


def named(values: dict[str, Any]) -> str:
    """The model and its revision, for a card."""
    return code(values["source"]) + (f" at revision {code(values['revision'])}" if values["revision"] else "")


def verification_lines(verification: Verification | None, limits: Limits) -> list[str]:
    """The outcome of verification in plain words."""
    if verification is None:
        return ["Not verified: verification was turned off."]
    lines = [f"Token ids: equal to the model's own tokenizer for {verification.token_texts:,} texts."]
    if verification.not_checked:
        lines.append(f"Not checked: {verification.not_checked}.")
    else:
        versions = " ".join(f"{name} {number}" for name, number in verification.reference_versions.items())
        scores = verification.min_cosine is None
        cosine = "" if scores else f"min cosine {verification.min_cosine:.7f} (allowed {limits.min_cosine}), "
        most = limits.score_difference if scores else limits.difference
        allowed = f" (allowed {limit_in_words(most, verification.max_abs_difference or 0)})" if most < float("inf") else ""
        lines.append(
            f"{'Scores' if scores else 'Embeddings'}: max abs difference {verification.max_abs_difference:.1e}"
            f"{allowed}, {cosine}over {verification.embedding_texts:,} {'pairs' if scores else 'embeddings'}; "
            f"reference {versions}."
        )
        if verification.longest:
            lines.append(f"Not compared: {verification.longest}.")
        lines += left_out_lines(verification.left_out)
    if verification.note:
        lines.append(f"Note: {verification.note}.")
    return lines


def left_out_lines(left_out: dict[str, str]) -> list[str]:
    """A line that names the texts that the reference itself cannot encode, where there are any."""
    if not left_out:
        return []
    names = ", ".join(list(left_out)[:5]) + (f" and {len(left_out) - 5} more" if len(left_out) > 5 else "")
    return [f"Left out, as the reference cannot encode them: {names} ({next(iter(left_out.values()))})."]


def limit_in_words(limit: float, difference: float) -> str:
    """The largest difference that is allowed; how it grows is told where that mattered."""
    return f"{limit:g}" + (" times the largest value of each" if difference > limit else "")


def ops_in_words(ops: list[str]) -> str:
    """What a graph is made of, for a model card."""
    if own := custom_ops(ops):
        return f"TensorFlow ops and those of tensorflow-text ({', '.join(own)}), which a server has to load"
    return "stock TensorFlow ops"


def model_card(values: dict[str, Any], lines: list[str]) -> str:
    """README.md of the artifact."""
    signatures = "\n".join(
        f"| `{name}` | {'token ids, no prompt' if prompt is None else plain(repr(prompt)) if prompt else 'no prompt'} |"
        for name, prompt in values["signatures"].items()
    )
    checks = "\n".join(f"- {printable(line)}" for line in lines)
    ops, loading = ops_in_words(values["ops"]), "import tensorflow as tf"
    if values["custom_ops"]:
        loading += "\nimport tensorflow_text"
    pairs = values["output"] == SCORES
    call, what, result = f'{INPUT}=tf.constant([["This is a test"]])', "sentence embeddings", "Embeddings: float32 [batch, dim]"
    if pairs:
        call += f', {PAIR}=tf.constant([["Is this one?"]])'
        what = "scores of pairs"
        labels = values["labels"]
        result = (
            f"Scores: float32 [batch, {len(labels)}], of {plain(', '.join(labels))}"
            if len(labels) > 1
            else "Scores: float32 [batch]"
        )
    result = result.replace("dim", str(values["dimension"]))
    if values["kind"] == SPARSE_ENCODER:
        result += ", mostly 0; the `sparse` signatures give `indices` and `weights` of the rest, falling, filled up with index −1"
    return f"""# {title(values)} as a TensorFlow SavedModel

Strings in, {what} out: tokenizer, transformer and head in one graph of {ops}.
Converted by tf-exporter {values["versions"]["tf-exporter"]} from {named(values)}; the source's licence applies.

```python
{loading}

graph = tf.saved_model.load("path/to/this/folder")
graph.signatures["serving_default"]({call})["{values["output"]}"]
```

| signature | prompt |
|---|---|
{signatures}

{result}. Texts are cut at {values["max_seq_length"]} tokens.

## Verification

{checks}
"""
