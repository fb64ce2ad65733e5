"""What the user of a conversion can choose, and which choices belong together."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.limits import PRECISIONS

EMBEDDING, PREPROCESSING, ENCODER, ENCODER_WITH_MLM, CLASSIFIER = EXPORT_TYPES = (
    "sentence-embedding",
    "preprocessing",
    "encoder",
    "encoder-with-mlm",
    "classifier",
)
TOKENIZER_OPS = ("core", "tensorflow-text")
LEVELS = ("quick", "full", "off")
POOLERS = ("checkpoint", "identity", "random")
"""The checkpoint's own; the first token as it is; a new one, to be trained."""
LOWER_CASING = (PREPROCESSING, ENCODER, ENCODER_WITH_MLM)
"""Those that lower-case as the user says, whatever the tokenizer's files do."""
_STRINGS = (EMBEDDING, CLASSIFIER)
_ENCODERS = (ENCODER, ENCODER_WITH_MLM)
_FULLY = (EMBEDDING, PREPROCESSING)
"""Those of which every code point can be verified."""
_WHERE: dict[str, tuple[str, ...]] = {
    "max_seq_length": _STRINGS,
    "truncate_dim": (EMBEDDING,),
    "prompt_name": (EMBEDDING,),
    "tokenizer_ops": _STRINGS,
    "precision": _STRINGS,
    "micro_batch_tokens": _STRINGS,
    "serving": _STRINGS,
    "default_seq_length": (PREPROCESSING,),
    "pooler": _ENCODERS,
    "sequence_length": (*_STRINGS, *_ENCODERS),
    "embeddings_on_cpu": (*_STRINGS, *_ENCODERS),
    "sentences": (CLASSIFIER,),
}
"""Option → the export types that have it; all have those that are not here."""
_NUMBERS = (
    "max_seq_length",
    "truncate_dim",
    "micro_batch_tokens",
    "default_seq_length",
    "batch_size",
    "sequence_length",
)


@dataclass(frozen=True)
class Options:
    """The options of `tf_exporter.convert`, which describes them."""

    max_seq_length: int | None = None
    truncate_dim: int | None = None
    prompt_name: str | None = None
    micro_batch_tokens: int = 512
    quiet: bool = True
    tokenizer_ops: str = "core"
    precision: str = "float32"
    export_type: str = EMBEDDING
    serving: str | None = None
    default_seq_length: int = 128
    do_lower_case: bool | None = None
    pooler: str = "checkpoint"
    sentences: int = 1
    batch_size: int | None = None
    sequence_length: int | None = None
    embeddings_on_cpu: bool = False
    verify: str = "quick"
    atol: float = 1e-5

    def check(self) -> None:
        """Refuses values that mean nothing, and options that the export type does not have.

        Raises:
            UsageError: a number or a word out of its range, or an option that would be without effect.
            UnsupportedError: a choice there is not.
        """
        for name in _NUMBERS:
            number = getattr(self, name)
            if number is not None and not 1 <= number < 2**31:
                raise UsageError(f"{flag(name)} {number}: a positive number below 2³¹ is needed")
        if not self.atol > 0:
            raise UsageError(f"--atol {self.atol}: a positive number is needed")
        if self.verify not in LEVELS:
            raise UsageError(f"--verify {self.verify}: one of {', '.join(LEVELS)} is needed")
        if self.verify == "full" and self.export_type not in _FULLY:
            raise UsageError(f"--verify full: only for --export-type {' or '.join(_FULLY)}, not {self.export_type}")
        if self.max_seq_length is not None and (self.sequence_length or self.max_seq_length) < self.max_seq_length:
            raise UsageError(f"--sequence-length {self.sequence_length}: less than --max-seq-length {self.max_seq_length}")
        if self.verify == "full" and self.export_type == PREPROCESSING and self.batch_size is not None:
            raise UsageError(f"--verify full: not with --batch-size {self.batch_size}, which so many texts would take long in")
        for name, known in (
            ("export_type", EXPORT_TYPES),
            ("tokenizer_ops", TOKENIZER_OPS),
            ("precision", PRECISIONS),
            ("pooler", POOLERS),
            ("sentences", (1, 2)),
        ):
            if getattr(self, name) not in known:
                raise UnsupportedError("arguments", flag(name), getattr(self, name), map(str, known))
        for field in fields(self):
            types = _WHERE.get(field.name)
            if types and self.export_type not in types and getattr(self, field.name) != field.default:
                raise UsageError(f"{flag(field.name)}: only for --export-type {' or '.join(types)}, not {self.export_type}")

    @property
    def most_tokens(self) -> int | None:
        """How many tokens of a text are kept, in place of the model's own limit."""
        return self.sequence_length if self.max_seq_length is None else self.max_seq_length


def flag(name: str) -> str:
    """An option as the command line has it."""
    return "--" + name.replace("_", "-")
