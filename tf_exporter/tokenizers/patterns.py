"""The regular expressions that tokenizers split and replace by: where a match that starts at each place would end.

A closed list: each expression in use is written down once more, out of few kinds of pieces (`pattern_pieces.py`) that are
computed for all places at once. Classes of characters are asked of the installed `tokenizers`, which matches with Oniguruma.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_exporter.model.config_file import ConfigFile
from tf_exporter.tokenizers.pattern_pieces import Chain, Class, Contraction, Either, Maybe, Run, Scan, Spaces, Text, UpToLast
from tf_exporter.tokenizers.probing import probe_class
from tf_exporter.tokenizers.tables import UNICODE_SIZE, CodePointTable


def _some(name: str) -> Class:
    return Class(name, 1, None)


def _any(name: str) -> Class:
    return Class(name, 0, None)


def _maybe(name: str) -> Class:
    return Class(name, 0, 1)


def _chain(*steps: Class | Text | Contraction | Run | Spaces | UpToLast | Maybe | Either) -> Chain:
    return Chain(steps)


def _texts(*texts: str) -> tuple[Chain, ...]:
    return tuple(Chain((Text(text),)) for text in texts)


_SPACE, _LINE, _WHITE = " ", r"[\r\n]", r"\s"
_SPACES = (
    # \s*[\r\n]+ is all white space up to the last line break.
    _chain(UpToLast(_WHITE, _LINE)),
    _chain(Spaces()),
)
_BEFORE_LETTERS = r"[^\r\n\p{L}\p{N}]"


def _gpt4(letters: str, digits: Class, others: str) -> Either:
    words = _chain(_maybe(_BEFORE_LETTERS), _some(letters))
    if r"\p{M}" in letters:
        # A mark is both what may come before letters and one of them.
        words = _chain(Maybe(Class(_BEFORE_LETTERS), _chain(_some(letters))))
    return Either(
        (_chain(Contraction(folded=True)), words, _chain(digits), _chain(_maybe(_SPACE), _some(others), _any(_LINE)), *_SPACES)
    )


_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cased(digits: Class, contractions: bool) -> Either:
    """GPT-4o's and Mistral's: words break before capitals."""
    after: tuple[Maybe, ...] = ()
    if contractions:
        after = (Maybe(Contraction(folded=True), Chain(())),)
    lower, upper = UpToLast(_UPPER, _LOWER), (_some(_UPPER), _any(_LOWER))
    return Either(
        (
            _chain(Maybe(Class(_BEFORE_LETTERS), _chain(lower)), *after),
            _chain(Maybe(Class(_BEFORE_LETTERS), _chain(*upper)), *after),
            _chain(digits),
            _chain(_maybe(_SPACE), _some(r"[^\s\p{L}\p{N}]"), _any(r"[\r\n/]")),
            *_SPACES,
        )
    )


_OTHERS = r"[^\s\p{L}\p{N}]"
_GPT2 = Either(
    (
        _chain(Contraction()),
        # All three may begin with the space.
        _chain(_maybe(_SPACE), Run((r"\p{L}", r"\p{N}", _OTHERS))),
        _chain(Spaces()),
    )
)
_CLIP = (_chain(Contraction()), _chain(_some(r"\p{L}")), _chain(Class(r"\p{N}")), _chain(_some(_OTHERS)))
_FOLDED = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""
_BEFORE_MARKED = r"[^\r\n\p{L}\p{P}\p{S}]"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_DEEPSEEK = rf"{_PUNCTUATION}[A-Za-z]+|{_BEFORE_MARKED}?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_TAIL}"
# Line breaks stand in it as themselves.
_DEEPSEEK = _DEEPSEEK.replace(r"\r\n", "\r\n")


def _cased_words(after: str) -> str:
    return f"{_BEFORE_LETTERS}?{_UPPER}*{_LOWER}+{after}|{_BEFORE_LETTERS}?{_UPPER}+{_LOWER}*{after}"


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PATTERNS: dict[str, Either] = {
    GPT2: _GPT2,
    # Llama 3, Qwen 2 and 3, Qwen 3.5
    rf"{_FOLDED}|{_BEFORE_LETTERS}?\p{{L}}+|\p{{N}}{{1,3}}| ?{_OTHERS}+[\r\n]*|{_TAIL}": _gpt4(
        r"\p{L}", Class(r"\p{N}", 1, 3), _OTHERS
    ),
    rf"{_FOLDED}|{_BEFORE_LETTERS}?\p{{L}}+|\p{{N}}| ?{_OTHERS}+[\r\n]*|{_TAIL}": _gpt4(r"\p{L}", Class(r"\p{N}"), _OTHERS),
    rf"{_FOLDED}|{_BEFORE_LETTERS}?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_TAIL}": _gpt4(
        r"[\p{L}\p{M}]", Class(r"\p{N}"), r"[^\s\p{L}\p{M}\p{N}]"
    ),
    # Mistral, GPT-4o
    _cased_words("") + rf"|\p{{N}}| ?{_OTHERS}+[\r\n/]*|{_TAIL}": _cased(Class(r"\p{N}"), contractions=False),
    _cased_words(_FOLDED + "?") + rf"|\p{{N}}{{1,3}}| ?{_OTHERS}+[\r\n/]*|{_TAIL}": _cased(
        Class(r"\p{N}", 1, 3), contractions=True
    ),
    # CLIP, as transformers builds it and as it was converted before
    rf"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|{_OTHERS}+": Either(
        (*_texts("<|startoftext|>", "<|endoftext|>"), *_CLIP)
    ),
    rf"'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|{_OTHERS}+": Either(_CLIP),
    # BLOOM
    r" ?[^(\s|[.,!?…。，、।۔،])]+": Either((_chain(_maybe(_SPACE), _some(r"[^(\s|[.,!?…。，、।۔،])]")),)),
    # DeepSeek, two of the three expressions that it splits by; the other one is of digits
    "[一-龥぀-ゟ゠-ヿ]+": Either((_chain(_some("[一-龥぀-ゟ゠-ヿ]")),)),
    _DEEPSEEK: Either(
        (
            _chain(Class(_PUNCTUATION), _some("[A-Za-z]")),
            _chain(Maybe(Class(_BEFORE_MARKED), _chain(_some(r"[\p{L}\p{M}]")))),
            _chain(_maybe(_SPACE), _some(r"[\p{P}\p{S}]"), _any(_LINE)),
            *_SPACES,
        )
    ),
    # Digits
    r"\p{N}": Either((_chain(Class(r"\p{N}")),)),
    r"\p{N}+": Either((_chain(_some(r"\p{N}")),)),
    r"\p{N}{1,3}": Either((_chain(Class(r"\p{N}", 1, 3)),)),
    r"[0-9]": Either((_chain(Class("[0-9]")),)),
    "[0-9][0-9][0-9]": Either((_chain(Class("[0-9]", 3, 3)),)),
    r"\d": Either((_chain(Class(r"\d")),)),
    r"\d{1,3}": Either((_chain(Class(r"\d", 1, 3)),)),
    # Symbols
    r"\p{S}": Either((_chain(Class(r"\p{S}")),)),
    # White space
    r"\s": Either((_chain(Class(_WHITE)),)),
    r"\s+": Either((_chain(_some(_WHITE)),)),
    " {2,}": Either((_chain(Class(_SPACE, 2, None)),)),
    " +": Either((_chain(_some(_SPACE)),)),
    r"\n": Either((_chain(Class(r"\n")),)),
    r"[\n\r\t]": Either((_chain(Class(r"[\n\r\t]")),)),
    r"\s{2,}|[\n\r\t]": Either((_chain(Class(_WHITE, 2, None)), _chain(Class(r"[\n\r\t]")))),
    # Words
    r"\w+|[^\w\s]+": Either((_chain(_some(r"\w")), _chain(_some(r"[^\w\s]")))),
}
"""Regular expression → its match. Expressions must be spelled exactly so."""


class Pattern:
    """A string or a listed regular expression, with the classes it asks for in one table."""

    def __init__(self, expression: Either, added_token_count: int) -> None:
        self._expression = expression
        self._bits = {name: 1 << index for index, name in enumerate(sorted(expression.classes()))}
        values = np.zeros(UNICODE_SIZE + added_token_count, np.int32)
        for name, bit in self._bits.items():
            values[:UNICODE_SIZE] |= probe_class(name) * np.int32(bit)
        self._table = CodePointTable(values)

    def may_match(self, codes: tf.Tensor) -> tf.Tensor:
        """Whether there may be a match: a cheap test, by what all matches begin with."""
        first = [alternative.steps[0] for alternative in self._expression.alternatives]
        found = []
        for step in first:
            if isinstance(step, Text):
                found.append(tf.reduce_any(codes == ord(step.text[0])))
            elif isinstance(step, Class) and step.least >= 1:
                belongs = tf.bitwise.bitwise_and(self._table(codes), self._bits[step.name]) > 0
                found.append(tf.reduce_any(belongs[1:] & belongs[:-1] if step.least > 1 else belongs))
            else:
                return tf.size(codes) > 0
        return tf.reduce_any(tf.stack(found))

    def __call__(self, codes: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
        """int32 [N]: where a match that starts at each code ends, FAILED where none does; `ends`: see `Scan`."""
        scan = Scan(codes, ends, self._table(codes))
        return self._expression.match(scan, self._bits, scan.here)


def read_pattern(config: ConfigFile, added_token_count: int) -> Pattern:
    """The `pattern` of Split and Replace: {"String": …} or {"Regex": …}.

    Raises:
        UnsupportedError: the expression is not on the list.
    """
    pattern = config.take("pattern", dict)
    text = pattern.get("String")
    if text:
        return Pattern(Either(_texts(text)), added_token_count)
    expression = PATTERNS.get(pattern.get("Regex", ""))
    if expression is None:
        listed = (known.replace("\r", r"\r").replace("\n", r"\n") for known in PATTERNS)
        raise config.unsupported("pattern", ("a string", *listed))
    return Pattern(expression, added_token_count)
