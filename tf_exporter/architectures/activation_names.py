"""Names of activation functions in configs. `layers/activations.py` has the functions."""

from __future__ import annotations

TRANSFORMERS_NAMES = (
    "gelu",
    "gelu_python",
    "gelu_new",
    "gelu_fast",
    "gelu_accurate",
    "gelu_pytorch_tanh",
    "gelu_python_tanh",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "leaky_relu",
    "silu",
    "swish",
    "mish",
    "tanh",
    "sigmoid",
    "linear",
)
"""Keys of `transformers.activations.ACT2FN`, for `hidden_act` and `activation` of a config."""
