"""Encoders by the `model_type` of their config.json."""

from __future__ import annotations

from tf_exporter.encoders.albert import Albert
from tf_exporter.encoders.bert import Bert
from tf_exporter.encoders.convbert import ConvBert
from tf_exporter.encoders.deberta_v2 import DebertaV2
from tf_exporter.encoders.distilbert import DistilBert
from tf_exporter.encoders.electra import Electra
from tf_exporter.encoders.ernie import Ernie
from tf_exporter.encoders.eurobert import EuroBert
from tf_exporter.encoders.gemma3 import Gemma3
from tf_exporter.encoders.gte import Gte
from tf_exporter.encoders.jina_bert import JinaBert
from tf_exporter.encoders.jina_embeddings_v3 import JinaEmbeddingsV3
from tf_exporter.encoders.llama import Llama
from tf_exporter.encoders.mobilebert import MobileBert
from tf_exporter.encoders.modernbert import ModernBert
from tf_exporter.encoders.mpnet import MPNet
from tf_exporter.encoders.nomic_bert import NomicBert
from tf_exporter.encoders.qwen2 import Qwen2
from tf_exporter.encoders.qwen3 import Qwen3
from tf_exporter.encoders.roberta import Roberta, XLMRoberta
from tf_exporter.encoders.rotary_bert import RotaryBert
from tf_exporter.encoders.t5 import MT5, T5, UMT5
from tf_exporter.published import JINA_BERT

Encoder = Bert | DebertaV2 | DistilBert | Gemma3 | JinaBert | Llama | MobileBert | ModernBert | MPNet | RotaryBert | T5

ENCODERS: dict[str, type[Encoder]] = {
    "albert": Albert,
    "bert": Bert,
    "camembert": XLMRoberta,
    "convbert": ConvBert,
    "deberta-v2": DebertaV2,
    "distilbert": DistilBert,
    "electra": Electra,
    "ernie": Ernie,
    "eurobert": EuroBert,
    "gemma3_text": Gemma3,
    "gte": Gte,
    "jina_embeddings_v3": JinaEmbeddingsV3,
    "mobilebert": MobileBert,
    "modernbert": ModernBert,
    "mpnet": MPNet,
    "mt5": MT5,
    "nomic_bert": NomicBert,
    "qwen2": Qwen2,
    "qwen3": Qwen3,
    "roberta": Roberta,
    "t5": T5,
    "umt5": UMT5,
    "xlm-roberta": XLMRoberta,
}

UNVERIFIED: dict[str, type[Encoder]] = {JINA_BERT: JinaBert}
"""Encoders that transformers has no class for, by the names that `published.py` gives them: no reference can be run."""
