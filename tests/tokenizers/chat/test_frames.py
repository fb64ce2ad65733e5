"""Frames of chat templates, found by rendering, beside the reference's own prompts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sentence_transformers.base.modality import InputFormatter
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from fixtures import chat
from tests.support.helpers import hostile_texts
from tf_exporter.tokenizers.chat.frame import (
    NEWLINES,
    NOTHING,
    WHITE_SPACE,
    Frame,
    NotAFrameError,
    Slot,
)
from tf_exporter.tokenizers.chat.graph import framed
from tf_exporter.tokenizers.chat.probing import HOSTILE, find_frame, hostile_rows, prove
from tf_exporter.tokenizers.chat.process import Template, frames_of
from tf_exporter.tokenizers.chat.settings import Use, inferred_format

REAL = chat.real_templates()
PROMPT = "Represent the query\nfor retrieval: "
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
TEXTS = [text.decode(errors="replace") for text in hostile_texts()]


def tokenizer_of(template: str) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"?": 0})), **TOKENS)
    tokenizer.chat_template = template
    return tokenizer


def reference_prompts(template: str, rows: list[Any], prompt: str = "") -> list[str]:
    """The prompts that sentence-transformers' formatter and transformers' tokenizer make."""
    tokenizer = tokenizer_of(template)
    formatter = InputFormatter("qwen3", processor=tokenizer, supported_modalities=["text"])
    _, inputs = formatter.batch_to_message("text", {"text": rows})
    messages = inputs["message"]
    if prompt:
        messages = formatter.prepend_prompt_to_messages(messages, prompt)
    return list(tokenizer.apply_chat_template(messages, tokenize=False))


TEXT = "messages[0].content"


def frame_of(template: str, use: Use | None = None, count: int = 1) -> Frame:
    known = Template(template, TOKENS, inferred_format(template))
    return frames_of(known, [use or Use()], count, ["<s>", "</s>"])[0][0]


REFUSED = {
    "deepseek-r1": "fails", "deepseek-r1-0528": "fails", "deepseek-r1-0528-qwen3": "fails",
    "deepseek-r1-distill-qwen": "fails", "deepseek-v2.5": "fails", "deepseek-v3-0324": "fails",
    "glm4-chat": "white space", "glm4-chat-1m": "white space", "mistral-instruct-v0.3": "fails",
    "mistral-nemo-instruct": "fails", "qwen1.5-chat": "fails", "skywork-or1": "fails",
}  # fmt: skip
"""Real templates that cannot be used for one text → a word of the reason."""


@pytest.mark.skipif(not REAL, reason="the package xinference is not installed")
@pytest.mark.parametrize("name", REAL)
def test_real_templates(name: str) -> None:
    """Found and equal to the reference's prompts, or refused; the reference fails there, too."""
    template = REAL[name]
    if name in REFUSED:
        with pytest.raises(NotAFrameError, match=REFUSED[name]):
            frame_of(template)
        if REFUSED[name] == "fails":
            with pytest.raises(Exception, match="concatenate"):
                reference_prompts(template, ["a"])
        return
    frame = frame_of(template)
    assert [frame.around(text) for text in TEXTS] == reference_prompts(template, TEXTS)
    if name != "llama-2-chat":
        frame = frame_of(template, Use(PROMPT))
        assert [frame.around(text) for text in TEXTS] == reference_prompts(template, TEXTS, PROMPT)


@pytest.mark.skipif(not REAL, reason="the package xinference is not installed")
def test_template_that_strips_the_end_of_its_prompt() -> None:
    """Llama 2's strips prompt and text together, so an empty text changes the prompt."""
    with pytest.raises(NotAFrameError, match=r"treats '' in another way.*as its system message"):
        frame_of(REAL["llama-2-chat"], Use(PROMPT))


@pytest.mark.parametrize("name", chat.PAIR_TEMPLATES)
def test_pairs(name: str) -> None:
    template, rows = chat.PAIR_TEMPLATES[name], [*zip(TEXTS, reversed(TEXTS))]
    for prompt in ("", PROMPT):
        frame = frame_of(template, Use(prompt), 2)
        expected = reference_prompts(template, rows, prompt)
        assert [frame.around(*row) for row in rows] == expected


@pytest.mark.skipif(not REAL, reason="the package xinference is not installed")
@pytest.mark.parametrize("name", ["qwen3", "gemma-3-1b-it", "phi-3-mini-128k-instruct"])
def test_pairs_that_a_template_leaves_out(name: str) -> None:
    """The reference refuses pairs there, too."""
    template = REAL[name]
    with pytest.raises(NotAFrameError, match=r"query is not in the prompt|must alternate"):
        frame_of(template, count=2)
    formatter = InputFormatter("qwen3", processor=tokenizer_of(template))
    assert formatter.pair_roles_failure()


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "text is not in the prompt"),
        ("{{ messages[0].content | replace('a', 'b') }}", "treats"),
        ("{{ messages[0].content | truncate(50) }}", "treats"),
        ("{{ messages[0].content | tojson }}", "white space"),
        ("{{ messages[0] }}", "white space"),
        ("{{ messages[0].content.strip('#') }}", "treats '# title'"),
        ("{{ messages[0].content | e }}", "treats"),
        ("{{ messages[0].content.split('</think>')[-1] }}", "treats '</think>'"),
        ("{% for c in messages[0].content %}{{ c }} {% endfor %}", "text is not in the prompt"),
        (f"{{% if {TEXT} | length > 5000 %}}long{{% endif %}}{{{{ {TEXT} }}}}", "treats 'c d"),
        (f"{{% if '#7#' in {TEXT} %}}x{{% endif %}}{{{{ {TEXT} }}}}", "treats '#7#'"),
        (
            f"{{% set t = {TEXT} %}}{{{{ 'x' if t[:2] == '#7' and t[-2:] == '#8' else t }}}}",
            "treats '#7a#8'",
        ),
        ("{{ messages[0].content ~ messages[0].content | length }}", "white space"),
        ("{{ messages[0].content * 5 }}", "more than 4 places"),
        ("constant", "text is not in the prompt"),
        ("{{ messages[0].content ~ 'ab' * 500001 }}", "more than 1,000,000 characters"),
        ("{{ strftime_now('%Y') }}{{ messages[0].content }}", "reads the clock"),
        ("{{ ['a', 'b'] | random }}{{ messages[0].content }}", r"random values \(random\)"),
        ("{{ lipsum() }}{{ messages[0].content }}", r"random values \(lipsum\)"),
        ("{{ cycler('a') }}{{ messages[0].content }}", "address of an object"),
        ("{{ raise_exception('no') }}", "fails with 'no'"),
        ("{% if %}{{ messages[0].content }}", "not a valid template"),
        ("{% include 'a' %}", "fails with"),
        ("{{ ''.__class__.__mro__ }}{{ messages[0].content }}", "fails with"),
    ],
    ids=str,
)  # fmt: skip
def test_refused_templates(template: str, reason: str) -> None:
    with pytest.raises(NotAFrameError, match=reason):
        frame_of(template)


def test_clock_that_is_not_read() -> None:
    template = "{% if not date %}{{ strftime_now('%Y') }}{% endif %}{{ messages[0].content }}"
    assert Template(template, {"date": "2026"}, "flat").render(Use())(["a"]) == "a"


def stripping(left: str, right: str) -> Callable[[Sequence[str]], str]:
    chars: dict[str, Any] = {WHITE_SPACE: None, NEWLINES: "\n", NOTHING: ""}
    return lambda texts: f"<{texts[0].lstrip(chars[left]).rstrip(chars[right])}>\n"


@pytest.mark.parametrize("left", [NOTHING, WHITE_SPACE, NEWLINES])
@pytest.mark.parametrize("right", [NOTHING, WHITE_SPACE, NEWLINES])
def test_stripping_is_found_and_a_wrong_one_is_caught(left: str, right: str) -> None:
    render = stripping(left, right)
    frame, rows = find_frame(render, 1), hostile_rows(HOSTILE, 1)
    assert frame == Frame(("<", Slot(0, left, right), ">\n"))
    prove(frame, render, rows)
    for wrong in (NOTHING, WHITE_SPACE, NEWLINES):
        if wrong != left:
            with pytest.raises(NotAFrameError, match="treats"):
                prove(Frame(("<", Slot(0, wrong, right), ">\n")), render, rows)
        if wrong != right:
            with pytest.raises(NotAFrameError, match="treats"):
                prove(Frame(("<", Slot(0, left, wrong), ">\n")), render, rows)


@pytest.mark.parametrize(
    "parts",
    [("<", Slot(0), ">"), ("<", Slot(0), ">\n\n"), (" <", Slot(0), ">\n"), (Slot(0), ">\n")],
)
def test_wrong_constants_are_caught(parts: Any) -> None:
    with pytest.raises(NotAFrameError, match="treats"):
        prove(Frame(parts), stripping(NOTHING, NOTHING), hostile_rows(HOSTILE, 1))


def test_frames_in_the_graph() -> None:
    sides = (NOTHING, WHITE_SPACE, NEWLINES)
    slots = [Slot(text, left, right) for text in (0, 1) for left in sides for right in sides]
    frame = Frame(tuple(part for slot in slots for part in (slot, "é|")))
    raw = [text.encode() for text in HOSTILE] + [b" caf\xe9 ", b"\xff\xfe\n", b" \xc3", b"\xe3\x80"]
    others = raw[::-1]
    result = framed(frame, tf.constant(raw), tf.constant(others)).numpy()
    for row, first, second in zip(result, raw, others):
        texts = [text.decode(errors="replace") for text in (first, second)]
        assert row.decode(errors="replace") == frame.around(*texts)
    assert framed(frame, tf.constant([], tf.string), tf.constant([], tf.string)).shape == (0,)


def test_formats_are_inferred_as_by_the_reference() -> None:
    templates = [*REAL.values(), *chat.TEMPLATES.values(), *chat.PAIR_TEMPLATES.values()]
    for template in templates:
        formatter = InputFormatter("qwen3", processor=tokenizer_of(template))
        assert formatter.message_format == inferred_format(template)
    assert inferred_format({"default": "a"}) == "structured"
    assert len({inferred_format(template) for template in templates}) == 2


def test_hostile_texts_are_many() -> None:
    known = Template(chat.TURNS, TOKENS, "flat")
    _, proved = frames_of(known, [Use(), Use("a")], 1, ["<s>", "<turn>"])
    assert proved >= 2 * 300
    assert len(np.unique(HOSTILE)) == len(HOSTILE)
    assert json.dumps(HOSTILE)
