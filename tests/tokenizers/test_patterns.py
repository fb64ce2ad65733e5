"""The regex compiler: accepted patterns match as in Oniguruma; errors name the rest."""

from __future__ import annotations

import random
import re

import pytest
import tensorflow as tf
from tokenizers import Regex, normalizers, pre_tokenizers

from tests.tokenizers.test_steps import CHARS, check_cut, check_normalized
from tf_exporter.tokenizers.patterns.compiling import compile_pattern
from tf_exporter.tokenizers.patterns.pieces import (
    ButLast,
    Chain,
    Class,
    Either,
    Maybe,
    Run,
    UpToLast,
)
from tf_exporter.tokenizers.patterns.syntax import PatternSyntaxError
from tf_exporter.tokenizers.unicode.probing import probe_class

CLASSES = [
    "a",
    "b",
    " ",
    "'",
    r"\s",
    r"\S",
    r"\d",
    r"\w",
    r"\p{L}",
    r"\p{Lu}",
    r"\P{M}",
    "[ab]",
    "[^ab]",
    r"[\r\n]",
    r"[^\s\p{L}]",
]
COUNTS = ["", "", "", "?", "*", "+", "?+", "++", "{2}", "{1,2}", "{2,}", "{,2}"]
TEXT = [*"aabbAB  \n\r'1٣é中", *CHARS[:40]]


def random_expression(random_: random.Random, depth: int = 0) -> str:
    """A random pattern of one to three alternatives with one to four items each."""
    alternatives = []
    for _ in range(random_.choice((1, 1, 2, 3))):
        items = []
        for _ in range(random_.randint(1, 4)):
            if depth < 2 and random_.random() < 0.15:
                opening = random_.choice(("(", "(?:"))
                inner = random_expression(random_, depth + 1)
                if random_.random() < 0.5:
                    items.append(random_.choice(CLASSES) + random_.choice("?*+"))
                items.append(f"{opening}{inner}){random_.choice(('', '', '?', '?+'))}")
            else:
                items.append(random_.choice(CLASSES) + random_.choice(COUNTS))
        if random_.random() < 0.15:
            items.append(random_.choice((r"\s+(?!\S)", r"\w+(?!\W)", "a+(?![^a])", r"\d(?!a)")))
        alternatives.append("".join(items))
    return "|".join(alternatives)


def accepted(random_: random.Random, count: int) -> list[str]:
    """`count` different patterns that the compiler accepts."""
    expressions: dict[str, None] = {}
    while len(expressions) < count:
        expression = random_expression(random_)
        try:
            compile_pattern(expression, probe_class)
        except PatternSyntaxError:
            continue
        expressions[expression] = None
    return list(expressions)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))]
)
def test_what_is_accepted_is_exact(seed: int) -> None:
    random_ = random.Random(seed)
    texts = ["".join(random_.choices(TEXT, k=random_.randint(1, 16))) for _ in range(250)]
    for expression in accepted(random_, 25):
        check_cut(pre_tokenizers.Split(Regex(expression), "isolated"), texts)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("^a", "^ at position 0"),
        (r"a\b", r"\b at position 1"),
        (r"(a)\1", r"\1 at position 3"),
        ("a*?b", "*? at position 1"),
        ("(ab)+", "a repeated group at position 0"),
        ("(?:a)?+ab", "a possessive group at position 0"),
        ("a?(?:a|bc)", "a group after a, which may have to give back what it matched at pos"),
        (r"\s?(?:\s+|\p{L}+)", r"a group after \s, which may have to give back"),
        (r"\w*(?:[ab]+|[12]+)", r"a group after \w, which may have to give back"),
        (r"\d*(?:\d+)?", r"a group after \d, which may have to give back"),
        (r"\xE4\xB8\xAD", r"\x at position 0"),
        ("a|(?=b)c", "a group (?=b at position 2"),
        ("(?<n>a)", "a group (?<n at position 0"),
        ("ab(?!c)", "a look ahead at position 2"),
        (r"\s+(?!\w)", "a look ahead at position 3"),
        ("a|b*", "an alternative that may match nothing at position 2"),
        ("a|", "an alternative that may match nothing at position 0"),
        (r"\w+a", r"\w that may have to give back what it matched at position 0"),
        ("b[a-z]*[a-c]d", "[a-z] that may have to give back what it matched at position 1"),
        ("(?i:ss)", "(?i:…) of other texts than 's|'t|'re|'ve|'m|'ll|'d at position 0"),
        ("a{3}+", "{3}+ at position 1"),
        ("a{2000}", "{2000} at position 1"),
        ("(a", "a group at position 0"),
        ("a)", "a closing parenthesis at position 1"),
        ("[a", "a class without an end at position 0"),
        ("a+*", "* at position 2"),
        (
            "|".join(f"[a{chr(0x4E00 + index)}]" for index in range(40)),
            "40 classes of characters at position 0",
        ),
        ("(a|b)" * 30, "more than 200 alternatives at position 0"),
    ],
)
def test_refusals_have_a_place(expression: str, message: str) -> None:
    with pytest.raises(PatternSyntaxError, match=re.escape(message)):
        compile_pattern(expression, probe_class)


def test_forms() -> None:
    """The forms compiled for backtracking and for alternatives with a common beginning."""

    def compiled(expression: str) -> Either:
        return compile_pattern(expression, probe_class)

    letters, digits = Class(r"\p{L}", 1, None), Class(r"\p{N}", 1, None)
    assert compiled(r"\s*\n+") == Either((Chain((UpToLast(r"\s", r"\n"),)),))
    assert compiled(r"\S?\p{L}+") == Either((Chain((Maybe(Class(r"\S"), Chain((letters,))),)),))
    assert compiled(r" ?\p{L}+| ?\p{N}+") == Either(
        (Chain((Class(" ", 0, 1), Run((r"\p{L}", r"\p{N}")))),)
    )
    assert compiled(r" ?\p{L}+|\p{N}+") == Either(
        (Chain((Class(" ", 0, 1), letters)), Chain((digits,)))
    )
    assert compiled(r" ?(?:\p{L}+|\p{N}+)") == compiled(r" ?\p{L}+| ?\p{N}+")
    assert compiled(r"\p{L}+(?: \d)?") == compiled(r"\p{L}+ \d|\p{L}+")
    assert compiled(r"\s+(?!\S)") == Either((Chain((ButLast(r"\s"),)),))
    # The compiled form is no longer than the shorter spelling.
    assert compiled("[0-9][0-9]") == compiled("[0-9]{2}")


CATEGORIES = (
    "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po "
    "S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co Cn"
).split()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ("Lt", "M", "Sc")))
        for name in CATEGORIES
    ],
)
def test_every_general_category(name: str) -> None:
    """A category and its negation, as Oniguruma defines them."""
    random_ = random.Random(3)
    codes = [code for code in range(0x20, 0x30000, 37) if not 0xD800 <= code < 0xE000]
    texts = ["".join(map(chr, random_.choices(codes, k=12))) for _ in range(150)]
    check_cut(pre_tokenizers.Split(Regex(rf"\p{{{name}}}+"), "isolated"), texts)
    check_cut(pre_tokenizers.Split(Regex(rf"\P{{{name}}}"), "removed"), texts)


def test_replace() -> None:
    """Patterns in normalizers, with classes of any category."""
    texts = ["a€b +c ʰǅ\u0301", "١٢3 ½", tf.compat.as_text(b"\xe2\x82\xac\xe2\x82\xac")]
    for expression in (r"\p{Sc}+", r"\p{M}", r"\p{Nd}{2}", r"[\p{Lm}\p{Lt}]+", r"\p{Z}"):
        check_normalized(normalizers.Replace(Regex(expression), "x"), texts)
