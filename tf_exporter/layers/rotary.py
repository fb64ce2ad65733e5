"""Rotation of queries and keys by rotary positions (J. Su et al., 2021)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.layers.rope import Rope

Angles = tuple[tf.Tensor, tf.Tensor]
"""Cosines and sines, float32 [length, rotated] each, where `rotated` features of a head rotate."""


class Rotary:
    """The angles of rotary positions, which rotate two halves of features against each other."""

    def __init__(self, rope: Rope):
        self._frequencies = np.array(rope.frequencies, np.float32)
        self._scaling = np.float32(rope.scaling)

    def __call__(self, length: tf.Tensor) -> Angles:
        """The angles of positions 0, 1, …, length − 1."""
        angles = tf.cast(tf.range(length), tf.float32)[:, tf.newaxis] * self._frequencies
        angles = tf.concat([angles, angles], -1)
        cosines, sines = tf.cos(angles), tf.sin(angles)
        return (
            (cosines, sines)
            if self._scaling == 1
            else (cosines * self._scaling, sines * self._scaling)
        )


def rotated(x: tf.Tensor, angles: Angles) -> tf.Tensor:
    """`x` rotated by its positions, float32 [..., length, size].

    If there are angles for fewer features than `size`, the last features stay as they are.
    """
    cosines, sines = angles
    width = cosines.shape[-1]
    if width < x.shape[-1]:
        return tf.concat([rotated(x[..., :width], angles), x[..., width:]], -1)
    first, second = tf.split(x, 2, axis=-1)
    return x * cosines + tf.concat([-second, first], -1) * sines
