"""Encoders by the `model_type` of their config.json."""

from __future__ import annotations

from tf_exporter.encoders.albert import Albert
from tf_exporter.encoders.bert import Bert
from tf_exporter.encoders.distilbert import DistilBert
from tf_exporter.encoders.electra import Electra
from tf_exporter.encoders.ernie import Ernie
from tf_exporter.encoders.mpnet import MPNet
from tf_exporter.encoders.roberta import Roberta, XLMRoberta

Encoder = Bert | DistilBert | MPNet

ENCODERS: dict[str, type[Encoder]] = {
    "albert": Albert,
    "bert": Bert,
    "camembert": XLMRoberta,
    "distilbert": DistilBert,
    "electra": Electra,
    "ernie": Ernie,
    "mpnet": MPNet,
    "roberta": Roberta,
    "xlm-roberta": XLMRoberta,
}
