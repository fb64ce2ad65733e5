"""The variants of the GPU benchmark, and what is measured in the process of one."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_exporter.names import simple_name

TENSORFLOW, SENTENCE_TRANSFORMERS = "tf-exporter", "sentence-transformers"
CASE_S, MOST_CALLS = 1.0, 30
"""Seconds and calls of a case, after two calls that warm up."""
_COPIES = ("_Send", "_HostSend")


@dataclass(frozen=True)
class Variant:
    """One way to compute embeddings."""

    name: str
    engine: str
    options: dict[str, Any]
    """Of the conversion; for sentence-transformers `precision` alone."""
    tf32: bool = True
    """Whether products of float32 may round their factors to 10 bits. TensorFlow does by itself."""
    xla: bool = False
    """Whether TensorFlow compiles the parts of the graph that XLA can (`TF_XLA_FLAGS`)."""

    @property
    def artifact(self) -> str:
        """The folder's name, the same for variants that share an artifact."""
        return simple_name(
            "-".join(f"{key}_{value}" for key, value in sorted(self.options.items()))
        )


def versions() -> dict[str, Any]:
    """The GPUs, and the versions of the libraries."""
    from importlib.metadata import version

    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "") for gpu in gpus]
    packages = ("tensorflow", "torch", "sentence-transformers", "transformers")
    return {"gpus": names, "versions": {name: version(name) for name in packages}}


def measured(
    variant: Variant, folder: Path, cases: dict[str, list[str]], device: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The figures of a variant, and its embeddings of each case."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    if variant.xla:
        os.environ["TF_XLA_FLAGS"] = "--tf_xla_auto_jit=2" + (
            " --tf_xla_cpu_global_jit" if device == "cpu" else ""
        )
    row: dict[str, Any] = {"median_ms": {}, "minimum_ms": {}, "first_s": {}}
    started = time.perf_counter()
    load = _tensorflow if variant.engine == TENSORFLOW else _sentence_transformers
    encode, facts = load(variant, folder, device)
    row["load_s"] = time.perf_counter() - started
    embeddings = {}
    for case, texts in cases.items():
        called = time.perf_counter()
        # Chooses algorithms; compiles, with XLA.
        embeddings[case] = encode(texts)
        row["first_s"][case] = time.perf_counter() - called
        encode(texts)
        times: list[float] = []
        while len(times) < MOST_CALLS and sum(times) < CASE_S:
            called = time.perf_counter()
            encode(texts)
            times.append(time.perf_counter() - called)
        row["median_ms"][case] = float(np.median(times)) * 1e3
        row["minimum_ms"][case] = min(times) * 1e3
    row.update(facts())
    return row, embeddings


Encode = Callable[[list[str]], np.ndarray]
Facts = Callable[[], dict[str, Any]]
"""Gives further figures, at the end."""


def _tensorflow(variant: Variant, folder: Path, device: str) -> tuple[Encode, Facts]:
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(variant.tf32)
    # For --embeddings-on-cpu.
    placed = tf.saved_model.LoadOptions(experimental_variable_policy="save_variable_devices")
    graph = tf.saved_model.load(str(folder), options=placed)
    serve = graph.signatures["serving_default"]

    def encode(texts: list[str]) -> np.ndarray:
        embeddings: np.ndarray = serve(input_sequence=tf.constant(texts))[
            "sentence_embedding"
        ].numpy()
        return embeddings

    # TensorFlow tells where ops are placed at the first call alone. A fixed shape takes so many.
    placement = _placement(lambda: encode([""] * variant.options.get("batch_size", 1)))

    def facts() -> dict[str, Any]:
        if device == "cpu":
            return placement
        return {**placement, "peak_bytes": tf.config.experimental.get_memory_info("GPU:0")["peak"]}

    encode.keep = graph  # type: ignore[attr-defined]
    return encode, facts


def _placement(call: Callable[[], Any]) -> dict[str, Any]:
    """Where ops run: the number of ops of a device, the devices of ops of strings, and copies.

    Ops in the body of a loop count once.
    """
    from tensorflow.python.eager import context

    context.context().enable_run_metadata()
    call()
    metadata = context.context().export_run_metadata()
    context.context().disable_run_metadata()
    ops: Counter[str] = Counter()
    strings: dict[str, set[str]] = {}
    copies: Counter[str] = Counter()
    for graph in metadata.partition_graphs:
        for node in graph.node:
            device = node.device.rpartition("/device:")[2] or "unknown"
            ops[device] += 1
            if node.op in _COPIES:
                source, target = (
                    node.attr[key].s.decode().rpartition("/device:")[2]
                    for key in ("send_device", "recv_device")
                )
                if source != target:
                    copies[f"{source} to {target}"] += 1
            # Ops of strings are named for them, but for those that take any type.
            elif node.op.startswith(("String", "Unicode", "RegexReplace", "Lookup")):
                strings.setdefault(device, set()).add(node.op)
    return {
        "ops": dict(ops),
        "string_ops": {device: sorted(names) for device, names in strings.items()},
        "copies": dict(copies),
    }


def _sentence_transformers(variant: Variant, folder: Path, device: str) -> tuple[Encode, Facts]:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_float32_matmul_precision("high" if variant.tf32 else "highest")
    dtype = getattr(torch, variant.options.get("precision", "float32"))
    place = "cuda" if device == "gpu" else "cpu"
    model = SentenceTransformer(str(folder), device=place, model_kwargs={"dtype": dtype})
    # The largest batch that pays on a GPU; texts are sorted by length.
    size = 256

    def encode(texts: list[str]) -> np.ndarray:
        embeddings: np.ndarray = model.encode(texts, batch_size=size, show_progress_bar=False)
        return embeddings.astype(np.float32)

    def facts() -> dict[str, Any]:
        return {"peak_bytes": torch.cuda.max_memory_allocated()} if device == "gpu" else {}

    return encode, facts
