"""tf-exporter: a sentence-transformers model as one TensorFlow SavedModel that takes strings.

>>> from tf_exporter import convert
>>> convert("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2")

TensorFlow is imported when something is converted, not before.
"""

from tf_exporter._version import __version__
from tf_exporter.convert import Conversion, convert
from tf_exporter.errors import (
    ConversionError,
    InputError,
    UnsupportedError,
    UsageError,
    VerificationError,
    WeightsError,
)

__all__ = [
    "Conversion",
    "ConversionError",
    "InputError",
    "UnsupportedError",
    "UsageError",
    "VerificationError",
    "WeightsError",
    "__version__",
    "convert",
]
