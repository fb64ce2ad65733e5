"""What is told of a SavedModel with TensorFlow Hub's API, for people."""

from __future__ import annotations

from typing import Any

from tf_exporter.errors import printable
from tf_exporter.hub.verify import LOGITS_DIFFERENCE, HubVerification
from tf_exporter.limits import limits
from tf_exporter.manifest import custom_ops, left_out_lines, limit_in_words, named, ops_in_words, title
from tf_exporter.options import CLASSIFIER, ENCODER, ENCODER_WITH_MLM, PREPROCESSING, Options

_WHAT = {
    PREPROCESSING: "texts in, the inputs of an encoder out",
    ENCODER: "token ids in, embeddings of tokens and of whole texts out; can be trained further",
    ENCODER_WITH_MLM: "token ids in, embeddings and scores of masked tokens out; can be trained further",
    CLASSIFIER: "texts in, labels out",
}
_USE = {
    PREPROCESSING: """import tensorflow_hub as hub

preprocess = hub.KerasLayer("path/to/this/folder")
encoder_inputs = preprocess(texts)

preprocess = hub.load("path/to/this/folder")
tokens = [preprocess.tokenize(segment) for segment in (first, second)]
encoder_inputs = preprocess.bert_pack_inputs(tokens, seq_length=128)""",
    ENCODER: """import tensorflow_hub as hub

encoder = hub.KerasLayer("path/to/this/folder", trainable=True)
outputs = encoder(encoder_inputs)
outputs["pooled_output"], outputs["sequence_output"], outputs["encoder_outputs"]""",
    ENCODER_WITH_MLM: """import tensorflow_hub as hub

encoder = hub.load("path/to/this/folder")
mlm = hub.KerasLayer(encoder.mlm, trainable=True)
mlm({**encoder_inputs, "masked_lm_positions": positions})["mlm_logits"]""",
    CLASSIFIER: """import tensorflow as tf

classifier = tf.saved_model.load("path/to/this/folder")
classifier.signatures["serving_default"](sentence1=tf.constant(["This is a test"]))["class"]""",
}


def verification_lines(report: HubVerification | None, options: Options) -> list[str]:
    """The outcome of verification in plain words."""
    if report is None:
        return ["Not verified: verification was turned off."]
    lines = []
    if report.token_texts:
        lines.append(f"Token ids: equal to the model's own tokenizer for {report.token_texts:,} texts and pairs.")
    if report.max_abs_difference is not None:
        versions = ", ".join(f"{package} {version}" for package, version in report.reference_versions.items())
        limit = limits(options.precision, options.atol).score_difference if options.export_type == CLASSIFIER else options.atol
        allowed = limit_in_words(limit, report.max_abs_difference)
        if options.export_type == ENCODER_WITH_MLM:
            allowed += f", of mlm_logits {max(options.atol, LOGITS_DIFFERENCE):g}"
        lines.append(
            f"Outputs: max abs difference {report.max_abs_difference:.1e} (allowed {allowed}), "
            f"over {report.embedding_texts:,} rows; reference {versions}."
        )
        if report.longest:
            lines.append(f"Not compared: {report.longest}.")
        lines += left_out_lines(report.left_out)
    if report.not_checked:
        lines.append(f"Not verified: {report.not_checked}.")
    if report.note:
        lines.append(f"Note: {report.note}.")
    return lines


def card(values: dict[str, Any], lines: list[str]) -> str:
    """README.md of the artifact."""
    kind = values["export_type"]
    use = _USE[kind]
    if len(values["tensors"]["serving_default"]["inputs"]) == 2:
        use = use.replace('["This is a test"])', '["This is a test"]), sentence2=tf.constant(["Is this one?"])')
    if custom_ops(values["ops"]):
        use = use.replace("import tensorflow as tf", "import tensorflow as tf\nimport tensorflow_text")
    signatures = "\n".join(
        f"| `{name}` | {', '.join(tensors['inputs'])} | {', '.join(tensors['outputs'])} |"
        for name, tensors in values["tensors"].items()
    )
    checks = "\n".join(f"- {printable(line)}" for line in lines)
    return f"""# {title(values)}: {kind}, a TensorFlow SavedModel

{_WHAT[kind].capitalize()}. Made of {ops_in_words(values["ops"])}.
Converted by tf-exporter {values["versions"]["tf-exporter"]} from {named(values)}; the source's licence applies.

```python
{use}
```

| signature | takes | gives |
|---|---|---|
{signatures}

## Verification

{checks}
"""
