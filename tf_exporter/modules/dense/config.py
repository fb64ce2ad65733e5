"""The config of Dense."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.torch_activations import TORCH_ACTIVATION_NAMES, TORCH_MODULES
from tf_exporter.modules.arguments import finish
from tf_exporter.modules.dimensions import ANY, Dimensions, check_width, read_names

_DEFAULT = "torch.nn.modules.activation.Tanh"
LEARNED = "PReLU"
"""The only activation with a weight."""


@dataclass(frozen=True)
class DenseConfig:
    """A linear layer and an activation."""

    source: str
    """The feature that is read."""
    target: str
    """The feature that is written."""
    in_features: int
    out_features: int
    bias: bool
    activation: str
    """The name of a class of `torch.nn`."""
    use_residual: bool


def read(file: ConfigFile, dimensions: Dimensions) -> DenseConfig:
    """Reads config.json; the target becomes `out_features` wide."""
    source, target, width = read_names(file, dimensions)
    in_features = file.take("in_features", int, required=True)
    out_features = file.take("out_features", int, required=True)
    check_width(file, "in_features", in_features, width)
    if out_features < 1:
        file.refuse(file.unsupported("out_features", "a positive number"))
    bias = file.take("bias", bool, True)
    # These are tensors, which JSON cannot have. Without a bias, the reference ignores `init_bias`.
    file.require("init_weight", (None,))
    if bias:
        file.require("init_bias", (None,))
    else:
        file.take("init_bias", ANY)
    activation = _read_activation(file)
    use_residual = file.take("use_residual", bool, False)
    finish(file, "Dense")
    dimensions[target] = out_features
    return DenseConfig(source, target, in_features, out_features, bias, activation, use_residual)


def _read_activation(file: ConfigFile) -> str:
    path = file.take("activation_function", str, _DEFAULT)
    if not path.startswith("torch."):
        # The reference trusts only paths in torch. It takes its default instead of any other.
        path = _DEFAULT
    module, _, name = path.rpartition(".")
    known = {*TORCH_ACTIVATION_NAMES, LEARNED}
    if module not in TORCH_MODULES or name not in known:
        supported = f"torch.nn's {', '.join(sorted(known))}"
        file.refuse(UnsupportedError(file.file, "activation_function", path, supported))
    return str(name)


def read_inline(file: ConfigFile, dimensions: Dimensions) -> None:
    """Notes that the width of tokens is known only when the matrix is read."""
    file.take("module_input_name", str)
    dimensions["token_embeddings"] = None
