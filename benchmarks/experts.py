"""The time of a mixture of experts beside dense layers: `python -m benchmarks.experts`.

The sizes are those of nomic-embed-text-v2-moe: 768 features, and eight experts of 3,072. A layer of
k chosen experts is compared with one dense layer of k · 3,072, which does the same arithmetic. Both
have random weights. They take turns in one process, and the least time of each counts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_exporter.layers.activations import TRANSFORMERS_ACTIVATIONS
from tf_exporter.layers.basic import FeedForward
from tf_exporter.layers.experts import Experts
from tf_exporter.model.weights import Weights

RESULT = Path(__file__).resolve().parents[1] / "results" / "experts.json"
FEATURES, INNER, EXPERTS = 768, 3072, 8
CHOSEN = (1, 2, 4, 8)
TOKENS = (64, 512, 4096)

Layer = Callable[[tf.Tensor], tf.Tensor]


def weights() -> Weights:
    """Random tensors of a layer of experts, and of a dense layer for each number in `CHOSEN`."""
    random_ = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "router.layer.weight": (EXPERTS, FEATURES),
        "experts.mlp.w1": (EXPERTS * INNER, FEATURES),
        "experts.mlp.w2": (EXPERTS * INNER, FEATURES),
        "experts.bias": (FEATURES,),
    }
    for chosen in CHOSEN:
        shapes |= {
            f"{chosen}.up.weight": (chosen * INNER, FEATURES),
            f"{chosen}.up.bias": (chosen * INNER,),
            f"{chosen}.down.weight": (FEATURES, chosen * INNER),
            f"{chosen}.down.bias": (FEATURES,),
        }

    def drawn(shape: tuple[int, ...]) -> Callable[[], np.ndarray]:
        return lambda: 0.05 * random_.standard_normal(shape, np.float32)

    return Weights("weights", {f"mlp.{name}": drawn(shape) for name, shape in shapes.items()})


def layers(chosen: int) -> tuple[Layer, Layer]:
    """A layer of experts, of which `chosen` compute a token, and a dense layer of that size."""
    act, tensors = TRANSFORMERS_ACTIVATIONS["gelu"], weights()
    sparse = Experts(tensors, "mlp", FEATURES, INNER, (EXPERTS, chosen), act)
    dense = FeedForward(
        tensors, (f"mlp.{chosen}.up",), f"mlp.{chosen}.down", FEATURES, chosen * INNER, act
    )
    signature = [tf.TensorSpec([None, FEATURES])]
    return (
        tf.function(sparse.__call__, input_signature=signature, autograph=False),
        tf.function(dense.__call__, input_signature=signature, autograph=False),
    )


def measure(chosen: int, tokens: int, rounds: int) -> dict[str, float]:
    """The least milliseconds of both layers, and their ratio."""
    names = ("experts_ms", "dense_ms")
    pair = layers(chosen)
    x = tf.random.stateless_normal([tokens, FEATURES], [chosen, tokens])
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 2):
        for name, layer in zip(names, pair):
            begin = time.perf_counter()
            layer(x)[0, 0].numpy()
            if turn >= 2:  # the first calls trace and allocate
                times[name].append(1000 * (time.perf_counter() - begin))
    least = {name: min(values) for name, values in times.items()}
    return {**least, "ratio": least["experts_ms"] / least["dense_ms"]}


def main() -> None:
    """Writes the figures, which `tools.tables` makes a table of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="turns of each layer")
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    for chosen in CHOSEN:
        for tokens in TOKENS:
            row = measure(chosen, tokens, options.rounds)
            figures[f"{chosen} of {EXPERTS}, {tokens:,} tokens"] = row
            print(f"{chosen} of {EXPERTS}, {tokens:,} tokens: {row['ratio']:.2f}", flush=True)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
