"""The model card of an artifact, and the result of its verification in words."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf
from typing import Any

from tf_exporter.artifact.markdown import code, plain
from tf_exporter.errors import printable
from tf_exporter.verification.report import Verification
from tf_exporter.verification.tolerances import Tolerance

_MOST_LEFT_OUT = 5
"""How many texts that the reference cannot encode are named, and how many of its errors."""


@dataclass(frozen=True)
class Wording:
    """The words that describe the result of a verification."""

    outputs: str
    """The compared outputs, at the start of a line, e.g. "Embeddings"."""
    rows: str
    """The unit of the count, e.g. "embeddings"."""
    checked: str
    """The outputs that are not verified without a reference, e.g. "embeddings"."""
    tolerance: Tolerance
    texts: str = "texts"
    """The unit of the count of compared token ids."""
    tolerance_note: str = ""
    """Text after the allowed difference."""


@dataclass(frozen=True)
class CardParts:
    """The parts of a model card that depend on the export."""

    title: str
    """The end of the heading, after the name of the model."""
    summary: str
    """The inputs and outputs."""
    use: str
    """Python code that uses the artifact."""
    table: str
    """The signatures, as a Markdown table."""
    result: str = ""
    """Sentences about the outputs."""


def verification_lines(report: Verification | None, wording: Wording) -> list[str]:
    """The result of a verification in plain words; `report` is None where it was turned off."""
    if report is None:
        return ["Not verified: verification was turned off."]
    lines = []
    if report.token_texts:
        lines.append(
            f"Token ids: equal to the model's own tokenizer for {report.token_texts:,} "
            f"{wording.texts}."
        )
    if report.not_checked:
        lines.append(f"Not verified: {report.not_checked}.")
    if report.max_abs_difference is not None:
        lines.append(_differences(report, wording))
    if report.longest:
        lines.append(f"Not compared: {report.longest}.")
    lines += left_out_lines(report.left_out)
    if report.note:
        lines.append(f"Note: {report.note}.")
    return lines


def _differences(report: Verification, wording: Wording) -> str:
    assert report.max_abs_difference is not None
    limit = wording.tolerance.difference
    allowed = cosine = ""
    if not isinf(limit):
        words = limit_in_words(limit, report.max_abs_difference)
        allowed = f" (allowed {words}{wording.tolerance_note})"
    if report.min_cosine is not None:
        cosine = f" min cosine {report.min_cosine:.7f} (allowed {wording.tolerance.cosine}),"
    versions = " ".join(f"{name} {number}" for name, number in report.reference_versions.items())
    return (
        f"{wording.outputs}: max abs difference {report.max_abs_difference:.1e}{allowed},{cosine} "
        f"over {report.embedding_texts:,} {wording.rows}; reference {versions}."
    )


def left_out_lines(left_out: dict[str, str]) -> list[str]:
    """One line that names the texts the reference cannot encode, or none."""
    if not left_out:
        return []
    by_reason: dict[str, list[str]] = {}
    for text, reason in left_out.items():
        by_reason.setdefault(reason, []).append(text)
    parts = []
    for reason, texts in list(by_reason.items())[:_MOST_LEFT_OUT]:
        more = len(texts) - _MOST_LEFT_OUT
        names = ", ".join(texts[:_MOST_LEFT_OUT]) + (f" and {more} more" if more > 0 else "")
        parts.append(f"{names} ({reason})")
    return [f"Left out, as the reference cannot encode them: {'; '.join(parts)}."]


def limit_in_words(limit: float, difference: float) -> str:
    """The allowed difference; says that it scales with the values where `difference` exceeds it."""
    return f"{limit:g}" + (" times the largest value of each" if difference > limit else "")


def ops_in_words(custom_ops: list[str]) -> str:
    """The kinds of ops in a graph. `custom_ops`: ops whose library a server has to load."""
    if custom_ops:
        ops = ", ".join(custom_ops)
        return (
            f"TensorFlow ops and ops of tensorflow-text ({ops}), whose library a server has to load"
        )
    return "stock TensorFlow ops"


def prompt_table(signatures: dict[str, str | None]) -> str:
    """A Markdown table of signatures and prompts. Those without a text before theirs have None."""

    def cell(name: str, prompt: str | None) -> str:
        if prompt is None:
            return "token ids, no prompt" if name.startswith("tokenize") else "no prompt of its own"
        return plain(repr(prompt)) if prompt else "no prompt"

    rows = (f"| `{name}` | {cell(name, prompt)} |" for name, prompt in signatures.items())
    return "\n".join(["| signature | prompt |", "|---|---|", *rows])


def tensor_table(tensors: dict[str, Any]) -> str:
    """A Markdown table of signatures and their tensors, from the manifest's `tensors`."""
    rows = (
        f"| `{name}` | {', '.join(sides['inputs'])} | {', '.join(sides['outputs'])} |"
        for name, sides in tensors.items()
    )
    return "\n".join(["| signature | takes | gives |", "|---|---|---|", *rows])


def card(values: dict[str, Any], parts: CardParts, lines: list[str]) -> str:
    """The text of an artifact's README.md.

    Args:
        values: the manifest.
        parts: the parts that depend on the export.
        lines: the result of the verification.
    """
    name = plain(values["source"].rstrip("/").rpartition("/")[2])
    revision = f" at revision {code(values['revision'])}" if values["revision"] else ""
    use = parts.use
    if values["custom_ops"]:
        use = use.replace(
            "import tensorflow as tf\n", "import tensorflow as tf\nimport tensorflow_text\n"
        )
    made_by = f"tf-exporter {values['versions']['tf-exporter']}"
    checks = "\n".join(f"- {printable(line)}" for line in lines)
    results = [parts.result] if parts.result else []
    if requests := values["request_batching"]:
        most = f"at most {requests['size']} texts"
        results.append(f"Calls from several threads are joined into batches of {most}.")
    result = "".join(f"{sentences}\n\n" for sentences in results)
    return f"""# {name} {parts.title}

{parts.summary}. The graph consists of {ops_in_words(values["custom_ops"])}.
Converted by {made_by} from {code(values["source"])}{revision}; the source's licence applies.

```python
{use}
```

{parts.table}

{result}## Verification

{checks}
"""
