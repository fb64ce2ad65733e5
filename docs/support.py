"""What is supported, from the same dictionaries that dispatch; writes it into the README when run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import sentence_transformers  # noqa: F401  # before TensorFlow: their copies of LLVM abort in the other order

from fixtures.popular import popular_table
from tf_exporter.architectures.activation_names import TRANSFORMERS_NAMES
from tf_exporter.architectures.registry import with_head
from tf_exporter.encoders import ENCODERS
from tf_exporter.hub.pooler import NAMES as POOLER_NAMES
from tf_exporter.model.torch_activations import TORCH_ACTIVATION_NAMES
from tf_exporter.modules import MODULES
from tf_exporter.modules.pooling import POOLING_MODES
from tf_exporter.published import LAYOUTS
from tf_exporter.routes import ROUTERS
from tf_exporter.tokenizers.spec import MODELS, NORMALIZERS, PRE_TOKENIZERS
from tf_exporter.tokenizers.templates import POST_PROCESSORS

README = Path(__file__).resolve().parent.parent / "README.md"
START, END = "<!-- supported: made by `make readme` -->", "<!-- supported: end -->"
POPULAR_START, POPULAR_END = "<!-- popular: made by `make readme` -->", "<!-- popular: end -->"
PARITY_START, PARITY_END = "<!-- parity: made by `make sweep-models` -->", "<!-- parity: end -->"
PARITY = README.parent / "tests" / "parity.json"
SWEEP_START, SWEEP_END = "<!-- sweep: made by `make sweep` -->", "<!-- sweep: end -->"
RATCHET = README.parent / "tests" / "ratchet.json"
TRAINED = "trained: "
BENCH_START, BENCH_END = "<!-- embeddings: made by `make bench` -->", "<!-- embeddings: end -->"
BENCH = README.parent / "docs" / "embeddings.md"
SERVING = README.parent / "docs" / "serving.md"
OLDER_START, OLDER_END = "<!-- older: made by `make older-tensorflow` -->", "<!-- older: end -->"
OLDER = README.parent / "docs" / "older_tensorflow.json"
SOAK_START, SOAK_END = "<!-- soak: made by `make soak` -->", "<!-- soak: end -->"
SOAK = README.parent / "docs" / "soak.json"
MODELS_PAGE = README.parent / "docs" / "models.md"
FOLDERS_START, FOLDERS_END = "<!-- folders: made by `make public-folders` -->", "<!-- folders: end -->"
MEMORY_START, MEMORY_END = "<!-- memory: made by `make memory` -->", "<!-- memory: end -->"
MEMORY = README.parent / "results" / "memory.json"
FOLDERS = README.parent / "results" / "public_folders.json"


def _names(*values: str) -> str:
    return ", ".join(f"`{value}`" for value in values)


def table() -> str:
    """Markdown rows of everything that is reproduced."""
    rows = {
        "architectures (`model_type`)": _names(*sorted(ENCODERS)),
        "published with code of their own, which is never run": _names(*sorted(LAYOUTS)),
        "cross-encoders that classify": _names(*sorted(with_head("sequence-classification"))),
        "cross-encoders by the next token (`LogitScore`)": _names(*sorted(with_head("text-generation"))),
        "masked language models, for SPLADE": _names(*sorted(with_head("fill-mask"))),
        "encoders for TensorFlow Hub ([docs/hub.md](docs/hub.md))": _names(*sorted(POOLER_NAMES)),
        "modules": _names(*sorted(MODULES), *ROUTERS),
        "pooling modes, alone or concatenated": _names(*POOLING_MODES),
        "Dense activations (`torch.nn`)": _names(*sorted([*TORCH_ACTIVATION_NAMES, "PReLU"])),
        "encoder activations": _names(*sorted(TRANSFORMERS_NAMES)),
        "tokenizer models": _names(*MODELS),
        "normalizers": _names(*NORMALIZERS),
        "pre-tokenizers": _names(*PRE_TOKENIZERS),
        "post-processors": _names(*POST_PROCESSORS),
        "weights": "safetensors and `pytorch_model.bin`, single and sharded, in float32, float16, bfloat16, float64; "
        "Google's BERT checkpoints",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {values} |" for name, values in rows.items())])


def sweep_table() -> str:
    """Markdown rows of what `make sweep` last compared."""
    rows = json.loads(RATCHET.read_text(encoding="utf-8"))
    trained = [found for name, found in rows.items() if name.startswith(TRAINED)]
    shown = {name: found for name, found in rows.items() if not name.startswith(TRAINED)}
    shown[f"{len(trained)} kinds of small tokenizers, trained on the spot, 3 of each"] = {
        key: sum(found[key] for found in trained) for key in ("texts", "equal")
    }
    lines = ["| tokenizer | ops | texts | mismatches |", "|---|---|---|---|"]
    for name, found in shown.items():
        name, _, ops = name.partition(", tensorflow-")
        ops = f"tensorflow-{ops}" if ops else "core"
        lines.append(f"| {name} | {ops} | {found['texts']:,} | {found['texts'] - found['equal']:,} |")
    return "\n".join(lines)


def parity_table() -> str:
    """Markdown rows of what `make sweep-models` last compared."""
    lines = [
        "| architecture | models | embeddings | largest difference | models with a head of transformers | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in sorted(json.loads(PARITY.read_text(encoding="utf-8")).items()):
        over = f" ({found['over']} over 1e-5)" if found["over"] else ""
        pooled = f"{found['models']} | {found['embeddings']:,} | {found['max_abs_difference']:.1e}{over}"
        headed = f"{found['head_models']} | {found['head_max_abs_difference']:.1e}" if found["head_models"] else "none | "
        lines.append(f"| `{name}` | {pooled} | {headed} |")
    return "\n".join(lines)


def older_table() -> str:
    """Markdown rows of what `make older-tensorflow` last compared: TensorFlow × artifacts."""
    figures = json.loads(OLDER.read_text(encoding="utf-8"))
    models = [name for name in next(iter(figures.values())) if name != "tensorflow"]
    lines = ["| TensorFlow | " + " | ".join(models) + " |", "|---|" + "---|" * len(models)]
    for found in figures.values():
        cells = (f"{found[name]:.1e}" if isinstance(found[name], float) else found[name] for name in models)
        lines.append(f"| {found['tensorflow']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def soak_table() -> str:
    """Markdown rows of what `make soak` last measured: figures × ways to serve."""
    figures = json.loads(SOAK.read_text(encoding="utf-8"))
    rows = {
        "requests, failures, wrong vectors": lambda f: f"{f['requests']:,}, {f['failures']}, {f['wrong']}",
        "p50, ms": lambda f: f"{f['p50']:.1f}",
        "p99, ms": lambda f: f"{f['p99']:.1f} ({f['p99'] / f['p50']:.1f} × p50)",
        "one at a time: median; the first after the warm-up, ms": lambda f: f"{f['single']:.1f}; {f['first']:.1f}",
        "further requests, failures, wrong vectors": lambda f: f"{f['soak_requests']:,}, {f['soak_failures']}, {f['soak_wrong']}",
        "resident before and after them, MB": lambda f: (
            f"{f['resident'] / 1e6:,.0f}, {f['resident_after_soak'] / 1e6:,.0f} "
            f"({f['resident_after_soak'] / f['resident'] - 1:+.1%})"
        ),
        "requests that are garbage, refused": lambda f: f"{f['garbage']}, {f['garbage_refused']}" if "garbage" in f else "",
    }
    lines = ["| | " + " | ".join(figures) + " |", "|---|" + "---|" * len(figures)]
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(map(row, figures.values())) + " |" for name, row in rows.items())])


def converted_folders() -> set[str]:
    """The public folders that `make public-folders` last converted."""
    results = json.loads(FOLDERS.read_text(encoding="utf-8"))
    return {name for name, found in results.items() if found["outcome"] == "converted"}


def folders_table() -> str:
    """Markdown rows of what `make public-folders` last found: the public folders, and what became of each."""
    lines = ["| folder | kind | outcome | difference, ignored keys, or reason |", "|---|---|---|---|"]
    for name, found in json.loads(FOLDERS.read_text(encoding="utf-8")).items():
        if found["outcome"] == "converted":
            told = f"{found['difference']:.1e}" + "".join(f", `{key}`" for key in found["ignored"])
        else:
            told = found["reason"].replace("|", "\\|")
        lines.append(f"| {name} | {found['kind']} | {found['outcome']} | {told} |")
    return "\n".join(lines)


def memory_table() -> str:
    """What `make memory` last measured: how it was measured, and Markdown rows of models."""
    lines = [
        "Peak memory is that of all processes together, on 2 cores. 2.5 times the weights and 2 GiB are allowed.",
        "",
        "| tokens | weights, GB | peak, GB | allowed, GB | peak without verification, GB | seconds | of them verification |",
        "|---|---|---|---|---|---|---|",
    ]
    notes = []
    for name, found in json.loads(MEMORY.read_text(encoding="utf-8")).items():
        sizes = (found[key] / 1e9 for key in ("weights", "most", "allowed", "most_without_verification"))
        seconds = found["seconds_with_verification"]
        of = f"{int(name):,}" if name.isdigit() else "512, XLM-RoBERTa-large's size"
        cells = [of, *(f"{size:.2f}" for size in sizes), f"{seconds:.0f}", f"{seconds - found['seconds']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
        if found["verification"]["longest"]:
            notes.append(f"{of}: {found['verification']['longest']}.")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def updated_models(page: str) -> str:
    """docs/models.md with its tables made anew."""
    return _filled(page, ((MEMORY_START, MEMORY_END, memory_table()), (FOLDERS_START, FOLDERS_END, folders_table())))


def updated(readme: str) -> str:
    """The README with its tables made anew."""
    parts = (
        (START, END, table()),
        (POPULAR_START, POPULAR_END, popular_table(converted_folders())),
        (PARITY_START, PARITY_END, parity_table()),
        (SWEEP_START, SWEEP_END, sweep_table()),
        (BENCH_START, BENCH_END, BENCH.read_text(encoding="utf-8").strip()),
    )
    return _filled(readme, parts)


def updated_serving(page: str) -> str:
    """docs/serving.md with its tables made anew."""
    return _filled(page, ((OLDER_START, OLDER_END, older_table()), (SOAK_START, SOAK_END, soak_table())))


def _filled(page: str, parts: Iterable[tuple[str, str, str]]) -> str:
    for start, end, content in parts:
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}\n\n{content}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
    MODELS_PAGE.write_text(updated_models(MODELS_PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    SERVING.write_text(updated_serving(SERVING.read_text(encoding="utf-8")), encoding="utf-8")
