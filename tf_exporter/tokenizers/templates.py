"""Post-processors: the special tokens that are put around one text or two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tf_exporter.errors import UnsupportedError

POST_PROCESSORS = (
    "BertProcessing",
    "ByteLevel",
    "RobertaProcessing",
    "Sequence",
    "TemplateProcessing",
)


@dataclass(frozen=True)
class Piece:
    """Special tokens or one of the texts, with a segment id."""

    ids: tuple[int, ...] | None
    """None for a text."""
    text: int
    """0 for the first text, 1 for the second."""
    type_id: int


@dataclass(frozen=True)
class Template:
    """The order of special tokens and texts in the ids of one text, or of a pair."""

    pieces: tuple[Piece, ...]

    @property
    def added(self) -> int:
        """The number of special tokens."""
        return sum(len(piece.ids) for piece in self.pieces if piece.ids is not None)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """All special tokens, in order."""
        return tuple(id for piece in self.pieces for id in piece.ids or ())


LARGEST_INT = 2**31 - 1
"""The largest int32, the type of token ids."""


def _special(id: int, type_id: int) -> Piece:
    return Piece((id,), 0, type_id)


def _text(text: int, type_id: int) -> Piece:
    return Piece(None, text, type_id)


BARE = Template((_text(0, 0),)), Template((_text(0, 0), _text(1, 1)))
"""The templates without special tokens, for one text and for a pair."""


def read_templates(
    file: str, part: dict[str, Any] | None, key: str = "post_processor"
) -> tuple[Template, Template]:
    """The templates of a post-processor for one text and for a pair.

    Raises:
        UnsupportedError: the post-processor is not reproduced.
    """
    kind = part["type"] if part else None
    if part is None or kind == "ByteLevel":
        # ByteLevel only changes offsets.
        return BARE
    if kind not in POST_PROCESSORS:
        raise UnsupportedError(file, f"{key}.type", kind, POST_PROCESSORS)
    if kind == "Sequence":
        steps = [
            (index, step)
            for index, step in enumerate(part["processors"])
            if step["type"] != "ByteLevel"
        ]
        if len(steps) > 1:
            kinds = [step["type"] for step in part["processors"]]
            raise UnsupportedError(
                file,
                f"{key}.processors",
                kinds,
                "one step that adds special tokens, besides ByteLevel",
            )
        return (
            read_templates(file, steps[0][1], f"{key}.processors[{steps[0][0]}]") if steps else BARE
        )
    if kind == "TemplateProcessing":
        return tuple(
            _template(file, part, key, name, texts) for name, texts in (("single", 1), ("pair", 2))
        )  # type: ignore[return-value]
    cls, sep = part["cls"][1], part["sep"][1]
    single = Template((_special(cls, 0), _text(0, 0), _special(sep, 0)))
    _checked(file, key, single)
    if kind == "BertProcessing":
        return single, Template((*single.pieces, _text(1, 1), _special(sep, 1)))
    return single, Template((*single.pieces, _special(sep, 0), _text(1, 0), _special(sep, 0)))


def _checked(file: str, key: str, template: Template) -> Template:
    numbers = (*template.special_ids, *(piece.type_id for piece in template.pieces))
    if max(numbers) > LARGEST_INT:
        raise UnsupportedError(file, key, max(numbers), "ids below 2³¹")
    return template


def _template(file: str, part: dict[str, Any], key: str, name: str, texts: int) -> Template:
    pieces = []
    for piece in part[name]:
        if "Sequence" in piece:
            pieces.append(_text("AB".index(piece["Sequence"]["id"]), piece["Sequence"]["type_id"]))
        else:
            special = piece["SpecialToken"]
            token = part["special_tokens"].get(special["id"])
            if token is None:
                raise UnsupportedError(file, f"{key}.{name}", special["id"], part["special_tokens"])
            pieces.append(Piece(tuple(token["ids"]), 0, special["type_id"]))
    if sorted(piece.text for piece in pieces if piece.ids is None) != [*range(texts)]:
        raise UnsupportedError(file, f"{key}.{name}", part[name], "each text once")
    return _checked(file, key, Template(tuple(pieces)))
