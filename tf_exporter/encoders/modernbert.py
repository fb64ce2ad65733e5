"""ModernBERT (B. Warner et al., 2024), as `transformers.models.modernbert` 5.23: rotary positions, most layers local."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tf_exporter.encoders.attention import PreNormLayer, SelfAttention, biases_by_type
from tf_exporter.encoders.blocks import Embedding, FeedForward, LayerNorm
from tf_exporter.encoders.config import LAYER_TYPES, activation, check_heads, read_config, read_layer_types
from tf_exporter.encoders.rotary import Rotary, read_ropes_by_type, shortest
from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.weights import Weights

_THETAS = {"full_attention": ("global_rope_theta", 160_000.0), "sliding_attention": ("local_rope_theta", 10_000.0)}
_UNUSED_KEYS = frozenset(
    """
    initializer_cutoff_factor embedding_dropout mlp_dropout decoder_bias classifier_pooling classifier_bias
    classifier_activation deterministic_flash_attn sparse_prediction sparse_pred_ignore_index cls_token_id reference_compile
    repad_logits_with_grad layer_norm_eps
    """.split()
)


@dataclass(frozen=True)
class ModernBertConfig:
    """`transformers.ModernBertConfig`: the keys that change a token embedding, but for layer types and rotary positions."""

    vocab_size: int = 50368
    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    num_attention_heads: int = 12
    hidden_activation: str = "gelu"
    max_position_embeddings: int = 8192
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    local_attention: int = 128


class ModernBert(tf.Module):
    """Token ids → token embeddings [batch, length, hidden_size]."""

    config_class = ModernBertConfig
    prefix = "model"
    unused = (r"head\..*", r"decoder\..*", r"classifier\..*")

    def __init__(self, file: ConfigFile, weights: Weights):
        super().__init__()
        types = _read_layer_types(file)
        positions = file.take("max_position_embeddings", int, self.config_class.max_position_embeddings)
        ropes = read_ropes_by_type(file, _THETAS, positions, scaled=LAYER_TYPES)
        self.config = config = read_config(file, self.config_class, ignored=_UNUSED_KEYS)
        hidden, heads = config.hidden_size, config.num_attention_heads
        check_heads(file, "num_attention_heads", hidden, heads)
        if hidden // heads % 2:
            raise UnsupportedError(file.file, "num_attention_heads", heads, "heads of an even size")
        act = activation(file, "hidden_activation", config.hidden_activation)
        self.hidden_size, self.vocab_size, self.type_vocab_size = hidden, config.vocab_size, 0
        self.max_length, self.max_position_embeddings = shortest(ropes.values()), config.max_position_embeddings
        self.tok_embeddings = Embedding(weights, "embeddings.tok_embeddings", config.vocab_size, hidden)
        self.embeddings_norm = self._norm(weights, "embeddings.norm")
        self.layers = []
        for index in range(config.num_hidden_layers):
            at = f"layers.{index}"
            names = (f"{at}.mlp.Wi",)
            self.layers.append(
                PreNormLayer(
                    self._norm(weights, f"{at}.attn_norm") if index else None,
                    SelfAttention(weights, f"{at}.attn", ("Wqkv", "Wo"), hidden, heads, bias=config.attention_bias),
                    self._norm(weights, f"{at}.mlp_norm"),
                    FeedForward(
                        weights, names, f"{at}.mlp.Wo", hidden, config.intermediate_size, act, gated=True, bias=config.mlp_bias
                    ),
                )
            )
        # Not before the weights have shown that there are so many layers.
        self._types = types(config.num_hidden_layers)
        self._rotary = {name: Rotary(rope, hidden // heads) for name, rope in ropes.items()}
        self.final_norm = self._norm(weights, "final_norm")

    def _norm(self, weights: Weights, name: str) -> LayerNorm:
        return LayerNorm(weights, name, self.hidden_size, self.config.norm_eps, self.config.norm_bias)

    def counts_padding(self, pad_id: int) -> bool:
        """As in `Bert`: only distances matter."""
        return False

    def __call__(self, input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor) -> tf.Tensor:
        """int32 [batch, length] each, segments unused → float32 [batch, length, hidden_size]."""
        batch, length = tf.unstack(tf.shape(input_ids))
        x = self.embeddings_norm(tf.reshape(self.tok_embeddings(input_ids), [batch * length, self.hidden_size]))
        # Inclusive, half of the width on each side.
        biases = biases_by_type(attention_mask, causal=False, window=self.config.local_attention // 2)
        angles = {name: rotary(length) for name, rotary in self._rotary.items()}
        for name, layer in zip(self._types, self.layers):
            x = layer(x, biases[name], batch, length, angles[name])
        return tf.reshape(self.final_norm(x), [batch, length, self.hidden_size])


def _read_layer_types(file: ConfigFile) -> Callable[[int], list[str]]:
    """As listed, or every n-th in full."""
    every: int = file.take("global_attn_every_n_layers", int, 3)
    if every < 1:
        raise file.unsupported("global_attn_every_n_layers", "a number of at least 1")
    return read_layer_types(file, lambda index: index % every > 0)
