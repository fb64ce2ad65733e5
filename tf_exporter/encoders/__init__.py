"""Encoders by the `model_type` of their config.json."""

from __future__ import annotations

from tf_exporter.encoders.bert import Bert
from tf_exporter.encoders.distilbert import DistilBert
from tf_exporter.encoders.electra import Electra
from tf_exporter.encoders.mpnet import MPNet

Encoder = Bert | DistilBert | Electra | MPNet

ENCODERS: dict[str, type[Encoder]] = {
    "bert": Bert,
    "distilbert": DistilBert,
    "electra": Electra,
    "mpnet": MPNet,
}
