"""The chat template of a Transformer: texts become messages, which it renders as prompts."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_exporter.errors import UnsupportedError
from tf_exporter.model.untyped import TransformersTokenizer
from tf_exporter.modules.transformer.config import TransformerSpec
from tf_exporter.tokenizers.chat.frame import Frame
from tf_exporter.tokenizers.chat.graph import ChatTexts
from tf_exporter.tokenizers.chat.reference import ChatTokenizer, suffix_ids
from tf_exporter.tokenizers.chat.rendering import read_frames
from tf_exporter.tokenizers.chat.settings import ChatSettings, Use
from tf_exporter.tokenizers.contract import TextTokenizer
from tf_exporter.tokenizers.post_processors import Encodings
from tf_exporter.tokenizers.spec import TokenizerSpec


def chat_settings(spec: TransformerSpec, tokenizer: TransformersTokenizer) -> ChatSettings | None:
    """The settings of a Transformer with a chat template; None: it takes texts as they are.

    Raises:
        UnsupportedError: the model needs a template and its tokenizer has none.
    """
    if spec.chat is None or tokenizer.chat_template is not None:
        return spec.chat
    if spec.chat.required:
        supported = "a chat template, as the model has the modality message"
        raise UnsupportedError(_file(spec.folder), "chat_template", None, supported)
    return None


class Chat:
    """The prompts of a Transformer: texts → token ids of rendered prompts.

    Args:
        folder: the folder of the tokenizer in the model.
        settings: how texts become messages.
        tokenizer: the tokenizer; it has a template.
        spec: its spec, without special tokens around a text.
    """

    def __init__(
        self,
        folder: str,
        settings: ChatSettings,
        tokenizer: TransformersTokenizer,
        spec: TokenizerSpec,
    ) -> None:
        self._folder, self._settings, self._hf_tokenizer = folder, settings, tokenizer
        self._max_length = spec.max_length
        self.frames: dict[Use, Frame] = {}

    def prepare(self, uses: Sequence[Use], pairs: bool, tokenizer: TextTokenizer) -> None:
        """Finds the frames of all uses; see `TextModule.prepare`. `tokenizer`: the graph's."""
        hf_tokenizer = self._hf_tokenizer
        self.frames = read_frames(_file(self._folder), hf_tokenizer, self._settings, uses, pairs)
        texts = 2 if pairs else 1
        suffixes = {
            use: suffix_ids(hf_tokenizer, frame, texts) if self._settings.restores_suffix else []
            for use, frame in self.frames.items()
        }
        bare = self.frames[Use()]
        self._texts = ChatTexts(tokenizer, self.frames, suffixes, self._max_length)
        self.reference = ChatTokenizer(hf_tokenizer, bare, suffixes[Use()])
        """The tokenizer that gives the expected token ids of texts without a prompt."""
        empty = hf_tokenizer(bare.around(*[""] * texts), add_special_tokens=False, verbose=False)
        self.tokens_around = len(empty["input_ids"])

    def __call__(self, use: Use, *texts: tf.Tensor) -> Encodings:
        """Bytes [batch], for pairs twice → the token ids of each prompt, truncated."""
        return self._texts(use, *texts)


def _file(folder: str) -> str:
    """The file that chat templates are in, unless they are in a file of their own."""
    return f"{folder}/tokenizer_config.json" if folder else "tokenizer_config.json"
