"""Texts for verification: fixed ones in many scripts, and random ones that are hard to tokenize."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tf_exporter.tokenizers.spec import TokenizerSpec
from tf_exporter.tokenizers.unicode.probing import code_points

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "how do I renew my library card online?",
    "An unbelievably counterintuitive misunderstanding of internationalization",
    "E-mail me at someone@example.com, or see https://example.com/a?b=c&d=e#f.",
    "It's 3.14159 – roughly 22/7 – or “π”, isn't it?",
    "Prices rose by 12.5% to $1,234.56 (€1.199,99) in Q3/2024!",
    "def f(x): return [i**2 for i in range(x)]  # comment",
    "Être ou ne pas être : telle est la question. Ça alors, où est l'œuf de Noël ?",
    "Die Straße nach Köln führt über größere Brücken. ÄÖÜ ẞ",
    "¿Dónde está la biblioteca? ¡Mañana por la mañana!",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul'da ılık rüzgâr",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ο Σίσυφος ΟΔΥΣΣΕΥΣ",
    "שלום עולם, מה שלומך היום? בְּרֵאשִׁית",
    "السلام عليكم ورحمة الله وبركاته. مُحَمَّد ١٢٣",
    "नमस्ते दुनिया, आप कैसे हैं? हिन्दी में लिखना",
    "আমি বাংলায় গান গাই। তুমি কেমন আছো?",
    "வணக்கம் உலகம், எப்படி இருக்கிறீர்கள்?",
    "สวัสดีชาวโลก วันนี้อากาศดีมาก",
    "ສະບາຍດີຊາວໂລກ ມື້ນີ້",
    "မင်္ဂလာပါ ကမ္ဘာလောက",
    "សួស្តីពិភពលោក",
    "გამარჯობა მსოფლიო, როგორ ხარ?",
    "Բարեւ աշխարհ, ինչպե՞ս ես",
    "ሰላም ዓለም፣ እንዴት ነህ?",
    "今天天气怎么样?我们去公园散步吧。繁體中文與简体中文",
    "こんにちは世界。カタカナとひらがな、漢字も混ぜて書く。ガ",
    "안녕하세요 세계, 오늘 날씨가 어때요? 한글",
    "Xin chào thế giới, hôm nay trời đẹp quá. Tiếng Việt có dấu",
    "👋🏽 Hello 👨‍👩‍👧‍👦 family 🇩🇪🇯🇵 flags ❤️‍🔥 1️⃣ ☃ ☃️",
    "𝓯𝓪𝓷𝓬𝔂 𝕞𝕒𝕥𝕙 𝐭𝐞𝐱𝐭 ﬁ ﬂ ½ ² ™ № ㎏ ＦＵＬＬ ｗｉｄｔｈ",
    "zero\u200bwidth\u200cjoin\u200ders and soft\u00adhyphens and \ufeffBOM",
    "tabs\tand\nnewlines\r\nand\u00a0no-break\u3000ideographic\u2028line separators",
    "controls \x00\x01\x02\x07\x1b[31m\x7f\x80\x9f end",
    "private \ue000\uf8ff and replacement \ufffd and noncharacter \ufdd0 \U0010ffff",
    "Z̷̢͝a̴͓͑l̶̰̈g̵̙̈́o̸̘̿ t̸̡̛e̶͖̓x̷̨͌t̶̜̐",
    "e\u0301 a\u0308\u0304 o\u0304\u0308 \u0345\u0334 q\u0323\u0307 q\u0307\u0323",
    "१॑२॒३ \u0f71\u0f72\u0f74 \u1037\u1039 \u302a\u302e\u302f",
    "!!!??? ... ,,, ;;; --- ___ *** ### @@@ ~~~ ``` ^^^ ||| \\\\\\ ///",
    "ALLCAPS camelCase snake_case kebab-case SHOUTING ǅ ŉ ǰ ΐ ﬓ",
    "##ing ##s un##believable [UNK] [CLS] [SEP] [PAD] [MASK] <s> </s> <pad> <mask> <unk>",
    "   leading, trailing   and   inner   spaces   ",
)

INVALID_UTF8 = (
    b"caf\xe9",
    b"\xff\xfe",
    b"a\xc3",
    b"\xed\xa0\x80b",
    b"\xf0\x9f\x92",
    b"ok \xc0\xaf \xf8\x88\x80\x80\x80 ok",
)

_WORDS = (
    "a an the of to in is was for that with on as by at from it be are this have not or which but "
    "one all were you can more when will about time there into than first other only some could "
    "new them made after also did many before must through back years where much your way well "
    "down should because each just those people how too little state good very make world still "
    "own see men work long get here between both life being under never day same another know "
    "while last might us great old year off come since against go came right used take three"
).split()


_LONGEST = 2**16
"""The largest limit for which texts of about that length are made; word embeddings have more."""


def decoded(text: bytes) -> str:
    """The text that the reference gets for bytes, which may be invalid UTF-8."""
    return text.decode("utf-8", errors="replace")


def texts_for(spec: TokenizerSpec, max_length: int | None, added: int) -> list[bytes]:
    """The `quick_texts` for a tokenizer that keeps `max_length` tokens, `added` of them around."""
    return quick_texts(max_length, added, [token.content for token in spec.added_tokens])


def quick_texts(max_length: int | None, added: int, tokens: Sequence[str]) -> list[bytes]:
    """Several hundred texts: many scripts, hostile ones, and lengths around `max_length`.

    `added`: the number of special tokens around a text. `tokens`: added tokens, used in the texts.
    """
    random_ = random.Random(0)
    texts = ["", " ", "a", "!", "\n", "\u0301", "\x00", *SENTENCES]
    texts += [left + right for left, right in zip(SENTENCES, SENTENCES[7:])]
    texts += [sentence.upper() for sentence in SENTENCES] + [
        sentence.lower() for sentence in SENTENCES
    ]
    for token in tokens[:40]:
        texts += [
            token,
            f"a{token}b",
            f" {token} ",
            f"x {token}{token}, y",
            token[:-1],
            token.upper(),
        ]
    texts += [left + right + left for left, right in pairwise(tokens[:41])]
    texts += ["x" * length for length in (99, 100, 101, 102)]
    # Different letters: float32 sums of hundreds of equal rows round in one direction.
    texts += ["".join(random.Random(1000).choices("abcdefghijklmnopqrstuvwxyz", k=1000))]
    if max_length is None or max_length > _LONGEST:
        # Different words, for the same reason.
        texts += [words(random.Random(length), length) for length in (511, 512, 1024)]
    else:
        for length in {
            max_length - added - 1,
            max_length - added,
            max_length - added + 1,
            max_length * 2,
        }:
            texts.append(" ".join(["a"] * max(length, 0)))
    texts += [
        words(random_, count)
        for count in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377)
        for _ in range(3)
    ]
    texts += generated_texts(1, 60, tokens)
    return [text.encode() for text in texts] + list(INVALID_UTF8)


def words(random_: random.Random, count: int) -> str:
    """`count` random English words."""
    return " ".join(random_.choice(_WORDS) for _ in range(count))


_RANGES = (
    (0x20, 0x7F), (0x00, 0x20), (0x7F, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x780),
    (0x900, 0xE00), (0xE00, 0x10A0), (0x1100, 0x1200), (0x1AB0, 0x1B00), (0x1DC0, 0x2000),
    (0x2000, 0x2100), (0x2100, 0x2C00), (0x3000, 0x3100), (0x3400, 0x3410), (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A4), (0xF900, 0xFB00), (0xFB00, 0x10000), (0x10A00, 0x11000), (0x1D100, 0x1D200),
    (0x1F300, 0x1FB00), (0x20000, 0x2EBF0), (0xE0000, 0xE0200),
)  # fmt: skip
"""Ranges of code points that tokenizers treat specially, as [start, end)."""


def generated_texts(seed: int, count: int, tokens: Sequence[str]) -> list[str]:
    """Random texts with many marks, controls, CJK characters, added tokens and long words."""
    return list(_generate(random.Random(seed), count, list(tokens)))


def _generate(random_: random.Random, count: int, tokens: list[str]) -> Iterator[str]:
    every = code_points()
    for _ in range(count):
        pieces = []
        for _ in range(random_.randint(1, 12)):
            kind = random_.random()
            if kind < 0.30:
                pieces.append(random_.choice(_WORDS))
            elif kind < 0.40:
                pieces.append(
                    random_.choice(
                        (" ", "  ", "\t", "\n", "\u00a0", "\u3000", "\u200b", "\x00", "\x1f")
                    )
                )
            elif kind < 0.50 and tokens:
                pieces.append(random_.choice(tokens))
            elif kind < 0.55:
                start, end = random_.choice(_RANGES)
                pieces.append(chr(random_.randrange(start, end)) * random_.randint(1, 130))
            elif kind < 0.60:
                pieces.append(
                    "".join(random_.choice(_WORDS) for _ in range(random_.randint(2, 40)))
                )
            elif kind < 0.65:
                pieces.append(
                    "".join(chr(random_.choice(every)) for _ in range(random_.randint(1, 6)))
                )
            elif kind < 0.80:
                # Marks of several classes on a letter.
                marks = (
                    chr(random_.choice((random_.randrange(0x300, 0x370), 0x302A, 0x1D165, 0x0F71)))
                    for _ in range(4)
                )
                pieces.append(random_.choice("aeiouçñ") + "".join(marks))
            else:
                start, end = random_.choice(_RANGES)
                pieces.append(
                    "".join(
                        chr(random_.randrange(start, end)) for _ in range(random_.randint(1, 8))
                    )
                )
        yield random_.choice(("", " ")).join(pieces)


CONTEXTS = ("{}", "a{}b", " {} a\u0301{}\u0323")
"""The contexts of each code point in a full check: alone, in a word, among spaces and marks."""


def code_point_texts(context: str) -> list[str]:
    """One text for each of the 1,112,064 code points."""
    return [context.replace("{}", chr(code)) for code in code_points()]
