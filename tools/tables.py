"""The generated tables of the pages in docs/, from the code and results/: `python -m tools.tables`.

A table stands between `<!-- NAME: made by … -->` and `<!-- NAME: end -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before TensorFlow: in the other order their copies of LLVM abort.
import sentence_transformers  # noqa: F401

from fixtures.popular import popular_table
from tf_exporter.architectures.activation_names import TRANSFORMERS_NAMES
from tf_exporter.architectures.registry import MODEL_TYPES, with_head
from tf_exporter.architectures.translation import TRANSLATIONS
from tf_exporter.artifact.markdown import plain
from tf_exporter.model.torch_activations import TORCH_ACTIVATION_NAMES
from tf_exporter.modules.configs import MODULE_KINDS
from tf_exporter.modules.pooling.layer import POOLING_MODES
from tf_exporter.modules.router import ROUTERS
from tf_exporter.modules.trainable import TRAINABLE
from tf_exporter.names import EXPORT_TYPES
from tf_exporter.options import described, flag
from tf_exporter.tokenizers.spec import MODELS, NORMALIZERS, PRE_TOKENIZERS
from tf_exporter.tokenizers.templates import POST_PROCESSORS

PROJECT = Path(__file__).resolve().parents[1]
PAGES = PROJECT / "docs"
RESULTS = PROJECT / "results"
TRAINED = "trained: "
"""The start of the sweep's names for the small tokenizers that it trains."""
ALIGNED = ", offsets"
"""The end of the sweep's names of comparisons of offsets."""


def result(name: str) -> Any:
    """The figures that a benchmark or a sweep has written."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def converted_folders() -> set[str]:
    """The public folders that `make public-folders` last converted."""
    folders = result("public_folders").items()
    return {name for name, row in folders if row["outcome"] == "converted"}


def _names(*values: str) -> str:
    return ", ".join(f"`{value}`" for value in values)


def supported() -> str:
    """Everything that is reproduced."""
    rows = {
        "architectures (`model_type`)": _names(*sorted(MODEL_TYPES)),
        "configs written for code of their own, which is never run": _names(*sorted(TRANSLATIONS)),
        "cross-encoders that classify": _names(*sorted(with_head("sequence-classification"))),
        "cross-encoders by the next token (`LogitScore`)": _names(
            *sorted(with_head("text-generation"))
        ),
        "masked language models, for SPLADE": _names(*sorted(with_head("fill-mask"))),
        "encoders for TensorFlow Hub ([hub.md](hub.md))": _names(*sorted(TRAINABLE)),
        "modules": _names(*sorted(MODULE_KINDS), *ROUTERS),
        "pooling modes, alone or concatenated": _names(*POOLING_MODES),
        "Dense activations (`torch.nn`)": _names(*sorted([*TORCH_ACTIVATION_NAMES, "PReLU"])),
        "encoder activations": _names(*sorted(TRANSFORMERS_NAMES)),
        "tokenizer models": _names(*MODELS),
        "normalizers": _names(*NORMALIZERS),
        "pre-tokenizers": _names(*PRE_TOKENIZERS),
        "post-processors": _names(*POST_PROCESSORS),
        "weights": "safetensors and `pytorch_model.bin`, single and sharded, in float32, float16, "
        "bfloat16 and float64; Google's BERT checkpoints",
    }
    lines = ["| | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {values} |" for name, values in rows.items())])


def popular() -> str:
    """Popular models, and whether tests convert their published files."""
    return popular_table(converted_folders())


def options() -> str:
    """The options of the command line."""
    lines = ["| option | default | for | |", "|---|---|---|---|"]
    for name, default, option in described():
        value = f" {option.metavar}" if option.metavar else ""
        value = " " + "\\|".join(map(str, option.choices)) if option.choices else value
        negated = f", `--no-{flag(name)[2:]}`" if option.may_be_negated else ""
        shown = f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
        shown = "" if default in (None, False) else shown
        exports = "all" if option.exports == EXPORT_TYPES else ", ".join(option.exports)
        lines.append(f"| `{flag(name)}{value}`{negated} | {shown} | {exports} | {option.help} |")
    return "\n".join(lines)


def folders() -> str:
    """The public folders, and the outcome of each."""
    lines = [
        "| folder | kind | outcome | difference and ignored keys, or reason |",
        "|---|---|---|---|",
    ]
    for name, row in result("public_folders").items():
        if row["outcome"] == "converted":
            details = f"{row['difference']:.1e}" + "".join(f", `{key}`" for key in row["ignored"])
        else:
            details = row["reason"].replace("|", "\\|")
        lines.append(f"| {name} | {row['kind']} | {row['outcome']} | {details} |")
    return "\n".join(lines)


def memory() -> str:
    """Memory and time of conversions."""
    lines = [
        (
            "| tokens | weights, GB | peak, GB | allowed, GB | peak without verification, GB "
            "| seconds | verification, seconds |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    for name, row in result("memory").items():
        keys = ("weights", "most", "allowed", "most_without_verification")
        sizes = [f"{row[key] / 1e9:.2f}" for key in keys]
        seconds = row["seconds_with_verification"]
        limit = f"{int(name):,}" if name.isdigit() else "512, XLM-RoBERTa-large's size"
        cells = [limit, *sizes, f"{seconds:.0f}", f"{seconds - row['seconds']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
        if row["verification"]["longest"]:
            notes.append(f"{limit}: {row['verification']['longest']}.")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def sweep() -> str:
    """Token ids and offsets: the texts of each tokenizer, and the mismatches."""
    rows = result("sweep")
    shown = {name: row for name, row in rows.items() if not name.startswith(TRAINED)}
    for suffix in ("", ALIGNED):
        trained = [
            row
            for name, row in rows.items()
            if name.startswith(TRAINED) and name.endswith(ALIGNED) == bool(suffix)
        ]
        if trained:
            kinds = f"{len(trained)} kinds of small tokenizers, trained for the sweep, 3 of each"
            shown[kinds + suffix] = {
                key: sum(row[key] for row in trained) for key in ("texts", "equal")
            }
    lines = ["| tokenizer | ops | texts | mismatches |", "|---|---|---|---|"]
    for key, row in shown.items():
        name, _, ops = key.partition(", tensorflow-")
        ops = f"tensorflow-{ops}" if ops else "core"
        if name.endswith(ALIGNED):
            name, ops = name.removesuffix(ALIGNED), ops + ALIGNED
        lines.append(f"| {name} | {ops} | {row['texts']:,} | {row['texts'] - row['equal']:,} |")
    return "\n".join(lines)


def sweep_models() -> str:
    """Embeddings: small models of every architecture."""
    lines = [
        (
            "| architecture | models | embeddings | largest difference "
            "| models with a head of transformers | largest difference |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for name, row in sorted(result("sweep_models").items()):
        over = f" ({row['over']} over 1e-5)" if row["over"] else ""
        pooled = f"{row['models']} | {row['embeddings']:,} | {row['max_abs_difference']:.1e}{over}"
        headed = "none | "
        if row["head_models"]:
            headed = f"{row['head_models']} | {row['head_max_abs_difference']:.1e}"
        lines.append(f"| `{name}` | {pooled} | {headed} |")
    return "\n".join(lines)


def older() -> str:
    """The largest differences in older versions of TensorFlow."""
    rows = result("older_tensorflow")
    names = dict.fromkeys(name for row in rows.values() for name in row)
    models = [name for name in names if name not in ("tensorflow", "error")]
    versions = [row.get("tensorflow", version) for version, row in rows.items()]
    lines = [f"| TensorFlow | {' | '.join(versions)} |", "|---|" + "---|" * len(versions)]
    for name in models:
        values = [row.get(name, row.get("error", "")) for row in rows.values()]
        cells = [f"{value:.1e}" if isinstance(value, float) else plain(value) for value in values]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def full() -> str:
    """Conversions with `--verify full` of models of published sizes."""
    lines = [
        "| model | texts with equal ids | embeddings or scores | difference |",
        "|---|---|---|---|",
    ]
    for name, row in result("full_verification").items():
        figures = (
            f"{row['token_id_texts']:,} | {row['embedding_texts']:,} | {row['difference']:.1e}"
        )
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines)


_SOAK: dict[str, Callable[[dict[str, Any]], str]] = {
    "requests, failures, wrong vectors": lambda f: (
        f"{f['requests']:,}, {f['failures']}, {f['wrong']}"
    ),
    "p50, ms": lambda f: f"{f['p50']:.1f}",
    "p99, ms": lambda f: f"{f['p99']:.1f} ({f['p99'] / f['p50']:.1f} × p50)",
    "one at a time: median; the first after the warm-up, ms": lambda f: (
        f"{f['single']:.1f}; {f['first']:.1f}"
    ),
    "further requests, failures, wrong vectors": lambda f: (
        f"{f['soak_requests']:,}, {f['soak_failures']}, {f['soak_wrong']}"
    ),
    "resident before and after them, MB": lambda f: (
        f"{f['resident'] / 1e6:,.0f}, {f['resident_after_soak'] / 1e6:,.0f} "
        f"({f['resident_after_soak'] / f['resident'] - 1:+.1%})"
    ),
    "requests that are garbage, refused": lambda f: (
        f"{f['garbage']}, {f['garbage_refused']}" if "garbage" in f else ""
    ),
}


def soak() -> str:
    """Servers under load."""
    figures = result("soak")
    lines = [f"| | {' | '.join(figures)} |", "|---|" + "---|" * len(figures)]
    for name, cell in _SOAK.items():
        lines.append(f"| {name} | {' | '.join(map(cell, figures.values()))} |")
    return "\n".join(lines)


def embeddings() -> str:
    """Speed against peers, from the file that `benchmarks.report` writes."""
    return (RESULTS / "embeddings.md").read_text(encoding="utf-8").strip()


def score() -> str:
    """The time of scoring documents beside that of encoding them."""
    row = result("signatures")["score"]
    cells = " | ".join(f"{row[key]:,.0f}" for key in ("encode_ms", "score_ms"))
    return "\n".join(
        [
            "| 100 documents of 180 tokens | `encode_document`, ms | `score`, ms | ratio |",
            "|---|---|---|---|",
            f"| and one query | {cells} | {row['ratio']:.2f} |",
        ]
    )


def loading() -> str:
    """The time that artifacts with further signatures take to load."""
    lines = ["| signatures | load, s | first call, s |", "|---|---|---|"]
    for name, row in result("signatures")["loading"].items():
        lines.append(f"| {name} | {row['load_s']:.2f} | {row['first_call_s']:.2f} |")
    return "\n".join(lines)


def precision() -> str:
    """How near embeddings in reduced precision are to float32's."""
    results = result("precision")
    heads = "smallest cosine | mean cosine | same nearest ten | layers in float32"
    lines = [
        f"| {results.pop('texts'):,} texts | precision | {heads} |",
        "|---|---|---|---|---|---|",
    ]
    for model, precisions in results.items():
        for name, row in precisions.items():
            lines.append(
                f"| {model} | {name} | {row['smallest_cosine']:.5f} | {row['mean_cosine']:.5f} | "
                f"{row['shared_neighbours']:.1%} | {len(row['float32_layers'])} |"
            )
    return "\n".join(lines)


def concurrency() -> str:
    """Single queries from several threads at a time."""
    lines = ["| callers | engine | calls a second | p50, ms | p99, ms |", "|---|---|---|---|---|"]
    for callers, engines in result("concurrency").items():
        for name, row in engines.items():
            cells = f"{row['calls_per_s']:,.0f} | {row['p50_ms']:,.1f} | {row['p99_ms']:,.1f}"
            lines.append(f"| {callers} | {name} | {cells} |")
    return "\n".join(lines)


def experts() -> str:
    """The time of a mixture of experts beside a dense layer of the chosen experts' size."""
    lines = ["| chosen | experts, ms | dense, ms | ratio |", "|---|---|---|---|"]
    for name, row in result("experts").items():
        lines.append(
            f"| {name} | {row['experts_ms']:,.1f} | {row['dense_ms']:,.1f} | {row['ratio']:.2f} |"
        )
    return "\n".join(lines)


def gpu() -> str:
    """Speed on a GPU; says so where it has not been measured."""
    if not (RESULTS / "gpu.json").exists():
        return "Not measured yet: `make bench-gpu` writes this table on a machine with a GPU."
    figures = result("gpu")
    cases = list(
        dict.fromkeys(
            case for row in figures["variants"].values() for case in row.get("median_ms", {})
        )
    )
    lines = [
        f"| {', '.join(figures['gpus'])}, median ms | {' | '.join(cases)} | difference |",
        "|---|" + "---|" * (len(cases) + 1),
    ]
    for name, row in figures["variants"].items():
        times = row.get("median_ms", {})
        cells = [f"{times[case]:,.1f}" if case in times else "–" for case in cases]
        last = plain(row["error"]) if "error" in row else f"{row.get('difference', 0.0):.1e}"
        lines.append(f"| {name} | {' | '.join([*cells, last])} |")
    return "\n".join([*lines, "", *_placements(figures["variants"])]).strip()


def _placements(variants: dict[str, Any]) -> list[str]:
    """Lines on where ops run, for the variants that say."""
    lines = ["| | ops | ops of strings | copies |", "|---|---|---|---|"]
    for name, row in variants.items():
        if "ops" not in row:
            continue
        cells = [
            ", ".join(f"{place}: {value}" for place, value in values.items())
            for values in (
                row["ops"],
                {place: len(kinds) for place, kinds in row["string_ops"].items()},
                row["copies"],
            )
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines if len(lines) > 2 else []


TABLES: dict[str, Callable[[], str]] = {
    "supported": supported,
    "popular": popular,
    "options": options,
    "folders": folders,
    "memory": memory,
    "sweep": sweep,
    "sweep-models": sweep_models,
    "full-verification": full,
    "older": older,
    "soak": soak,
    "embeddings": embeddings,
    "experts": experts,
    "gpu": gpu,
    "score": score,
    "loading": loading,
    "precision": precision,
    "concurrency": concurrency,
}
"""The name of a table → its Markdown."""
_TABLE = re.compile(r"(<!-- ([\w-]+): made by [^>]*-->\n).*?(<!-- \2: end -->)", re.DOTALL)


def filled(page: str) -> str:
    """A page with its tables regenerated."""
    return _TABLE.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}", page)


def main() -> None:
    """Writes the pages."""
    for path in sorted(PAGES.glob("*.md")):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
