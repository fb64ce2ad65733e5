"""The command `convert-hf-model`."""

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
from tf_exporter.model.reference.scratch import temporary_files
from tf_exporter.options import add_arguments

_PROGRAM = "convert-hf-model"
_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Convert a sentence-transformers model into one TensorFlow SavedModel that "
        "takes strings.",
        epilog="Exit codes: 0 done, 2 wrong usage or output folder, 3 model not supported, "
        "4 verification failed, 5 unreadable or hostile input, 130 interrupted.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a local folder, or the name of a model on the Hub"
    )
    parser.add_argument("output_dir", metavar="OUTPUT_DIR", help="where the SavedModel goes")
    add_arguments(parser)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    prepare_streams()
    try:
        options = vars(parser().parse_args(arguments))
    finally:
        _flush(sys.stdout)
    end_when_interrupted(_PROGRAM)
    _set_up_libraries()
    quiet = options["quiet"]
    logging.basicConfig(handlers=[_Lines()], level=logging.ERROR)
    logging.getLogger("tf_exporter").setLevel(logging.ERROR if quiet else logging.INFO)
    from tf_exporter.convert import convert

    try:
        with temporary_files():
            _leave_deleted_folder(options["output_dir"])
            conversion = convert(options.pop("model"), options.pop("output_dir"), **options)
    except ConversionError as error:
        say([f"{_PROGRAM}: {line}" for line in str(error).splitlines()], sys.stderr)
        return error.exit_code
    if not quiet:
        say([*conversion.summary, f"Saved to {conversion.output_dir}"], sys.stdout)
    return 0


def say(lines: Sequence[str], stream: TextIO) -> None:
    """Prints lines; a closed pipe or a full disk is no error, since the artifact exists anyway."""
    with suppress(OSError):
        stream.write("".join(f"{printable(line)}\n" for line in lines))
    _flush(stream)


def _flush(stream: TextIO) -> None:
    """Writes buffered output; drops it where that fails, or Python would fail again at exit."""
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


def prepare_streams() -> None:
    """Opens standard streams that the caller closed, so that no other file gets their numbers.

    Characters that the encoding of a stream lacks are escaped.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave_deleted_folder(output_dir: str) -> None:
    """Changes to the temporary folder if the current one was deleted.

    transformers cannot be imported in a deleted folder. A relative output folder is refused in any
    case, so the current folder stays then.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        if os.path.isabs(os.path.expanduser(output_dir)):
            os.chdir(tempfile.gettempdir())


def end_when_interrupted(program: str) -> None:
    """Makes SIGINT end the process at once; the janitor removes unfinished folders (`publish.py`).

    An exception may be lost in native code, and in `exec` it changes the exit code even if caught.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored, e.g. in the background of a shell
    # Standard error itself may be redirected when the signal arrives.
    stderr = os.dup(2)

    def end(number: int, frame: FrameType | None) -> None:
        os.write(stderr, f"{program}: interrupted\n".encode())
        os._exit(_INTERRUPTED)

    signal.signal(signal.SIGINT, end)


def _set_up_libraries() -> None:
    """Sets TensorFlow and transformers, before their import, to the CPU and to errors only."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


if __name__ == "__main__":
    sys.exit(main())
