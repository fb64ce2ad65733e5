"""Entries of a model's folder that are not plain files: pipes, links, Git LFS pointers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.refusals import refused
from tf_exporter import InputError, convert
from tf_exporter.cli import parser
from tf_exporter.model.reference.view import transformers_folder
from tf_exporter.model.source import ModelSource

ATTRIBUTES = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 90868376\n"
)


@pytest.mark.parametrize(
    "name",
    ["config.json", "modules.json", "1_Pooling/config.json", "tokenizer.json", "model.safetensors"],
)
def test_pipes(model: Path, name: str) -> None:
    (model / name).unlink()
    os.mkfifo(model / name)
    refused(model, InputError, name)


@pytest.mark.parametrize(
    "name",
    ["generation_config.json", "added_tokens.json", "README.md", "1_Pooling/model.safetensors"],
)
def test_pipes_that_only_the_reference_opens(model: Path, name: str) -> None:
    os.mkfifo(model / name)
    refused(model, InputError, name, "neither a regular file")


def test_links_to_devices(model: Path) -> None:
    (model / "generation_config.json").symlink_to("/dev/zero")
    refused(model, InputError, "generation_config.json", "neither a regular file")
    (model / "generation_config.json").unlink()
    (model / "generation_config.json").symlink_to("/etc/hostname")
    refused(model, InputError, "generation_config.json", "--follow-links")


@pytest.mark.slow
def test_links_that_lead_nowhere(model: Path, tmp_path: Path) -> None:
    """Broken links do not count as files, here as in the reference."""
    for name in ("x.bin", "zzz", "y.safetensors", "1_Pooling/x.bin", "loop.json"):
        (model / name).symlink_to("nothing" if name != "loop.json" else name)
    (model / ".git").mkdir()
    os.mkfifo(model / ".git/pipe")
    (model / "again").symlink_to(".")
    convert(model, tmp_path / "out")


@pytest.fixture
def links(model: Path, tmp_path: Path) -> Path:
    """A folder of links into a store, as Bazel, Nix and DVC create it."""
    folder = tmp_path / "links"
    for path in model.rglob("*"):
        if path.is_file():
            place = folder / path.relative_to(model)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
    return folder


@pytest.mark.slow
def test_folders_of_links(links: Path, tmp_path: Path) -> None:
    refused(links, InputError, "--follow-links")
    conversion = convert(links, tmp_path / "out", follow_links=True)
    assert conversion.verification["embedding_texts"] > 0
    (links / "config.json").unlink()
    (links / "config.json").symlink_to("/dev/zero")
    refused(links, InputError, "config.json", follow_links=True)
    (links / "config.json").unlink()
    (links / "config.json").symlink_to("/tmp/nothing/here")
    refused(links, InputError, "config.json", follow_links=True)


def test_linked_folders(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    for path in model.iterdir():
        (folder / path.name).symlink_to(path)
    convert(folder, tmp_path / "out", follow_links=True, verify="off")
    os.mkfifo(model / "1_Pooling/pipe")
    refused(folder, InputError, "1_Pooling/pipe", follow_links=True)


def test_the_command_follows_links() -> None:
    assert parser().parse_args(["m", "o", "--follow-links"]).follow_links


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "2_Dense/model.safetensors"]
)
def test_pointers_of_git_lfs(model: Path, name: str) -> None:
    (model / name).write_bytes(ATTRIBUTES)
    refused(model, InputError, name, "Git LFS", "git lfs pull")


def test_pointers_of_git_lfs_in_place_of_other_files(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    (model / "vocab.txt").write_bytes(ATTRIBUTES)
    refused(model, InputError, "vocab.txt", "Git LFS")
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(ATTRIBUTES)
    refused(model, InputError, "pytorch_model.bin", "Git LFS")


def test_views(tmp_path: Path) -> None:
    """The folder that the reference opens if a config is translated."""
    folder = tmp_path / "model"
    (folder / "a/b").mkdir(parents=True)
    for name in ("x.bin", "a/zzz", "a/b/loop"):
        (folder / name).symlink_to(Path(name).name if name.endswith("loop") else "nothing")
    for name in ("kept.json", "a/kept.json", "a/b/kept.json", "code.py", "a/b/config.json"):
        (folder / name).write_text("{}")
    source = ModelSource(folder, "model")
    source.stand_in("a/b/config.json", {"new": 1})
    with transformers_folder(source) as view:
        names = sorted(path.relative_to(view).as_posix() for path in view.rglob("*"))
        assert names == ["a", "a/b", "a/b/config.json", "a/b/kept.json", "a/kept.json", "kept.json"]
        assert (view / "a/b/config.json").read_text() == '{"new": 1}'


def test_windows_paths(tmp_path: Path) -> None:
    for name in ("C:\\models\\mini", ".\\model", "a\\b"):
        refused(name, InputError, "backslashes", place=tmp_path)
