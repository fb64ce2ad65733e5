"""The options of a conversion: one field each, for the command line, the checks and docs/cli.md."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any, NamedTuple, TypeAlias

from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.names import (
    CLASSIFIER,
    EMBEDDING,
    ENCODER,
    ENCODER_WITH_MLM,
    EXPORT_TYPES,
    EXTRAS,
    HYBRID,
    IDS,
    INT8,
    INT8_PRECISIONS,
    PREPROCESSING,
    TRUNCATED,
)

Value: TypeAlias = Any
"""The value of an option."""
PRECISIONS = ("float32", "bfloat16", "float16", *INT8_PRECISIONS)
TOKENIZER_OPS = ("core", "tensorflow-text")
LEVELS = ("quick", "full", "off")
POOLERS = ("checkpoint", "identity", "random")
SERVING = ("tf-serving", "triton", "triton-tensorflow")
LOWER_CASING = (PREPROCESSING, ENCODER, ENCODER_WITH_MLM)
"""Export types that lower-case as the user asks, whatever the tokenizer's files say."""
_STRINGS = (EMBEDDING, CLASSIFIER)
_ENCODERS = (ENCODER, ENCODER_WITH_MLM)
_FULLY_VERIFIABLE = (EMBEDDING, PREPROCESSING)
"""Export types for which every code point can be verified."""
_MOST = 2**31


class Option(NamedTuple):
    """The description of an option, besides its name and default."""

    help: str
    """A sentence, for `--help` and docs/cli.md."""
    type: type
    """`bool` for a flag without a value."""
    metavar: str | None = None
    choices: tuple[Any, ...] = ()
    exports: tuple[str, ...] = EXPORT_TYPES
    """The export types that have the option."""
    may_be_negated: bool = False
    """Whether there is also a flag `--no-…`; None then means that neither was given."""
    least: int = 1
    """The smallest number."""


class RequestBatching(NamedTuple):
    """How calls are joined."""

    size: int
    """The most texts of a batch."""
    timeout_micros: int
    """How long a batch waits for further calls where a thread is free to compute it, in µs."""
    threads: int
    """The number of batches that are computed at a time."""


_REQUESTS = RequestBatching(size=64, timeout_micros=0, threads=1)
"""The defaults, which suit a CPU."""
_REQUEST_OPTIONS = ("request_batch_size", "request_batch_timeout", "request_batch_threads")
"""The options that go with `request_batching`, in the order of `RequestBatching`."""


def _option(default: Value, help: str, type: type = str, **settings: Value) -> Value:
    return field(default=default, metadata={"option": Option(help, type, **settings)})


def _number(default: int | None, help: str, **settings: Value) -> Value:
    return _option(default, help, int, metavar="N", **settings)


@dataclass(frozen=True)
class Options:
    """All options, with their defaults."""

    revision: str | None = _option(None, "branch, tag or commit on the Hub", metavar="R")
    cache_dir: str | None = _option(
        None, "the Hub cache (default: the Hub client's own)", metavar="D"
    )
    local_files_only: bool = _option(False, "use the Hub cache only, without a network", bool)
    follow_links: bool = _option(
        False, "allow links in a local folder to regular files outside of it", bool
    )
    max_seq_length: int | None = _number(
        None, "truncate texts to N tokens (default: the model's limit)", exports=_STRINGS
    )
    truncate_dim: int | None = _number(
        None, "keep the first N dimensions (default: the model's choice)", exports=(EMBEDDING,)
    )
    prompt_name: str | None = _option(
        None,
        "the prompt of serving_default (default: the model's)",
        metavar="NAME",
        exports=(EMBEDDING,),
    )
    signatures: str | None = _option(
        None,
        "the signatures besides serving_default and tokenize, separated by commas, also "
        f"{', '.join(EXTRAS)} (default: all others)",
        metavar="NAMES",
        exports=(EMBEDDING,),
    )
    calibration: str | None = _option(
        None,
        f"texts like those to be encoded, one a line, for the ranges of {INT8} and for the choice "
        "of layers in int8",
        metavar="FILE",
        exports=_STRINGS,
    )
    tokenizer_ops: str = _option(
        "core",
        "core: stock ops; tensorflow-text: its ops, faster for large batches of WordPiece, but a "
        "server has to load its library",
        choices=TOKENIZER_OPS,
        exports=_STRINGS,
    )
    precision: str = _option(
        "float32",
        "bfloat16 and int8: compute matrix products in that type, int8 only on x86 with VNNI; "
        "float16 and int8-storage: store weights in that type and compute in float32",
        choices=PRECISIONS,
        exports=_STRINGS,
    )
    micro_batch_tokens: int = _number(
        512, "tokens of a micro-batch: 512 suits a CPU, about 16,384 a GPU", exports=_STRINGS
    )
    request_batching: bool = _option(
        False,
        "join calls from several threads into one batch, in the graph",
        bool,
        exports=_STRINGS,
    )
    request_batch_size: int | None = _number(
        None,
        f"the most texts of such a batch (default: {_REQUESTS.size}); a call with more is computed "
        "by itself",
        exports=_STRINGS,
    )
    request_batch_timeout: int | None = _option(
        None,
        "how long such a batch waits for further calls while no other one is computed (default: "
        f"{_REQUESTS.timeout_micros})",
        int,
        metavar="MICROSECONDS",
        exports=_STRINGS,
        least=0,
    )
    request_batch_threads: int | None = _number(
        None,
        f"how many such batches are computed at a time (default: {_REQUESTS.threads})",
        exports=_STRINGS,
    )
    export_type: str = _option(
        EMBEDDING,
        "sentence-embedding: strings in, embeddings out; preprocessing, encoder and "
        "encoder-with-mlm: TensorFlow Hub's API, to be trained further; classifier: strings in, "
        "labels out",
        choices=EXPORT_TYPES,
    )
    serving: str | None = _option(
        None,
        "write the layout of a server into OUTPUT_DIR: the next version of a model for TensorFlow "
        "Serving, or a model of a Triton repository",
        choices=SERVING,
        exports=_STRINGS,
    )
    default_seq_length: int = _number(
        128, "tokens of a text where a call sets no length", exports=(PREPROCESSING,)
    )
    do_lower_case: bool | None = _option(
        None,
        "lower-case texts, or not (default: as the model's files say); for preprocessing, encoders "
        "and Google's checkpoints",
        bool,
        may_be_negated=True,
    )
    pooler: str = _option(
        "checkpoint",
        "the checkpoint's pooler, the first token unchanged, or a new pooler to be trained",
        choices=POOLERS,
        exports=_ENCODERS,
    )
    sentences: int = _option(
        1, "texts that serving_default takes", int, choices=(1, 2), exports=(CLASSIFIER,)
    )
    batch_size: int | None = _number(None, "a fixed number of texts, for accelerators")
    sequence_length: int | None = _number(
        None,
        "a fixed number of tokens for each text; shorter texts are padded",
        exports=(*_STRINGS, *_ENCODERS),
    )
    embeddings_on_cpu: bool = _option(
        False,
        "keep the word embeddings in the host's memory",
        bool,
        exports=(*_STRINGS, *_ENCODERS),
    )
    verify: str = _option(
        "quick",
        "quick takes about two minutes for bert-base; full tries every code point and longer texts",
        choices=LEVELS,
    )
    atol: float = _option(
        1e-5, "the largest absolute difference to the reference, in float32", float, metavar="X"
    )
    force: bool = _option(False, "replace an earlier conversion at OUTPUT_DIR", bool)
    quiet: bool = _option(False, "print errors only", bool)

    def check(self) -> None:
        """Refuses meaningless values, and options that the export type does not have.

        Raises:
            UnsupportedError: a value is none of the choices of its option.
            UsageError: names the option and its allowed values.
        """
        for name, default, option in described():
            self._check_value(name, getattr(self, name), default, option)
        if not 0 < self.atol < math.inf:
            raise UsageError(f"--atol {self.atol}: a positive, finite number is needed")
        if self.serving is not None and self.batch_size is not None:
            raise UsageError(
                f"--batch-size {self.batch_size}: not with --serving {self.serving}, as requests "
                "have any number of texts"
            )
        self._check_requests()
        has_int8 = INT8 in (self.chosen_signatures or ())
        if has_int8 and self.calibration is None:
            raise UsageError(f"--signatures {INT8}: only together with --calibration FILE")
        if self.calibration is not None and not has_int8 and self.precision not in INT8_PRECISIONS:
            raise UsageError(
                f"--calibration {self.calibration}: only together with --signatures {INT8}, or "
                f"--precision {' or '.join(INT8_PRECISIONS)}"
            )
        for name in self.chosen_signatures or ():
            if name in (*EXTRAS, *HYBRID) and self.batch_size:
                raise UsageError(f"--signatures {name}: not with --batch-size")
            if name in HYBRID and self.sequence_length:
                raise UsageError(f"--signatures {name}: not with --sequence-length")
            if name in (IDS, TRUNCATED) and self.serving in ("triton", "triton-tensorflow"):
                raise UsageError(
                    f"--signatures {name}: not with --serving {self.serving}, whose model takes "
                    "texts alone"
                )
        if self.verify == "full" and self.export_type not in _FULLY_VERIFIABLE:
            raise UsageError(
                f"--verify full: only for --export-type {' or '.join(_FULLY_VERIFIABLE)}, "
                f"not {self.export_type}"
            )
        if (
            self.max_seq_length is not None
            and (self.sequence_length or self.max_seq_length) < self.max_seq_length
        ):
            raise UsageError(
                f"--sequence-length {self.sequence_length}: less than --max-seq-length "
                f"{self.max_seq_length}"
            )
        if (
            self.verify == "full"
            and self.export_type == PREPROCESSING
            and self.batch_size is not None
        ):
            raise UsageError(
                f"--verify full: not with --batch-size {self.batch_size}: all its texts would take "
                "too long in batches of a fixed size"
            )

    def _check_requests(self) -> None:
        if not self.request_batching:
            for name in _REQUEST_OPTIONS:
                if getattr(self, name) is not None:
                    raise UsageError(f"{flag(name)}: only together with --request-batching")
        elif self.batch_size is not None:
            raise UsageError(
                f"--request-batching: not with --batch-size {self.batch_size}, as joined calls "
                "have any number of texts"
            )
        elif self.serving in ("triton", "triton-tensorflow"):
            raise UsageError(
                f"--request-batching: not with --serving {self.serving}, as Triton joins requests "
                "itself"
            )

    def _check_value(self, name: str, value: Value, default: Value, option: Option) -> None:
        if value is None and default is None:
            return
        if option.choices and value not in option.choices:
            raise UnsupportedError("arguments", flag(name), value, map(str, option.choices))
        if option.type is int and not option.least <= value < _MOST:
            kind = "positive number" if option.least else "number of 0 or more,"
            raise UsageError(f"{flag(name)} {value}: a {kind} below 2³¹ is needed")
        if (
            self.export_type in EXPORT_TYPES
            and self.export_type not in option.exports
            and value != default
        ):
            types = " or ".join(option.exports)
            raise UsageError(
                f"{flag(name)}: only for --export-type {types}, not {self.export_type}"
            )

    @property
    def chosen_signatures(self) -> tuple[str, ...] | None:
        """The signatures that are asked for; None: those of the model."""
        if self.signatures is None:
            return None
        return tuple(name.strip() for name in self.signatures.split(",") if name.strip())

    @property
    def requests(self) -> RequestBatching | None:
        """How calls are joined; None: each is computed by itself."""
        if not self.request_batching:
            return None
        asked = [getattr(self, name) for name in _REQUEST_OPTIONS]
        defaults = zip(asked, _REQUESTS)
        return RequestBatching(*(own if value is None else value for value, own in defaults))

    @property
    def most_tokens(self) -> int | None:
        """The number of tokens to keep of a text; None: the model's own limit."""
        return self.sequence_length if self.max_seq_length is None else self.max_seq_length


def described() -> Iterator[tuple[str, Value, Option]]:
    """Name, default and description of each option, in order."""
    for entry in fields(Options):
        yield entry.name, entry.default, _described(entry)


def _described(entry: Field[Any]) -> Option:
    option: Option = entry.metadata["option"]
    return option


def flag(name: str) -> str:
    """The flag of an option on the command line."""
    return "--" + name.replace("_", "-")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds all options to a parser."""
    for name, default, option in described():
        if option.type is bool:
            action = argparse.BooleanOptionalAction if option.may_be_negated else "store_true"
            parser.add_argument(flag(name), action=action, default=default, help=option.help)
            continue
        suffix = "" if default is None else " (default: %(default)s)"
        parser.add_argument(
            flag(name),
            type=option.type,
            default=default,
            metavar=option.metavar,
            choices=option.choices or None,
            help=option.help + suffix,
        )
