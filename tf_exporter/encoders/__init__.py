"""Encoders by the `model_type` of their config.json: (config, weights) → a function of token ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tf_exporter.encoders.albert import Albert
from tf_exporter.encoders.bert import Bert
from tf_exporter.encoders.convbert import ConvBert
from tf_exporter.encoders.deberta_v2 import DebertaV2
from tf_exporter.encoders.distilbert import DistilBert
from tf_exporter.encoders.electra import Electra
from tf_exporter.encoders.encoder import Encoder
from tf_exporter.encoders.ernie import Ernie
from tf_exporter.encoders.gemma3 import Gemma3
from tf_exporter.encoders.gte import Gte
from tf_exporter.encoders.jina_bert import JinaBert
from tf_exporter.encoders.jina_embeddings_v3 import JinaEmbeddingsV3
from tf_exporter.encoders.llama import Llama
from tf_exporter.encoders.mobilebert import MobileBert
from tf_exporter.encoders.modernbert import ModernBert
from tf_exporter.encoders.mpnet import MPNet
from tf_exporter.encoders.nomic_bert import NomicBert
from tf_exporter.encoders.roberta import Roberta
from tf_exporter.encoders.t5 import T5, UMT5
from tf_exporter.published import JINA_BERT
from tf_exporter.weights import Weights

ENCODERS: dict[str, Callable[[Any, Weights], Encoder]] = {
    "albert": Albert,
    "bert": Bert,
    "camembert": Roberta,
    "convbert": ConvBert,
    "deberta-v2": DebertaV2,
    "distilbert": DistilBert,
    "electra": Electra,
    "ernie": Ernie,
    "eurobert": Llama,
    "gemma3_text": Gemma3,
    "gte": Gte,
    "jina_embeddings_v3": JinaEmbeddingsV3,
    "mobilebert": MobileBert,
    "modernbert": ModernBert,
    "mpnet": MPNet,
    "mt5": T5,
    "nomic_bert": NomicBert,
    "qwen2": Llama,
    "qwen3": Llama,
    "roberta": Roberta,
    "t5": T5,
    "umt5": UMT5,
    "xlm-roberta": Roberta,
}

UNVERIFIED: dict[str, Callable[[Any, Weights], Encoder]] = {JINA_BERT: JinaBert}
"""Encoders that transformers has no class for, by the names that `published.py` gives them: no reference can be run."""
