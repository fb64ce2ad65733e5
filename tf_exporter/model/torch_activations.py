"""The names of torch's activations, for configs that name them by their path."""

from __future__ import annotations

TORCH_MODULES = (
    "torch.nn",
    "torch.nn.modules",
    "torch.nn.modules.activation",
    "torch.nn.modules.linear",
)
"""The modules that configs name for these classes."""

TORCH_ACTIVATION_NAMES = frozenset(
    "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh Identity LeakyReLU LogSigmoid Mish "
    "RReLU ReLU ReLU6 SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink".split()
)
"""Classes of `torch.nn` without weights; `tf_exporter.layers.activations` has their functions."""
