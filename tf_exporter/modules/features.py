"""What flows from module to module, named tensors as in sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

Features = dict[str, tf.Tensor]
"""`input_ids`, `attention_mask`, `token_type_ids` int32 [batch, length]; `prompt_length` int32 [];
`token_embeddings` float32 [batch, length, hidden]; `sentence_embedding` float32 [batch, dim];
`causal_logits` float32 [batch, 1, vocab]; `scores` float32 [batch, labels];
of words also `sentence_lengths` int32 [batch], `token_weights_sum` float32 [batch];
of an encoder that gives its layers, `all_layer_embeddings` float32 [layers, batch, length, hidden]."""

Module = Callable[[Features], Features]
