"""`convert-hf-model`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from types import FrameType
from typing import TextIO

from tf_exporter._version import __version__
from tf_exporter.errors import ConversionError, printable
from tf_exporter.scratch import temporary_files

_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="convert-hf-model",
        description="Convert a sentence-transformers model into one TensorFlow SavedModel that takes strings.",
        epilog="Exit codes: 0 done, 2 wrong usage or output folder, 3 model not supported, 4 verification failed, "
        "5 unreadable or hostile input.",
    )
    parser.add_argument("model", metavar="MODEL", help="a local folder, or the name of a model on the Hub")
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="where the SavedModel goes")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit on the Hub")
    parser.add_argument("--cache-dir", metavar="D", help="the Hub cache (default: the Hub client's own)")
    parser.add_argument("--local-files-only", action="store_true", help="use the Hub cache only, no network")
    parser.add_argument(
        "--follow-links", action="store_true", help="let files of a local folder be links to regular files outside of it"
    )
    parser.add_argument("--max-seq-length", metavar="N", type=int, help="cut texts at N tokens (default: the model's)")
    parser.add_argument("--truncate-dim", metavar="N", type=int, help="keep N dimensions (default: the model's)")
    parser.add_argument("--prompt-name", metavar="NAME", help="prompt of serving_default (default: the model's)")
    parser.add_argument("--tokenizer-ops", choices=("core", "tensorflow-text"), default="core", help="%(default)s")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"), default="float32", help="%(default)s")
    parser.add_argument(
        "--micro-batch-tokens", metavar="N", type=int, default=512, help="tokens of a slice of the batch (%(default)s)"
    )
    parser.add_argument(
        "--serving",
        choices=("tf-serving", "triton", "triton-tensorflow"),
        help="make what a server reads in OUTPUT_DIR: the next version of a model, or a model of a repository",
    )
    parser.add_argument(
        "--export-type",
        choices=("sentence-embedding", "preprocessing", "encoder", "encoder-with-mlm", "classifier"),
        default="sentence-embedding",
        help="%(default)s: strings in, embeddings out; the next three have TensorFlow Hub's API and can be trained further; "
        "classifier: strings in, labels out",
    )
    parser.add_argument(
        "--default-seq-length", metavar="N", type=int, default=128, help="of preprocessing: tokens a text has (%(default)s)"
    )
    parser.add_argument(
        "--do-lower-case",
        action=argparse.BooleanOptionalAction,
        help="of preprocessing, encoders and Google's checkpoints: lower-case texts, or not (default: as the model says)",
    )
    parser.add_argument(
        "--pooler", choices=("checkpoint", "identity", "random"), default="checkpoint", help="of encoders: %(default)s"
    )
    parser.add_argument("--sentences", choices=(1, 2), type=int, default=1, help="texts that a classifier takes (%(default)s)")
    parser.add_argument("--batch-size", metavar="N", type=int, help="a fixed number of texts, for accelerators")
    parser.add_argument("--sequence-length", metavar="N", type=int, help="a fixed number of tokens of each text, as well")
    parser.add_argument("--embeddings-on-cpu", action="store_true", help="keep the word embeddings in the host's memory")
    parser.add_argument("--verify", choices=("quick", "full", "off"), default="quick", help="%(default)s")
    parser.add_argument("--atol", metavar="X", type=float, default=1e-5, help="largest difference to the reference (%(default)s)")
    parser.add_argument("--force", action="store_true", help="replace an earlier conversion at OUTPUT_DIR")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    _prepare_streams()
    try:
        options = vars(parser().parse_args(arguments))
    finally:
        _flush(sys.stdout)
    _end_when_interrupted()
    _set_up_libraries()
    quiet = options["quiet"]
    logging.basicConfig(handlers=[_Lines()], level=logging.ERROR)
    logging.getLogger("tf_exporter").setLevel(logging.ERROR if quiet else logging.INFO)
    from tf_exporter.convert import convert

    try:
        with temporary_files():
            _leave_a_folder_that_is_gone(options["output_dir"])
            conversion = convert(options.pop("model"), options.pop("output_dir"), **options)
    except ConversionError as error:
        say([f"convert-hf-model: {line}" for line in str(error).splitlines()], sys.stderr)
        return error.exit_code
    if not quiet:
        say([*conversion.summary, f"Saved to {conversion.output_dir}"], sys.stdout)
    return 0


def say(lines: Sequence[str], stream: TextIO) -> None:
    """Prints lines.

    What was converted is there whether somebody reads about it or not: a closed pipe or a full disk is no error.
    """
    with suppress(OSError):
        stream.write("".join(f"{printable(line)}\n" for line in lines))
    _flush(stream)


def _flush(stream: TextIO) -> None:
    """Writes what is left; drops it where that fails, or Python would fail on it once more at its end."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class _Lines(logging.Handler):
    """Prints log records to standard error, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        say([record.getMessage()], sys.stderr)


def _prepare_streams() -> None:
    """Opens the standard streams that the caller has closed, or files that are opened next would take their numbers.

    Characters that the encoding of a stream lacks will be escaped.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave_a_folder_that_is_gone(output_dir: str) -> None:
    """Makes an empty folder the current one where that has been deleted: transformers cannot be imported there.

    Not where the output would go there, which is refused in any case.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        if os.path.isabs(os.path.expanduser(output_dir)):
            os.chdir(tempfile.gettempdir())


def _end_when_interrupted() -> None:
    """Makes SIGINT end the process there and then; what is half-written goes as after any other death (`publish.py`).

    An exception may be lost on its way through native code, and in `exec` it changes the exit code even where it is caught.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored, as in the background of a shell
    # Standard error itself may be turned away from the user at that moment.
    stderr = os.dup(2)

    def end(number: int, frame: FrameType | None) -> None:
        os.write(stderr, b"convert-hf-model: interrupted\n")
        os._exit(_INTERRUPTED)

    signal.signal(signal.SIGINT, end)


def _set_up_libraries() -> None:
    """Before TensorFlow and transformers are imported: a conversion runs on the CPU, and says one line an error."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


if __name__ == "__main__":
    sys.exit(main())
