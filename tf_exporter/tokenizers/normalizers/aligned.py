"""Normalizers for offsets: one step for each step of the reference that moves spans.

For token ids, steps that map code points by themselves are probed together. Their spans depend on
each step: NFD gives spans by the order after sorting, also to marks that a later step drops.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import normalizers

from tf_exporter.tokenizers.normalizers.steps import Step, build_normalizer
from tf_exporter.tokenizers.spec import Part
from tf_exporter.tokenizers.unicode.code_points import CodePointNormalizer
from tf_exporter.tokenizers.unicode.probing import NormalizerTables, probe_normalizer


def build_aligned_normalizer(parts: Sequence[Part], added_token_count: int) -> list[Step]:
    """The steps of a normalizer, in order, which give each code the span that it has.

    Raises:
        UnsupportedError: a step is not supported.
    """
    steps: list[Step] = []
    for part in parts:
        _, normalizer = part
        if isinstance(normalizer, normalizers.BertNormalizer) and _strips_accents(normalizer):
            steps.extend(
                CodePointNormalizer(tables, added_token_count) for tables in _bert(normalizer)
            )
        else:
            steps.extend(build_normalizer([part], added_token_count))
    return steps


def _strips_accents(normalizer: normalizers.BertNormalizer) -> bool:
    strips: bool | None = normalizer.strip_accents
    lowers: bool = normalizer.lowercase
    return lowers if strips is None else strips


def _bert(normalizer: normalizers.BertNormalizer) -> list[NormalizerTables]:
    """The steps of a BertNormalizer that strips accents: cleaning, NFD, and the rest."""
    cleaning = normalizers.BertNormalizer(
        clean_text=normalizer.clean_text,
        handle_chinese_chars=normalizer.handle_chinese_chars,
        strip_accents=False,
        lowercase=False,
    )
    rest = normalizers.BertNormalizer(
        clean_text=False,
        handle_chinese_chars=False,
        strip_accents=True,
        lowercase=normalizer.lowercase,
    )
    # The marks that are left are in order already.
    changed = probe_normalizer(rest).changed
    return [
        probe_normalizer(cleaning),
        probe_normalizer(normalizers.NFD()),
        NormalizerTables(changed),
    ]
