"""The keys of a model's configs that the installed packages read, from their source files.

The files are parsed, not imported: importing transformers also imports torch, which takes seconds.
In doubt, a key counts as read: any use of its name in the files below, as a key or an attribute of
a config, is enough.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

_CONFIGURATION, _ROPE = "configuration_utils.py", "modeling_rope_utils.py"
_SHARED = (
    "cache_utils.py",
    _CONFIGURATION,
    "integrations/heterogeneity/configuration_utils.py",
    "masking_utils.py",
    "modeling_layers.py",
    _ROPE,
    "modeling_utils.py",
)
"""Files of transformers that read the config of any model."""
_TOKENIZERS = (
    "models/auto/tokenization_auto.py",
    "tokenization_utils_base.py",
    "tokenization_utils_tokenizers.py",
)
"""Files of transformers that read the config of any tokenizer."""
_ADAPTERS = ("config.py", "tuners/lora/config.py")
"""Files of peft with the fields of an adapter's config."""
_FUNCTIONS = ("getattr", "hasattr", "setattr")
_METHODS = ("get", "pop", "setdefault")
"""Calls whose string argument is the name of a key."""
NOTES = frozenset(
    """
    author custom_metrics emb_size eos_token_ids export_model_type matryoshka_dimensions name
    total_flos transformers.js_config unsloth_fixed unsloth_version uniem_embedding_strategy
    xla_device
    """.split()
)
"""Keys that tools write into config.json and that no model's code reads."""
_FILE_ENDINGS = ("_file", "_files", "_path", "_dir")
"""Endings of the arguments of tokenizer classes that name files."""


def reads_config_key(model_type: str) -> Callable[[str], bool]:
    """A function: key of config.json → whether transformers' classes of a `model_type` read it.

    If transformers has no files for the `model_type`, every key counts as read.
    """
    root = _transformers()
    own = _own_files(root, model_type) if root else []
    names = _read_by([*_shared(_SHARED), *own]) if own else None
    return lambda key: names is None or key in names


def reads_adapter_key(key: str) -> bool:
    """Whether the installed peft reads a key of adapter_config.json, of a LoRA adapter.

    If peft is not installed, every key counts as read.
    """
    root = _package("peft")
    files = [root / name for name in _ADAPTERS] if root else []
    return not all(path.is_file() for path in files) or not files or key in _read_by(files)


def reads_tokenizer_key(key: str) -> bool:
    """Whether tokenizers read a key of tokenizer_config.json, other than as a special token.

    Arguments of single tokenizer classes do not count, unless they name files: their effect shows
    in the tokenizer that is built.
    """
    files = _shared(_TOKENIZERS)
    return not files or key.endswith(_FILE_ENDINGS) or key in _read_by(files)


def _transformers() -> Path | None:
    return _package("transformers")


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _shared(names: tuple[str, ...]) -> list[Path]:
    root = _transformers()
    return [root / name for name in names if (root / name).is_file()] if root else []


def _own_files(root: Path, model_type: str) -> list[Path]:
    """The files of one architecture: its configuration and its model."""
    name = model_type.replace("-", "_")
    for folder in (name, name.removesuffix("_text"), name.removesuffix("_text_model")):
        kinds = ("configuration", "modeling")
        files = [root / "models" / folder / f"{kind}_{folder}.py" for kind in kinds]
        if all(path.is_file() for path in files):
            return files
    return []


def _read_by(files: list[Path]) -> frozenset[str]:
    return frozenset().union(*map(_names_in, files))


@cache
def _names_in(path: Path) -> frozenset[str]:
    reader = _Reader(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(name for node in ast.walk(tree) for name in reader.names(node))


class _Reader:
    """Lists the names of keys in a source file. Configs are recognized by their variable names."""

    def __init__(self, path: Path) -> None:
        self._defines = path.name.startswith("config") or path.name == _ROPE
        tokenizers = path.name.startswith("tokenization")
        self._variables = ("config", "kwargs") if self._defines or tokenizers else ("config",)

    def names(self, node: ast.AST) -> Iterator[str]:
        """The keys that a syntax node reads."""
        if isinstance(node, ast.ClassDef) and self._defines:
            yield from _fields(node)
        elif isinstance(node, (ast.Tuple, ast.List)) and self._defines:
            # Names that are looked up in a loop.
            yield from _strings(node.elts)
        elif isinstance(node, ast.Attribute) and self._is_config(node.value):
            yield node.attr
        elif isinstance(node, ast.Call):
            yield from self._looked_up(node)
        elif isinstance(node, ast.Subscript) and self._is_config(node.value):
            yield from _strings([node.slice])
        elif isinstance(node, ast.Compare) and self._is_config(node.comparators[0]):
            yield from _strings([node.left])

    def _looked_up(self, node: ast.Call) -> Iterator[str]:
        """The key in `getattr(config, "key")`, `kwargs.pop("key")` and similar calls."""
        function = node.func
        source: ast.expr | None = None
        if isinstance(function, ast.Name) and function.id in _FUNCTIONS and len(node.args) > 1:
            source, key = node.args[0], node.args[1]
        elif isinstance(function, ast.Attribute) and function.attr in _METHODS and node.args:
            source, key = function.value, node.args[0]
        if source is not None and self._is_config(source):
            yield from _strings([key])

    def _is_config(self, node: ast.AST) -> bool:
        """Whether an expression is a config by its name: `config`, `self.config`, `text_config`."""
        name = node.attr if isinstance(node, ast.Attribute) else ""
        name = node.id if isinstance(node, ast.Name) else name
        return name.endswith(self._variables) or (self._defines and name in ("self", "cls"))


def _fields(node: ast.ClassDef) -> Iterator[str]:
    """The fields and methods of a config class, and the keys of `attribute_map`."""
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id
        elif isinstance(part, ast.Assign):
            yield from (target.id for target in part.targets if isinstance(target, ast.Name))
            if isinstance(part.value, ast.Dict):
                yield from _strings([key for key in part.value.keys if key is not None])
        elif isinstance(part, ast.FunctionDef):
            # A key of this name would replace the method.
            yield part.name


def _strings(nodes: list[ast.expr]) -> Iterator[str]:
    values = (node.value for node in nodes if isinstance(node, ast.Constant))
    yield from (value for value in values if isinstance(value, str))
