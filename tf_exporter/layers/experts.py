"""A mixture of experts: a router chooses the few feed-forward parts that compute a token."""

from __future__ import annotations

import tensorflow as tf

from tf_exporter.layers.activations import Activation
from tf_exporter.layers.basic import FeedForward, variable
from tf_exporter.model.weights import Weights


class Experts(tf.Module):
    """Σ probability · expert(x) over the most probable experts of each row, plus one bias.

    The probabilities are those of all experts, so their sum over the chosen ones is below 1. Each
    expert computes only the rows that chose it. Where two probabilities are equal but for rounding,
    the reference may choose another expert.
    """

    def __init__(
        self,
        weights: Weights,
        prefix: str,
        features: int,
        inner: int,
        experts: tuple[int, int],
        activation: Activation,
    ):
        """`experts`: their number, and how many of them compute a row.

        A checkpoint has the matrices of all experts in two tensors, `w1` and `w2`, each float32
        [experts · inner, features].
        """
        super().__init__()
        count, self._chosen = experts
        # Not a layer whose precision may be reduced: another choice of experts changes much.
        matrix = weights.take(f"{prefix}.router.layer.weight", (count, features))
        self.router = variable(matrix.T, "router")
        own = _by_expert(weights, f"{prefix}.experts.mlp", features, inner, count)
        self.experts = [
            FeedForward(
                own, (f"{index}.w1",), f"{index}.w2", features, inner, activation, bias=False
            )
            for index in range(count)
        ]
        self.bias = variable(weights.take(f"{prefix}.experts.bias", (features,)), "bias")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, features] → [rows, features]"""
        probabilities, chosen = tf.math.top_k(
            tf.nn.softmax(tf.matmul(x, self.router)), self._chosen
        )
        # A pair is a row and one of its experts; pair p belongs to row p // self._chosen.
        pairs = tf.dynamic_partition(
            tf.range(tf.size(chosen)), tf.reshape(chosen, [-1]), len(self.experts)
        )
        results = [
            expert(tf.gather(x, own // self._chosen)) for own, expert in zip(pairs, self.experts)
        ]
        by_row = tf.reshape(
            tf.dynamic_stitch(pairs, results), [tf.shape(x)[0], self._chosen, x.shape[-1]]
        )
        return tf.reduce_sum(by_row * probabilities[:, :, tf.newaxis], 1) + self.bias


def _by_expert(weights: Weights, prefix: str, features: int, inner: int, count: int) -> Weights:
    """The matrices of the experts under the names "0.w1.weight", "0.w2.weight", …, as torch's."""
    up, down = (
        weights.take(f"{prefix}.{name}", (count * inner, features)).reshape(count, inner, features)
        for name in ("w1", "w2")
    )
    return Weights.of_arrays(
        weights.file,
        {
            f"{index}.{name}.weight": matrix
            for index in range(count)
            for name, matrix in (("w1", up[index]), ("w2", down[index].T))
        },
    )
