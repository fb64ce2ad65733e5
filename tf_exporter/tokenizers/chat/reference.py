"""The reference tokenizer of a model with a chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tf_exporter.model.untyped import TransformersTokenizer
from tf_exporter.tokenizers.chat.frame import Frame
from tf_exporter.tokenizers.contract import Backend

_FILLERS = ("0", "1 2 3 4")
"""The texts from whose prompts the reference finds the template's last tokens."""


def suffix_ids(tokenizer: TransformersTokenizer, frame: Frame, texts: int) -> list[int]:
    """The token ids that sentence-transformers restores at the end of a truncated prompt.

    They are the last tokens that the prompts of two texts share; none if one prompt is all of the
    other's end. `texts` is 2 for a query and a document.
    """
    first, second = (
        tokenizer(frame.around(*[filler] * texts), add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        for filler in _FILLERS
    )
    shared = 0
    for left, right in zip(reversed(first), reversed(second)):
        if left != right:
            break
        shared += 1
    return first[len(first) - shared :] if 0 < shared < min(len(first), len(second)) else []


class _Ids(NamedTuple):
    ids: list[int]


class _ChatBackend:
    """The `tokenizers.Tokenizer` of a `ChatTokenizer`, as `contract.Backend`."""

    def __init__(self, backend: Backend, frame: Frame, suffix: list[int]) -> None:
        self._backend, self._frame, self._suffix = backend, frame, suffix
        self._max_length: int | None = None

    def no_padding(self) -> None:
        self._backend.no_padding()

    def no_truncation(self) -> None:
        self._backend.no_truncation()
        self._max_length = None

    def enable_truncation(self, max_length: int, *, strategy: str, direction: str) -> None:
        self._backend.enable_truncation(max_length, strategy=strategy, direction=direction)
        self._max_length = max_length

    def encode_batch(
        self, input: Sequence[str | tuple[str, str]], *, add_special_tokens: bool
    ) -> list[_Ids]:
        rows = [(row,) if isinstance(row, str) else row for row in input]
        prompts = [self._frame.around(*row) for row in rows]
        encodings = self._backend.encode_batch(prompts, add_special_tokens=False)
        return [_Ids(self._restored(encoding.ids)) for encoding in encodings]

    def _restored(self, ids: list[int]) -> list[int]:
        if self._max_length is not None and len(ids) >= self._max_length:
            end = self._suffix[-len(ids) :]
            ids[len(ids) - len(end) :] = end
        return ids


class ChatTokenizer:
    """A transformers tokenizer for texts in a frame, with the frame's end restored.

    It follows `Transformer._process_chat_messages` of sentence-transformers 6.2.
    """

    def __init__(self, tokenizer: TransformersTokenizer, frame: Frame, suffix: list[int]) -> None:
        self._tokenizer, self._frame, self._suffix = tokenizer, frame, suffix

    @property
    def backend_tokenizer(self) -> Backend:
        return _ChatBackend(self._tokenizer.backend_tokenizer, self._frame, self._suffix)

    def __call__(self, *texts: list[str], **options: object) -> Mapping[str, list[list[int]]]:
        prompts = [self._frame.around(*row) for row in zip(*texts)]
        batch: Mapping[str, list[list[int]]] = self._tokenizer(
            prompts, add_special_tokens=False, **options
        )
        limit = options.get("max_length")
        if isinstance(limit, int):
            for ids, mask in zip(batch["input_ids"], batch["attention_mask"]):
                size = sum(mask)
                if size >= limit and (end := self._suffix[-size:]):
                    last = len(ids) if mask[0] == 0 else size
                    ids[last - len(end) : last] = end
        return batch
