"""The keys that the reference reads from each module's config, and the checks of all other keys.

In sentence-transformers 6.2, a config becomes the arguments of the module's class.
"""

from __future__ import annotations

from tf_exporter.model.config_file import ConfigFile

_WIDTHS = "embedding_dimension word_embedding_dimension "
_CNN_WIDTHS = "in_embedding_dimension in_word_embedding_dimension "
_KEYS = {
    "BoW": "vocab word_weights unknown_word_weight cumulative_term_frequency",
    "CNN": _CNN_WIDTHS + "out_channels kernel_sizes stride_sizes",
    "Dense": "in_features out_features bias activation_function init_weight init_bias use_residual "
    "module_input_name module_output_name",
    "Dropout": "dropout",
    "LSTM": _WIDTHS + "hidden_dim num_layers dropout bidirectional",
    "LayerNorm": "dimension",
    "LogitScore": "true_token_id false_token_id module_input_name",
    "MultiVectorMask": "skiplist_words skiplist_tasks keep_only_token_ids",
    "Normalize": "module_input_name module_output_name",
    "Pooling": _WIDTHS + "include_prompt pooling_mode "
    "pooling_mode_cls_token pooling_mode_max_tokens pooling_mode_mean_tokens "
    "pooling_mode_mean_sqrt_len_tokens pooling_mode_weightedmean_tokens pooling_mode_lasttoken",
    "SparseAutoEncoder": "input_dim hidden_dim k k_aux normalize dead_threshold",
    "SparseStaticEmbedding": "frozen path",
    "SpladePooling": _WIDTHS + "pooling_strategy activation_function chunk_size",
    "StaticEmbedding": "",
    "WeightedLayerPooling": _WIDTHS + "num_hidden_layers layer_start layer_weights",
    "WordEmbeddings": "tokenizer_class update_embeddings max_seq_length",
    "WordWeights": "vocab word_weights unknown_word_weight",
}
ARGUMENTS = {kind: frozenset(keys.split()) for kind, keys in _KEYS.items()}
"""Kind → the keys that its class takes, old names included."""
DROPS_OTHERS = ("Dense", "Normalize", "StaticEmbedding")
"""Kinds whose class ignores all other keys. The classes of other kinds fail on unknown keys."""


def finish(file: ConfigFile, kind: str, known: frozenset[str] = frozenset()) -> None:
    """Accounts for the keys of a module's config that were not read.

    Keys that the reference ignores are listed as ignored.

    Args:
        file: the config.
        kind: the kind of the module.
        known: keys that this package added to the config.

    Raises:
        UnsupportedError: all reasons to refuse the config: values that are not reproduced, and keys
            that the reference itself fails on.
    """
    names = ARGUMENTS[kind]
    if kind in DROPS_OTHERS:
        file.finish(reads=names.__contains__)
        return
    unknown = file.values.keys() - names - known
    supported = f"{', '.join(sorted(names))}: the reference's {kind} fails on other keys"
    for key in sorted(unknown):
        file.refuse(file.unsupported(key, supported))
    file.finish(frozenset(unknown))
