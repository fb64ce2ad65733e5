"""Architectures by the `model_type` of their config.json."""

from __future__ import annotations

from typing import Any

from tf_exporter.architectures.albert.config import ALBERT
from tf_exporter.architectures.architecture import Architecture
from tf_exporter.architectures.bert.config import BERT
from tf_exporter.architectures.clip.config import CLIP, CLIP_TEXT
from tf_exporter.architectures.convbert.config import CONVBERT
from tf_exporter.architectures.deberta.config import DEBERTA
from tf_exporter.architectures.deberta_v2.config import DEBERTA_V2
from tf_exporter.architectures.distilbert.config import DISTILBERT
from tf_exporter.architectures.electra.config import ELECTRA
from tf_exporter.architectures.embedding_gemma2.config import EMBEDDING_GEMMA2
from tf_exporter.architectures.ernie.config import ERNIE
from tf_exporter.architectures.eurobert.config import EUROBERT
from tf_exporter.architectures.gemma.config import GEMMA
from tf_exporter.architectures.gemma2.config import GEMMA2
from tf_exporter.architectures.gemma3.config import GEMMA3
from tf_exporter.architectures.gte.config import GTE
from tf_exporter.architectures.jina_bert.config import JINA_BERT
from tf_exporter.architectures.jina_embeddings_v3.config import JINA_EMBEDDINGS_V3
from tf_exporter.architectures.llama.config import LLAMA
from tf_exporter.architectures.ministral3.config import MINISTRAL3
from tf_exporter.architectures.mistral.config import MISTRAL
from tf_exporter.architectures.mobilebert.config import MOBILEBERT
from tf_exporter.architectures.modernbert.config import MODERNBERT
from tf_exporter.architectures.mpnet.config import MPNET
from tf_exporter.architectures.nomic_bert.config import NOMIC_BERT
from tf_exporter.architectures.nomic_bert_moe.config import NOMIC_BERT_MOE
from tf_exporter.architectures.phi3.config import PHI3
from tf_exporter.architectures.qwen2.config import QWEN2
from tf_exporter.architectures.qwen3.config import QWEN3
from tf_exporter.architectures.roberta.config import ROBERTA, XLM_ROBERTA
from tf_exporter.architectures.t5.config import MT5, T5, UMT5
from tf_exporter.architectures.xlnet.config import XLNET

ARCHITECTURES: dict[str, Architecture[Any]] = {
    "albert": ALBERT,
    "bert": BERT,
    "camembert": XLM_ROBERTA,
    "clip": CLIP,
    "clip_text_model": CLIP_TEXT,
    "convbert": CONVBERT,
    "deberta": DEBERTA,
    "deberta-v2": DEBERTA_V2,
    "distilbert": DISTILBERT,
    "electra": ELECTRA,
    "embedding_gemma2_text": EMBEDDING_GEMMA2,
    "ernie": ERNIE,
    "eurobert": EUROBERT,
    "gemma": GEMMA,
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA3,
    "gte": GTE,
    "jina_bert": JINA_BERT,
    "jina_embeddings_v3": JINA_EMBEDDINGS_V3,
    "llama": LLAMA,
    "ministral3": MINISTRAL3,
    "mistral": MISTRAL,
    "mobilebert": MOBILEBERT,
    "modernbert": MODERNBERT,
    "mpnet": MPNET,
    "mt5": MT5,
    "nomic_bert": NOMIC_BERT,
    "nomic_bert_moe": NOMIC_BERT_MOE,
    "phi3": PHI3,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "roberta": ROBERTA,
    "t5": T5,
    "umt5": UMT5,
    "xlm-roberta": XLM_ROBERTA,
    "xlnet": XLNET,
}

TEXT_PARTS = {"embedding_gemma2": "embedding_gemma2_text"}
"""Models that also take images and sounds, with the architecture of their text part."""

MODEL_TYPES = tuple(name for name, architecture in ARCHITECTURES.items() if architecture.verified)
"""The architectures that transformers has a class for, so that conversions can be verified."""
VERIFIED = tuple(name for name in MODEL_TYPES if ARCHITECTURES[name].text_features is None)
"""Those of them that give token embeddings."""


def with_head(task: str) -> list[str]:
    """The architectures that have a head for a `transformer_task`."""
    return [name for name, architecture in ARCHITECTURES.items() if architecture.head(task)]
