"""The named tensors that flow from module to module, as in sentence-transformers."""

from __future__ import annotations

import tensorflow as tf

Features = dict[str, tf.Tensor]
"""`input_ids`, `attention_mask`, `token_type_ids` int32 [batch, length]; `prompt_length` int32 [];
`token_embeddings` float32 [batch, length, hidden]; `sentence_embedding` float32 [batch, dim];
`causal_logits` float32 [batch, 1, vocab]; `scores` float32 [batch, labels].

Models of words also have `sentence_lengths` int32 [batch] and `token_weights_sum` float32 [batch].
An encoder can add `all_layer_embeddings` float32 [layers, batch, length, hidden].
"""
