"""DeBERTa-v2 and v3 (P. He et al., 2020), as `transformers.models.deberta_v2` 5.23: BERT's layers, in which content also
looks at distances and distances at content.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from tf_exporter.encoders.attention import PostNormLayer, SelfAttention, padding_bias
from tf_exporter.encoders.bert import LayersConfig
from tf_exporter.encoders.blocks import Embedding, FeedForward, LayerNorm, Linear, variable
from tf_exporter.encoders.config import activation, check_heads, read_config
from tf_exporter.encoders.rotary import Angles
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.tokenizers.tables import graph_constant
from tf_exporter.weights import Weights

_KINDS = ("c2p", "p2c")
"""Content looks at positions, positions look at content."""
_FARTHEST = 2**20
"""Where the table of distances ends at the latest."""
_WIDEST_KERNEL = 63
_UNUSED_KEYS = frozenset("legacy padding_idx pooler_dropout pooler_hidden_act pooler_hidden_size cls_dropout".split())


@dataclass(frozen=True)
class DebertaV2Config(LayersConfig):
    """`transformers.DebertaV2Config` and what its model asks for besides: the keys that change a token embedding."""

    vocab_size: int = 128100
    hidden_size: int = 1536
    num_hidden_layers: int = 24
    num_attention_heads: int = 24
    intermediate_size: int = 6144
    layer_norm_eps: float = 1e-7
    max_position_embeddings: int = field(default=512, metadata={"most": _FARTHEST})
    type_vocab_size: int = field(default=0, metadata={"least": 0})
    position_biased_input: bool = True
    relative_attention: bool = False
    max_relative_positions: int = field(default=-1, metadata={"least": -1, "most": _FARTHEST})
    position_buckets: int = field(default=-1, metadata={"least": -1})
    share_att_key: bool = False
    conv_kernel_size: int = field(default=0, metadata={"least": 0, "most": _WIDEST_KERNEL})
    conv_groups: int = 1
    conv_act: str = "tanh"


class DebertaV2(tf.Module):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class = DebertaV2Config
    prefix = "deberta"
    unused = (
        r"embeddings\.position_(ids|embeddings\.weight)",  # in checkpoints without position_biased_input as well
        r"pooler\..*",
        r"(cls|lm_predictions|mask_predictions)\..*",
        r"classifier\..*",
        r"qa_outputs\..*",
    )

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__()
        kinds, normed = _read_kinds(file), _read_norm(file)
        width, head_size = (file.take(key, int) for key in ("embedding_size", "attention_head_size"))
        file.require("z_steps", (0,))
        self.config = config = read_config(file, self.config_class, ignored=_UNUSED_KEYS)
        hidden, heads, eps = config.hidden_size, config.num_attention_heads, config.layer_norm_eps
        check_heads(file, "num_attention_heads", hidden, heads)
        if head_size is not None and head_size != hidden // heads:
            raise UnsupportedError(
                file.file, "attention_head_size", head_size, f"{hidden // heads}, the hidden size over the heads"
            )
        act = activation(file, "hidden_act", config.hidden_act)
        self.hidden_size, self.vocab_size, self.type_vocab_size = hidden, config.vocab_size, config.type_vocab_size
        self.max_position_embeddings = config.max_position_embeddings
        self.max_length = self.max_position_embeddings if config.position_biased_input else None
        self._embeddings(weights, hidden if width is None else width)
        distances = self._distances(file, weights, normed)
        self.layers = []
        for index in range(config.num_hidden_layers):
            at = f"encoder.layer.{index}"
            self.layers.append(
                PostNormLayer(
                    DisentangledAttention(weights, f"{at}.attention", hidden, heads, kinds, distances, config.share_att_key),
                    LayerNorm(weights, f"{at}.attention.output.LayerNorm", hidden, eps),
                    FeedForward(
                        weights, (f"{at}.intermediate.dense",), f"{at}.output.dense", hidden, config.intermediate_size, act
                    ),
                    LayerNorm(weights, f"{at}.output.LayerNorm", hidden, eps),
                )
            )
        self.conv = Convolution(file, weights, config) if config.conv_kernel_size else None

    def _embeddings(self, weights: Weights, width: int) -> None:
        config, hidden = self.config, self.hidden_size
        self.word_embeddings = Embedding(weights, "embeddings.word_embeddings", config.vocab_size, width)
        self.position_embeddings = self.token_type_embeddings = self.embed_proj = None
        if config.position_biased_input:
            rows = config.max_position_embeddings
            self.position_embeddings = Embedding(weights, "embeddings.position_embeddings", rows, width)
        if config.type_vocab_size:
            rows = config.type_vocab_size
            self.token_type_embeddings = Embedding(weights, "embeddings.token_type_embeddings", rows, width)
        if width != hidden:
            self.embed_proj = Linear(weights, ("embeddings.embed_proj",), width, hidden, bias=False)
        self.embeddings_norm = LayerNorm(weights, "embeddings.LayerNorm", hidden, config.layer_norm_eps)

    def _distances(self, file: ConfigFile, weights: Weights, normed: bool) -> np.ndarray | None:
        """float32 [rows, hidden]: an embedding for each bucket of distances; sets which distance has which."""
        config = self.config
        norm = LayerNorm(weights, "encoder.LayerNorm", self.hidden_size, config.layer_norm_eps) if normed else None
        if not config.relative_attention:
            return None
        buckets, farthest = config.position_buckets, config.max_relative_positions
        farthest = farthest if farthest > 0 else config.max_position_embeddings
        if buckets > 0 and not 1 <= buckets // 2 < farthest - 1:
            supported = f"2 to {2 * farthest - 3}, for distances up to {farthest}"
            raise UnsupportedError(file.file, "position_buckets", buckets, supported)
        span = buckets if buckets > 0 else farthest
        table = weights.take("encoder.rel_embeddings.weight", (2 * span, self.hidden_size))
        rows = distance_rows(buckets, farthest)
        self._farthest = len(rows) // 2
        self._rows = graph_constant(rows)
        return table if norm is None else norm(tf.constant(table)).numpy()

    def counts_padding(self, pad_id: int) -> bool:
        """As in `Bert`."""
        return self.config.position_biased_input

    def __call__(self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] each → float32 [batch, length, hidden_size]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = self.word_embeddings(input_ids)
        if self.position_embeddings is not None:
            x += self.position_embeddings.first(length)
        if self.token_type_embeddings is not None:
            x += self.token_type_embeddings(token_type_ids)
        x = tf.reshape(x, [batch * length, x.shape[-1]])
        x = embedded = self.embeddings_norm(x if self.embed_proj is None else self.embed_proj(x))
        bias = padding_bias(attention_mask)
        rows = self._rows_of_columns(length) if self.config.relative_attention else None
        for index, layer in enumerate(self.layers):
            x = layer(x, bias, batch, length, rows)
            if index == 0 and self.conv is not None:
                x = self.conv(embedded, x, attention_mask)
        return tf.reshape(x, [batch, length, self.hidden_size])

    def _rows_of_columns(self, length: tf.Tensor) -> Angles:
        """int32 [2 · length] twice: the rows of the table for what `sheared` will take, by query and by key."""
        distance = tf.range(2 * length) - (length - 1)
        distance = tf.clip_by_value(distance, -self._farthest, self._farthest)
        return tf.gather(self._rows, self._farthest - distance), tf.gather(self._rows, self._farthest + distance)


class DisentangledAttention(SelfAttention):
    """query · key + query · its distance to the key + key · the query's distance to it."""

    def __init__(
        self,
        weights: Weights,
        at: str,
        features: int,
        heads: int,
        kinds: tuple[str, ...],
        distances: np.ndarray | None,
        share: bool,
    ):
        """`distances`: [rows, features], or None without relative attention; `share`: seen through the tokens' own layers."""
        names = ("self.query_proj", "self.key_proj", "self.value_proj", "output.dense")
        # In the reference the kinds count even where there is no relative attention.
        scale = (features // heads * (1 + len(kinds))) ** -0.5
        super().__init__(weights, at, names, features, heads, scale=scale)
        self.distance_keys = self.distance_queries = None
        if distances is None:
            return

        def seen(part: int, name: str, scale: float = 1.0) -> tf.Variable:
            """float32 [heads, rows, size]: the same for every text, so computed once."""
            shared = self.query_key_value
            if share and shared.bias is not None:
                columns = slice(part * features, (part + 1) * features)
                weight, bias = shared.weight.numpy()[:, columns], shared.bias.numpy()[columns]
            else:
                weight = weights.take(f"{at}.self.{name}.weight", (features, features)).T
                bias = weights.take(f"{at}.self.{name}.bias", (features,))
            by_head = ((distances @ weight + bias) * np.float32(scale)).reshape(-1, heads, features // heads)
            return variable(by_head.transpose(1, 0, 2), name)

        if "c2p" in kinds:
            self.distance_keys = seen(1, "pos_key_proj")
        if "p2c" in kinds:
            self.distance_queries = seen(0, "pos_query_proj", scale)

    def __call__(
        self, x: tf.Tensor, bias: tf.Tensor, batch: tf.Tensor, length: tf.Tensor, angles: Angles | None = None
    ) -> tf.Tensor:
        """As `SelfAttention`; `angles`: the rows of distances by query and by key, from `_rows_of_columns`."""
        rows_of_query, rows_of_key = angles or (None, None)
        joined = tf.reshape(self.query_key_value(x), [batch, length, 3, self._heads, self._size])
        query, key, value = tf.unstack(tf.transpose(joined, [2, 0, 3, 1, 4]), num=3)
        query *= self._scale
        scores = tf.matmul(query, key, transpose_b=True)
        if self.distance_keys is not None:
            of_query = tf.gather(self.distance_keys, rows_of_query, axis=1)
            scores += sheared(tf.matmul(query, of_query, transpose_b=True))
        if self.distance_queries is not None:
            of_key = tf.gather(self.distance_queries, rows_of_key, axis=1)
            scores += tf.linalg.matrix_transpose(sheared(tf.matmul(key, of_key, transpose_b=True)))
        mixed = tf.matmul(tf.nn.softmax(scores + bias), value)
        return self.output(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * length, self._heads * self._size]))


class Convolution(tf.Module):
    """Of the embeddings, added after the first layer; its input is zero at padding, so that none leaks in."""

    def __init__(self, file: ConfigFile, weights: Weights, config: DebertaV2Config):
        super().__init__()
        size, groups, hidden = config.conv_kernel_size, config.conv_groups, config.hidden_size
        if size % 2 == 0:
            raise UnsupportedError(file.file, "conv_kernel_size", size, "an odd number, or 0 for none")
        if hidden % groups:
            raise UnsupportedError(file.file, "conv_groups", groups, f"a divisor of the hidden size {hidden}")
        self._activation = activation(file, "conv_act", config.conv_act)
        each = hidden // groups
        grouped = weights.take("encoder.conv.conv.weight", (hidden, each, size)).transpose(2, 1, 0)
        kernel = np.zeros((size, hidden, hidden), np.float32)
        for start in range(0, hidden, each):
            kernel[:, start : start + each, start : start + each] = grouped[:, :, start : start + each]
        self.weight = variable(kernel, "weight")
        self.bias = variable(weights.take("encoder.conv.conv.bias", (hidden,)), "bias")
        self.norm = LayerNorm(weights, "encoder.conv.LayerNorm", hidden, config.layer_norm_eps)

    def __call__(self, embedded: tf.Tensor, x: tf.Tensor, attention_mask: tf.Tensor) -> tf.Tensor:
        """[batch · length, features] of the embeddings and of the first layer → like them."""
        present = tf.cast(attention_mask, tf.float32)[:, :, tf.newaxis]
        shape = tf.concat([tf.shape(attention_mask), [embedded.shape[-1]]], 0)
        found = tf.nn.conv1d(tf.reshape(embedded, shape) * present, self.weight, stride=1, padding="SAME")
        found = tf.reshape(tf.nn.bias_add(found, self.bias), tf.shape(x))
        return self.norm(x + self._activation(found))


def sheared(x: tf.Tensor) -> tf.Tensor:
    """float32 [..., length, 2 · length], of which row r's column c is about place r + c − length + 1 → [..., length, length]
    by place: each row one further to the left than the one above it. Two copies, where a gather looks up every number.
    """
    shape = tf.shape(x)
    lead, length = shape[:-2], shape[-2]
    narrower = tf.maximum(2 * length - 1, 0)
    flat = tf.reshape(x, tf.concat([lead, [2 * length * length]], 0))[..., : length * narrower]
    return tf.reshape(flat, tf.concat([lead, [length, narrower]], 0))[..., length - 1 :]


def distance_rows(buckets: int, farthest: int) -> np.ndarray:
    """int32 [2 · n + 1]: the row of the table for each distance, query's place less key's, from −n to n; beyond as at the ends.

    Above half of the `buckets` they grow as logarithms do; without buckets there is a row for each distance below `farthest`.
    """
    span = buckets if buckets > 0 else farthest
    distance = np.arange(_FARTHEST + 1)
    if buckets > 0:
        half = buckets // 2
        # float32 at every step, as the reference computes it: its rounding decides where a bucket ends.
        ratio = _log(np.maximum(distance, half) / half) / _log(np.array((farthest - 1) / half))
        bucket = np.where(distance <= half, distance, np.ceil(ratio * np.float32(half - 1)).astype(np.int64) + half)
    else:
        bucket = distance
    last = int(np.argmax(np.minimum(bucket, span) == min(bucket[-1], span)))
    bucket = bucket[: last + 1]
    rows: np.ndarray = np.clip(np.concatenate([-bucket[:0:-1], bucket]) + span, 0, 2 * span - 1).astype(np.int32)
    return rows


def _log(x: np.ndarray) -> np.ndarray:
    return np.log(x.astype(np.float32).astype(np.float64)).astype(np.float32)


def _read_kinds(file: ConfigFile) -> tuple[str, ...]:
    """`pos_att_type`: a list, or a string with |."""
    value = file.take("pos_att_type", (str, list, type(None)))
    # As the reference: only a string may be in capitals.
    names = [part.strip() for part in value.lower().split("|")] if isinstance(value, str) else value or []
    if any(name not in (*_KINDS, "") for name in names):
        raise UnsupportedError(file.file, "pos_att_type", value, _KINDS)
    return tuple(kind for kind in _KINDS if kind in names)


def _read_norm(file: ConfigFile) -> bool:
    """Whether the table of distances is normalized."""
    value = file.take("norm_rel_ebd", str, "none")
    names = [part.strip() for part in value.lower().split("|")]
    if any(name not in ("layer_norm", "none", "") for name in names):
        raise UnsupportedError(file.file, "norm_rel_ebd", value, ("layer_norm", "none"))
    return "layer_norm" in names
