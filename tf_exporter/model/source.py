"""The source of a model: a local folder, or a snapshot from the Hugging Face Hub.

Every file is opened through `ModelSource`. It keeps paths inside the model, limits sizes, and
records the sha256 of each file that is read. Nothing in a model is trusted.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar

from tf_exporter.errors import InputError, UsageError, one_line
from tf_exporter.model.config_file import ConfigFile
from tf_exporter.model.untyped import Json

T = TypeVar("T")

CONFIG_LIMIT = 16 * 2**20
"""The most bytes of a JSON config; the largest real ones, lists of labels, have 100s of kB."""
TOKENIZER_LIMIT = 256 * 2**20
"""The most bytes of a tokenizer file; 250,000 pieces take about 20 MB."""

NOT_UTF8 = (
    "the path is not UTF-8, as TensorFlow and tokenizers need; "
    "if only the locale is not UTF-8, set PYTHONUTF8=1"
)

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_WEIGHTS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "sparse_linear.pt",
    "colbert_linear.pt",
)
ADAPTER = "adapter_model"
"""The name of an adapter's weights, without the ending."""
_CONFIGS = ("*.json", "*.txt", "*.model", "*.jinja", "artifact.metadata")
_REFERENCE_ENDINGS = (".json", ".jinja", ".model", ".txt")
"""Endings of files that the reference may open, even if nothing here does."""
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_MAX_DIGITS = 300
"""The most digits of an integer; the largest float has a few more."""
_OTHER_FORMATS = ("onnx/*", "openvino/*", "*.ot", "*.h5", "*.msgpack", "*.onnx")


class ModelSource:
    """A model's folder. File names are relative, with forward slashes."""

    def __init__(
        self, folder: Path, name: str, revision: str | None = None, follow_links: bool = False
    ) -> None:
        """`follow_links`: whether files may be links out of the model's folder."""
        self.follow_links = follow_links
        self.folder = folder.resolve()
        if not is_utf8(self.folder):
            raise InputError(f"{name}: {NOT_UTF8}")
        self.name = name
        self.revision = revision
        self.sha256: dict[str, str] = {}
        self.ignored: dict[str, list[str]] = {}
        """File → keys that the reference does not read."""
        self.stand_ins: dict[str, dict[str, Any] | Path] = {}
        """File → the values of a JSON file, or the path of another file, for transformers.

        The reference gets them instead of the model's own files. If the model has no such file,
        they are also read here.
        """
        self.bases: dict[str, tuple[ModelSource, str]] = {}
        """adapter_config.json → the model whose weights the adapter changes, and its folder."""
        self._others: dict[str, ModelSource] = {}
        self.fetch: Callable[[str], ModelSource] = _offline
        """Opens another model of the Hub, as this one was opened."""
        self._roots = [self.folder]
        blobs = self.folder.parent.parent / "blobs"
        if self.folder.parent.name == "snapshots" and blobs.is_dir():
            # The Hub's cache: files of a snapshot are links into the blobs of the same repository.
            self._roots.append(blobs.resolve())

    def path(self, name: str) -> Path:
        """The real path of `name`. Absolute paths, `..` and links out of the model are refused."""
        pure = PurePosixPath(name)
        if "\\" in name:
            raise InputError(
                f"{name!r}: a path with backslashes; paths in a model have forward slashes"
            )
        if pure.is_absolute() or ".." in pure.parts or "\0" in name or ":" in name:
            raise InputError(f"{name!r}: the path leaves the model's folder")
        try:
            real = (self.folder / pure).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{name!r}: not a path that can be followed ({one_line(error)})"
            ) from None
        if not self.follow_links and not any(
            real == root or root in real.parents for root in self._roots
        ):
            raise InputError(
                f"{name!r}: the path is a link out of the model's folder; --follow-links allows it"
            )
        stand_in = self.stand_ins.get(pure.as_posix())
        return stand_in if isinstance(stand_in, Path) and not real.exists() else real

    def stand_in(self, name: str, values: dict[str, Any]) -> None:
        """Gives the reference a JSON file instead of the model's own, or in addition."""
        self.stand_ins[PurePosixPath(name).as_posix()] = values

    def exists(self, name: str) -> bool:
        """Whether the model has the file."""
        return PurePosixPath(name).as_posix() in self.stand_ins or self._has(name)

    def _has(self, name: str) -> bool:
        try:
            return self.path(name).is_file()
        except OSError as error:
            raise InputError(f"{name!r}: cannot be accessed ({error.strerror or error})") from None

    def _open(self, name: str) -> BinaryIO:
        """The opened file. It must be a regular file, as opening a pipe or a device may block."""
        number = os.open(self.path(name), os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise InputError(f"{name}: not a regular file")
        file = os.fdopen(number, "rb")
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            file.close()
            raise InputError(
                f"{name}: a Git LFS pointer instead of the file itself; `git lfs pull` fetches it"
            )
        file.seek(0)
        return file

    def read_bytes(self, name: str, limit: int) -> bytes:
        """The whole file, of at most `limit` bytes."""
        try:
            with self._open(name) as file:
                size = os.fstat(file.fileno()).st_size
                if size > limit:
                    raise InputError(f"{name}: {size:,} bytes; the limit is {limit:,} bytes")
                data = file.read()
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({error.strerror or error})") from error
        self.sha256[name] = hashlib.sha256(data).hexdigest()
        return data

    def read_json(self, name: str, limit: int = CONFIG_LIMIT) -> Json:
        """The parsed file."""
        stand_in = self.stand_ins.get(PurePosixPath(name).as_posix())
        if isinstance(stand_in, dict) and not self._has(name):
            return copy.deepcopy(stand_in)
        try:
            value = json.loads(self.read_bytes(name, limit).decode("utf-8"), parse_int=_integer)
            # JSON can contain surrogates, which are invalid in texts and file names.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
            return value
        except RecursionError:
            raise InputError(f"{name}: nested too deeply") from None
        except ValueError as error:
            raise InputError(f"{name}: not valid JSON ({error})") from None

    def read_object(self, name: str, limit: int = CONFIG_LIMIT) -> dict[str, Any]:
        """The parsed file, which must be a JSON object."""
        value = self.read_json(name, limit)
        if not isinstance(value, dict):
            raise InputError(f"{name}: a JSON object is expected, not {type(value).__name__}")
        return value

    def other(self, name: str) -> ModelSource:
        """Another model of the Hub, which this one needs. It is opened once.

        If links out of the model are allowed, the name may also be that of a local folder.

        Raises:
            InputError: no such model, or it cannot be fetched.
        """
        if name not in self._others:
            is_folder = self.follow_links and Path(name).is_dir()
            opened = open_model(name, follow_links=True) if is_folder else self.fetch(name)
            self._others[name] = opened
        return self._others[name]

    @property
    def all_sha256(self) -> dict[str, str]:
        """File → sha256, with the files of other models after the name of their model."""
        return {**self.sha256, **self._of_others(lambda other: other.all_sha256)}

    @property
    def all_ignored(self) -> dict[str, list[str]]:
        """As `ignored`, with the files of other models after the name of their model."""
        return {**self.ignored, **self._of_others(lambda other: other.all_ignored)}

    def _of_others(self, values: Callable[[ModelSource], dict[str, T]]) -> dict[str, T]:
        return {
            f"{name}/{file}": value
            for name, other in self._others.items()
            for file, value in values(other).items()
        }

    def config(self, name: str, limit: int = CONFIG_LIMIT) -> ConfigFile:
        """The JSON object in a file. Its keys have to be accounted for."""
        return ConfigFile(name, self.read_object(name, limit), ignored=self.ignored)

    def weight_bytes(self) -> int:
        """The size of all checkpoints of the model, translated ones and other models included."""
        stand_ins = (content for content in self.stand_ins.values() if isinstance(content, Path))
        paths = (
            path
            for path in (*self.folder.rglob("*"), *stand_ins)
            if path.suffix in (".safetensors", ".bin")
        )
        others = sum(other.weight_bytes() for other in self._others.values())
        return others + sum(path.stat().st_size for path in paths if path.is_file())

    def check_files(self) -> None:
        """Refuses pipes, devices and links out of the model that the reference might open.

        Hidden folders are skipped, as nothing opens them. Broken links count as missing files.

        Raises:
            InputError: there is such a file.
        """
        seen: set[tuple[int, int]] = set()
        pending = [self.folder]
        while pending:
            folder = pending.pop()
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                try:
                    status = entry.stat()
                except OSError:
                    continue
                name = Path(entry.path).relative_to(self.folder).as_posix()
                if stat.S_ISDIR(status.st_mode):
                    number = (status.st_dev, status.st_ino)
                    if (
                        number not in seen
                        and not entry.name.startswith(".")
                        and (self.follow_links or not entry.is_symlink())
                    ):
                        seen.add(number)
                        pending.append(Path(entry.path))
                elif not stat.S_ISREG(status.st_mode):
                    raise InputError(f"{name}: neither a regular file nor a folder")
                elif entry.is_symlink() and entry.name.endswith(_REFERENCE_ENDINGS):
                    self.path(name)

    def record(self, name: str) -> None:
        """Records the sha256 of a file that a library reads, such as the weights."""
        if PurePosixPath(name).as_posix() in self.stand_ins:
            return
        digest = hashlib.sha256()
        try:
            with self._open(name) as file:
                while block := file.read(2**22):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({error.strerror or error})") from error
        self.sha256[name] = digest.hexdigest()


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def is_utf8(path: Path) -> bool:
    """Whether a path is UTF-8, as libraries need it; Python itself allows any bytes."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def open_model(
    model: str,
    *,
    revision: str | None = None,
    cache_dir: str | None = None,
    local_files_only: bool = False,
    follow_links: bool = False,
    quiet: bool = True,
) -> ModelSource:
    """A local folder if there is one of that name, else the snapshot of a Hub repository.

    Raises:
        InputError: no such folder or repository, or it cannot be fetched.
        UsageError: `revision` is set for a local folder.
    """
    try:
        folder = Path(model).expanduser()
        is_folder, is_there = bool(model) and folder.is_dir(), bool(model) and folder.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{model[:80]}: no such folder ({one_line(error)})") from None
    if is_folder:
        if revision is not None:
            raise UsageError(
                f"--revision {revision} is for models from the Hub; {model} is a local folder"
            )
        source = ModelSource(folder, model, follow_links=follow_links)
        source.check_files()
        source.fetch = partial(_hub_model, None, cache_dir, local_files_only, quiet)
        return source
    if is_there:
        raise InputError(f"{model}: not a folder")
    if "\\" in model:
        raise InputError(f"{model}: no such folder; its path has backslashes, use forward slashes")
    return _hub_model(revision, cache_dir, local_files_only, quiet, model)


def _hub_model(
    revision: str | None, cache_dir: str | None, local_files_only: bool, quiet: bool, model: str
) -> ModelSource:
    """The snapshot of a Hub repository. Other models that it needs are fetched at their main."""
    if not _HUB_ID.fullmatch(model) or model.startswith("."):
        raise InputError(
            f"{model or 'an empty name'}: no such folder, and not the name of a model on the Hub"
        )
    source = _snapshot(model, revision, cache_dir, local_files_only, quiet)
    source.fetch = partial(_hub_model, None, cache_dir, local_files_only, quiet)
    return source


def _offline(model: str) -> ModelSource:
    return _hub_model(None, None, True, True, model)


def _snapshot(
    model: str, revision: str | None, cache_dir: str | None, local_files_only: bool, quiet: bool
) -> ModelSource:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    show = not quiet and sys.stderr.isatty()
    (enable_progress_bars if show else disable_progress_bars)()

    def fetch(patterns: tuple[str, ...]) -> Path:
        try:
            return Path(
                snapshot_download(
                    model,
                    revision=revision,
                    cache_dir=cache_dir,
                    local_files_only=local_files_only,
                    allow_patterns=list(patterns),
                    ignore_patterns=list(_OTHER_FORMATS),
                )
            )
        except Exception as error:  # the Hub client raises its own, httpx's and the system's errors
            name = f"{model} at revision {revision}" if revision else model
            raise InputError(
                f"{name}: not a local folder, and not available from the Hub ({one_line(error)})"
            ) from error

    folder = fetch((*_CONFIGS, *_WEIGHTS))
    # Pickled weights are fetched only for folders without other weights.
    parts = {path.parent.relative_to(folder) for path in folder.rglob("*config.json")}
    pickled = []
    for part in sorted(parts):
        names = {path.name for path in (folder / part).glob("*.safetensors")}
        if names <= {f"{ADAPTER}.safetensors"}:
            pickled.append(str(part / "pytorch_model*.bin"))
        if not names and (folder / part / "adapter_config.json").exists():
            pickled.append(str(part / f"{ADAPTER}.bin"))
    if pickled:
        fetch(tuple(pickled))
    return ModelSource(folder, model, folder.name)
