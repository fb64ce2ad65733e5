"""Finding the frame of a chat template by rendering it, and proving it on hostile texts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from tf_exporter.errors import one_line, shortened
from tf_exporter.tokenizers.chat.frame import (
    STRIPS,
    Frame,
    NotAFrameError,
    Render,
    Slot,
)

_WORDS = (("qzxjw", "vkyhp"), ("gbnrd", "tmcfl"))
"""Probe texts for the query and the document. No template contains them."""
_EDGE = "\n \n"
"""White space of which each kind of stripping leaves another part."""
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{4,}")
"""The address of an object, which differs in each process."""
_MOST_LITERALS = 48
_MOST_TEXT = 1_000_000
_MOST_PLACES = 4
"""The most places of texts in a template; each may strip in nine ways."""

HOSTILE = (
    "", " ", "\n", "\t", " a", "a ", "\na", "a\n", "\n\na b\n\n", " \n a \n ", "\r\na\r\n", "a\rb",
    *(f"{space}a{space}" for space in (
        "\t", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0", "\u1680", "\u2003",
        "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\u200e", "\u2060", "\ufeff",
        "\x00", "\x08", "\x7f", "\u180e")),
    "{", "}", "{}", "{{", "}}", "{{ x }}", "{% if x %}", "{%- raw %}", "{# a #}", "{0}", "{a}",
    "%s", "$a", "${a}", "\\n", "\\", "'", '"', "'''", "`", "<", ">", "&", "&amp;", "<b>",
    "None", "True", "false", "0", "-1", "[]", "a|b", "a, b", "user", "system", "assistant",
    "query", "document", "user\n\nHello", "https://example.com/a.png", "http://example.com/a.mp3",
    "data:image/png;base64,AAAA", "a" * 99, "b" * 1000, "c d " * 2_500, "e" * 100_000, "é" * 70,
    "ÀÉÎ ſ ß İ ŉ", "ａＢ", "中文，测试。", "🏳️‍🌈", "e\u0301", "\u202eabc", "\ufffd", "\U0010ffff",
    "def f(x):\n    return x\n", "    indented\n\ttabs\n", "a  b   c", "line\nline\n\nline",
    "# title", "<think>", "</think>", "<think>\n\n</think>\n\n", "a</think>b",
    "<tool_response>a</tool_response>", "<|im_end|>", "<|im_start|>user", "<|end|>", "<|eot_id|>",
    "[INST]", "[/INST]", "<s>", "</s>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>",
    "<|endoftext|>", "<<SYS>>", "Instruct: a",
)  # fmt: skip
"""Texts that a template may treat in a way of its own."""
_EDGES = ("", " ", "\n", "\t", "  ", "\n\n", " \n", "\n ", "\r\n", "\xa0", "\u3000", "\x1f")


def find_frame(render: Render, count: int) -> Frame:
    """The frame of a template, for one text or for a query and a document (`count` 2).

    Raises:
        NotAFrameError: the template does not put constant text around the texts.
    """
    words, others = (some[:count] for some in _WORDS)
    parts, same = (_split(_rendered(render, texts), texts) for texts in (words, others))
    for index in range(count):
        if index not in parts:
            raise NotAFrameError(f"the {_role(index, count)} is not in the prompt")
    constant = "".join(part for part in parts if isinstance(part, str))
    if len(constant) > _MOST_TEXT:
        raise NotAFrameError(f"it adds more than {_MOST_TEXT:,} characters")
    if _ADDRESS.search(constant):
        raise NotAFrameError("it renders the address of an object")
    if parts != same:
        raise NotAFrameError("it renders two words differently")
    edged = _rendered(render, [f"{_EDGE}{word}{_EDGE}" for word in words])
    return _with_strips(parts, words, edged)


def prove(frame: Frame, render: Render, rows: Iterable[Sequence[str]]) -> None:
    """Renders each row and compares it with the frame.

    Raises:
        NotAFrameError: the template renders a row differently.
    """
    for row in rows:
        if _rendered(render, row) != frame.around(*row):
            named = " and ".join(shortened(text, 60) for text in row)
            raise NotAFrameError(f"it treats {named} in another way than other texts")


def hostile_texts(literals: Sequence[str], tokens: Sequence[str]) -> list[str]:
    """Several hundred texts: `HOSTILE`, and texts with a template's own strings and tokens.

    Args:
        literals: the strings in the template, at which it may branch.
        tokens: the added tokens of the tokenizer.
    """
    own = [text for text in dict.fromkeys(literals) if text][:_MOST_LITERALS]
    some = [*own, *tokens[:_MOST_LITERALS]]
    texts = [*HOSTILE, *some, *(f"{left}a  b{right}" for left in _EDGES for right in _EDGES)]
    texts += [f"{left} {right}" for left, right in itertools.pairwise(HOSTILE) if len(left) < 99]
    for text in some:
        texts += [f"{text} a", f"a {text}", f"a{text}b", f" {text}\n", text.upper()]
    texts += [f"{left}a{right}" for left, right in itertools.product(own, own)]
    return list(dict.fromkeys(texts))


def hostile_rows(texts: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """The texts as rows of `count`: each text as the query and as the document of a pair."""
    if count == 1:
        return [(text,) for text in texts]
    return [*((text, "a b") for text in texts), *(("c d", text) for text in texts)]


def _rendered(render: Render, texts: Sequence[str]) -> str:
    try:
        return render(texts)
    except (MemoryError, NotAFrameError):
        raise
    except Exception as error:  # whatever the template raises
        raise NotAFrameError(f"it fails with {one_line(error, 200)!r}") from error


def _split(rendered: str, words: Sequence[str]) -> list[str | int]:
    """Constant text and indices of words, in order."""
    pieces = re.split(f"({'|'.join(words)})", rendered)
    return [
        words.index(piece) if number % 2 else piece for number, piece in enumerate(pieces) if piece
    ]


def _with_strips(parts: list[str | int], words: Sequence[str], edged: str) -> Frame:
    """The frame whose stripping gives `edged`, for the words with white space at both ends."""
    texts = [f"{_EDGE}{word}{_EDGE}" for word in words]
    places = sum(not isinstance(part, str) for part in parts)
    if places > _MOST_PLACES:
        raise NotAFrameError(f"it has the texts in more than {_MOST_PLACES} places")
    for strips in itertools.product(itertools.product(STRIPS, STRIPS), repeat=places):
        sides = iter(strips)
        frame = Frame(
            tuple(part if isinstance(part, str) else Slot(part, *next(sides)) for part in parts)
        )
        if frame.around(*texts) == edged:
            return frame
    raise NotAFrameError("it changes the white space at the ends of a text")


def _role(index: int, count: int) -> str:
    return ("query", "document")[index] if count > 1 else "text"
