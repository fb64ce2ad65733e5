"""Publishing: an artifact is complete or absent, whatever interrupts the conversion.

It is made in a hidden folder beside the output, which is then renamed. The janitor removes the
hidden folder when this process dies, even by SIGKILL.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from tf_exporter.artifact import janitor
from tf_exporter.errors import UsageError, one_line
from tf_exporter.model.source import NOT_UTF8, is_utf8

EXTRA = "assets.extra"
MANIFEST = f"{EXTRA}/tf_exporter.json"


class Publication:
    """The hidden folder that an artifact is made in, `partial`, and its move to the output folder.

    Args:
        output_dir: the output folder.
        force: whether an earlier conversion may be replaced.
        saved_model: the SavedModel's folder, relative to the output folder.

    Raises:
        UsageError: the output folder already exists, or cannot be written.
    """

    def __init__(self, output_dir: str | os.PathLike[str], force: bool, saved_model: str = ""):
        self._force = force
        self._manifest = Path(saved_model) / MANIFEST
        try:
            self.output = Path(output_dir).expanduser().absolute()
            if not self.output.name or not os.fspath(output_dir):
                raise UsageError(f"{output_dir}: not a folder that can be made")
            if not is_utf8(self.output):
                raise UsageError(f"{self.output}: {NOT_UTF8}")
            self._check_output()
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"{output_dir}: not a folder that can be made ({one_line(error)})"
            ) from None
        token = secrets.token_hex(6)
        self.partial = self.output.with_name(f".{self.output.name}.{token}.partial")
        self._replaced = self.output.with_name(f".{self.output.name}.{token}.replaced")
        self._janitor: subprocess.Popen[bytes] | None = None

    def _check_output(self) -> None:
        if not os.path.lexists(self.output):
            return
        if not self._force:
            raise UsageError(f"{self.output}: already there; --force replaces it")
        is_folder = self.output.is_dir() and not self.output.is_symlink()
        if not is_folder or not (
            (self.output / self._manifest).is_file() or not any(self.output.iterdir())
        ):
            raise UsageError(
                f"{self.output}: not replaced, as it is not a model made by tf-exporter"
            )

    def __enter__(self) -> Publication:
        try:
            created = list(
                itertools.takewhile(lambda parent: not parent.exists(), self.output.parents)
            )
            self.output.parent.mkdir(parents=True, exist_ok=True)
            self._janitor = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    janitor.__file__,
                    self.output,
                    self.partial,
                    self._replaced,
                    *created,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self.partial.mkdir()
        except OSError as error:
            self._tidy()
            raise UsageError(
                f"{self.output}: cannot be written ({error.strerror or error})"
            ) from error
        except BaseException:
            self._tidy()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tidy()

    def publish(self) -> None:
        """Moves the finished artifact into place; an earlier one is deleted only after that."""
        try:
            self._check_output()
            if os.path.lexists(self.output):
                os.rename(self.output, self._replaced)
            os.rename(self.partial, self.output)
        except OSError as error:
            raise UsageError(
                f"{self.output}: cannot be written ({error.strerror or error})"
            ) from error

    def _tidy(self) -> None:
        """Closes the janitor's pipe and waits until it has removed the folders."""
        if self._janitor is not None and self._janitor.stdin is not None:
            self._janitor.stdin.close()
            self._janitor.wait()
            self._janitor = None
        shutil.rmtree(self.partial, ignore_errors=True)


def write_text(folder: Path, name: str, text: str) -> None:
    """Writes a small text file of the artifact."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def as_json(values: dict[str, Any]) -> str:
    """`values` as indented JSON, with characters escaped that are not printable."""
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    return "".join(
        char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text
    )


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Raises a `UsageError` that names `place` where the disk is full or cannot be written."""
    import tensorflow as tf

    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{place}: cannot be written ({error.strerror or one_line(error)})"
        ) from error
    except tf.errors.ResourceExhaustedError as error:
        # TensorFlow's file system says this of a full disk, its allocator of too little memory.
        if "disk" not in str(error).lower() and "space" not in str(error).lower():
            raise MemoryError(one_line(error)) from error
        raise UsageError(f"{place}: cannot be written ({one_line(error)})") from error
    except tf.errors.OpError as error:
        raise UsageError(f"{place}: cannot be written ({one_line(error)})") from error
