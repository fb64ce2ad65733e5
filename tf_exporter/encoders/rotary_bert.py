"""BERT with rotary positions: the skeleton of NomicBERT, GTE and Jina's third embeddings, which differ in names and biases."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tf_exporter.encoders.attention import PostNormLayer, SelfAttention, padding_bias
from tf_exporter.encoders.blocks import Embedding, FeedForward, LayerNorm
from tf_exporter.encoders.config import activation, check_heads, read_config
from tf_exporter.encoders.rotary import Rotary, read_flat_rope
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights


@dataclass(frozen=True)
class RotaryBertConfig:
    """The keys that change a token embedding, but for the size of a head and the rotary positions."""

    vocab_size: int = 30528
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    max_position_embeddings: int = 8192
    type_vocab_size: int = 1


@dataclass(frozen=True)
class Names:
    """What a checkpoint calls the parts of a layer; layers that are joined, query, key and value or both halves, in order."""

    embeddings_norm: str
    layer: str
    attention: tuple[str, ...]
    attention_norm: str
    up: tuple[str, ...]
    """Where gated, what the activation is for comes last."""
    down: str
    output_norm: str


QKVO = tuple(f"self_attn.{name}_proj" for name in "qkvo")


class RotaryBert(tf.Module):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class: type[RotaryBertConfig] = RotaryBertConfig
    prefix: str | tuple[str, ...]
    unused = (r"pooler\..*", r"lm_head\..*", r"cls\..*", r"classifier\..*", r"qa_outputs\..*")
    names: tuple[Names, ...]
    """Those of the published checkpoints, which transformers writes too, and those of its own class."""
    theta: float
    """The base of the rotary positions where the config names none."""
    gated = True
    attention_bias = True
    up_bias = False
    down_bias = True

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__()
        positions = file.take("max_position_embeddings", int, self.config_class.max_position_embeddings)
        rope = read_flat_rope(file, self.theta, positions)
        size: int | None = file.take("head_dim", (int, type(None)))
        self.config = config = read_config(file, self.config_class)
        hidden = config.hidden_size
        if size is None:
            check_heads(file, "num_attention_heads", hidden, config.num_attention_heads)
            size = hidden // config.num_attention_heads
        if size < 2 or size % 2:
            raise UnsupportedError(file.file, "head_dim", size, "heads of an even size")
        self.hidden_size, self.vocab_size, self.type_vocab_size = hidden, config.vocab_size, config.type_vocab_size
        self.max_length, self.max_position_embeddings = rope.max_length, config.max_position_embeddings
        names = next((names for names in self.names if f"{names.layer.format(0)}.{names.output_norm}.weight" in weights), None)
        names = names or self.names[0]
        self.word_embeddings = Embedding(weights, "embeddings.word_embeddings", config.vocab_size, hidden)
        self.token_type_embeddings = None
        if config.type_vocab_size:
            self.token_type_embeddings = Embedding(weights, "embeddings.token_type_embeddings", config.type_vocab_size, hidden)
        self.embeddings_norm = LayerNorm(weights, names.embeddings_norm, hidden, config.layer_norm_eps)
        act = activation(file, "hidden_act", config.hidden_act)
        self.layers = []
        for index in range(config.num_hidden_layers):
            at = names.layer.format(index)
            self.layers.append(
                PostNormLayer(
                    SelfAttention(
                        weights, at, names.attention, hidden, config.num_attention_heads, size=size, bias=self.attention_bias
                    ),
                    LayerNorm(weights, f"{at}.{names.attention_norm}", hidden, config.layer_norm_eps),
                    FeedForward(
                        weights,
                        tuple(f"{at}.{name}" for name in names.up),
                        f"{at}.{names.down}",
                        hidden,
                        config.intermediate_size,
                        act,
                        gated=self.gated,
                        gate_first=False,
                        bias=self.up_bias,
                        down_bias=self.down_bias,
                    ),
                    LayerNorm(weights, f"{at}.{names.output_norm}", hidden, config.layer_norm_eps),
                )
            )
        # Not before the weights have shown that heads are of this size.
        self._rotary = Rotary(rope, size)

    def counts_padding(self, pad_id: int) -> bool:
        """As in `Bert`: only distances matter."""
        return False

    def __call__(self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] each → float32 [batch, length, hidden_size]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = self.word_embeddings(input_ids)
        if self.token_type_embeddings is not None:
            x += self.token_type_embeddings(token_type_ids)
        x = self.embeddings_norm(tf.reshape(x, [batch * length, self.hidden_size]))
        bias, angles = padding_bias(attention_mask), self._rotary(length)
        for layer in self.layers:
            x = layer(x, bias, batch, length, angles)
        return tf.reshape(x, [batch, length, self.hidden_size])
