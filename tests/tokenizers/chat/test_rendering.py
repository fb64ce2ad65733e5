"""The process that renders chat templates: its answers, and its limits of time and memory."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures import chat
from tests.tokenizers.chat.test_frames import tokenizer_of
from tf_exporter.errors import UnsupportedError
from tf_exporter.tokenizers.chat import rendering
from tf_exporter.tokenizers.chat.frame import WHITE_SPACE, Frame, Slot
from tf_exporter.tokenizers.chat.rendering import read_frames
from tf_exporter.tokenizers.chat.settings import ChatSettings, Use

FILE = "tokenizer_config.json"


def frames(template: Any, *uses: Use, pairs: bool = False, **arguments: Any) -> dict[Use, Frame]:
    settings = ChatSettings(arguments=arguments)
    return read_frames(FILE, tokenizer_of(template), settings, uses or [Use()], pairs)


def test_frames_of_several_uses() -> None:
    found = frames(chat.TURNS, Use(), Use(" a\n"), add_generation_prompt=True)
    end = "</turn>\n<turn>model\n"
    slot = Slot(0, WHITE_SPACE, WHITE_SPACE)
    assert found == {
        Use(): Frame(("<s><turn>user\n", slot, end)),
        Use(" a\n"): Frame(("<s><turn>user\n a\n\n", slot, end)),
    }


@pytest.mark.slow
def test_tasks() -> None:
    """A template gets the task only if it has a variable of that name, as in the reference."""
    uses = [Use(), Use("", "query"), Use("", "document")]
    ends = [frame.parts[1:] for frame in frames(chat.BY_TASK, *uses).values()]
    assert ends == [(), ("<think></think>",), ("</turn>",)]
    assert len(set(frames(chat.CHATML, *uses).values())) == 1
    [frame] = frames(chat.BY_TASK, Use("", "query"), task="document").values()
    assert frame.parts[1:] == ("</turn>",)


@pytest.mark.slow
def test_arguments() -> None:
    template = "{{ a.b ~ bos_token ~ messages[0].content ~ (tools | length) ~ common_kwargs }}"
    [frame] = frames(template, a={"b": "x"}, bos_token="y", tools=[{"type": "function"}]).values()
    assert frame == Frame(("xy", Slot(0), "1{}"))
    [frame] = frames(chat.CHATML, chat_template="{{ messages[0].content }}!").values()
    assert frame == Frame((Slot(0), "!"))
    [frame] = frames("{{ messages[0].content }} and", continue_final_message=True).values()
    assert frame == Frame((Slot(0),))


@pytest.mark.slow
def test_named_templates() -> None:
    named = {"default": "{{ messages[0].content[0].text }}1", "other": "{{ messages }}"}
    assert [*frames(named).values()] == [Frame((Slot(0), "1"))]
    with pytest.raises(UnsupportedError, match=r"chat_template.*white space"):
        frames(named, chat_template="other")
    with pytest.raises(UnsupportedError, match="chat_template"):
        frames({"other": "{{ messages }}"})


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "words"),
    [
        (LOOP + "{{ messages[0].content }}", "did not answer within"),
        ("{{ 'a' * 10 ** 11 }}{{ messages[0].content }}", "ran out of memory"),
        ("{{ messages[0].content }}{{ messages[0].content * 10 ** 6 }}", "4 places"),
        ("{{ strftime_now('%Y') }}{{ messages[0].content }}", "reads the clock"),
        ("{{ raise_exception('\x1b[31mno\nnever') }}", "never"),
        ("{% if %}", "not a valid template"),
    ],
    ids=["loop", "memory", "large", "clock", "raises", "invalid"],
)
def test_hostile_templates(monkeypatch: pytest.MonkeyPatch, template: str, words: str) -> None:
    """Each is refused in one printable line."""
    monkeypatch.setattr(rendering, "SECONDS", 20.0 if template.startswith(LOOP) else 120.0)
    with pytest.raises(UnsupportedError, match=words) as caught:
        frames(template)
    assert str(caught.value).isprintable()
    assert caught.value.key == "chat_template" and caught.value.file == FILE
