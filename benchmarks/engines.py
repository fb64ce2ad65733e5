"""The compared engines: functions of texts, with their fastest tokenizers, on `THREADS` threads."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 2
MAX_LENGTH = 256
OURS = "tf-exporter"
PRECISIONS = {
    OURS: "float32",
    f"{OURS}, 1 thread an op": "float32",
    f"{OURS}, bf16": "bfloat16",
    f"{OURS}, int8": "int8",
}
"""Our engines → the precision of their artifacts. One more entry is one more engine."""
ST_ONNX = "sentence-transformers, ONNX"
FILES = {
    "sentence-transformers": "model.safetensors",
    ST_ONNX: "onnx/model.onnx",
    "ONNX Runtime": "optimized.onnx",
    "ONNX Runtime, int8": "int8.onnx",
    "OpenVINO": "plain.onnx",
    "OpenVINO, bf16": "plain.onnx",
    "OpenVINO, int8": "int8.bin",
}
"""The other engines → the file of their weights in the model's folder."""
LEAST_COSINE = {"bf16": 0.99, "int8": 0.9}
"""End of an engine's name → the least cosine to float32 of a text, below which it is broken."""
ST_ONNX_PLACE = Path(sys.prefix) / "onnx-backend"
"""sentence-transformers with its ONNX backend, which wants an older transformers."""
MINILM, MPNET, E5 = "all-MiniLM-L6-v2", "mpnet-base", "multilingual-e5-small"
Encode = Callable[[list[str]], np.ndarray]


def tf_exporter(folder: Path, threads_an_op: int = THREADS) -> Encode:
    """Our artifact's `serving_default`. `THREADS` is TensorFlow's default on that many cores."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads_an_op)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    loaded = tf.saved_model.load(str(folder))
    serve = loaded.signatures["serving_default"]

    def encode(texts: list[str]) -> np.ndarray:
        embeddings: np.ndarray = serve(input_sequence=tf.constant(texts))[
            "sentence_embedding"
        ].numpy()
        return embeddings

    encode.keep = loaded  # type: ignore[attr-defined]
    return encode


def sentence_transformers(folder: Path) -> Encode:
    """sentence-transformers, whose `encode` sorts by length and takes 32 texts at a time."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(THREADS)
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    return lambda texts: model.encode(texts, show_progress_bar=False)


def sentence_transformers_onnx(folder: Path) -> Encode:
    """sentence-transformers' own ONNX backend; `encode` sorts by length, 32 texts at a time.

    The worker has put `ST_ONNX_PLACE` before the other packages.
    """
    from sentence_transformers import SentenceTransformer

    arguments = {
        "provider": "CPUExecutionProvider",
        "file_name": "onnx/model.onnx",
        "session_options": _session_options(),
    }
    model = SentenceTransformer(str(folder), device="cpu", backend="onnx", model_kwargs=arguments)
    return lambda texts: model.encode(texts, show_progress_bar=False)


_EXPORT = """
import sys
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(
    sys.argv[1], device="cpu", backend="onnx",
    model_kwargs={"provider": "CPUExecutionProvider", "export": True},
)
model[0].save(sys.argv[2])
"""


def export_sentence_transformers_onnx(folder: Path) -> None:
    """Writes `onnx/model.onnx`, as sentence-transformers exports it, into a model's folder."""
    if not ST_ONNX_PLACE.is_dir():
        raise SystemExit(f"{ST_ONNX_PLACE}: not installed; see the Makefile")
    place = folder / "onnx-export"
    # Without it, transformers 4 asks for Keras 2 where TensorFlow is installed.
    environment = {**os.environ, "PYTHONPATH": str(ST_ONNX_PLACE), "USE_TF": "0"}
    command = [sys.executable, "-c", _EXPORT, str(folder), str(place)]
    subprocess.run(command, env=environment, check=True)
    (folder / "onnx").mkdir()
    (place / "onnx" / "model.onnx").rename(folder / FILES[ST_ONNX])


def _session_options() -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    return options


def onnxruntime(folder: Path, file: str = "optimized.onnx") -> Encode:
    """The export after onnxruntime's own optimizer; one padded batch."""
    import onnxruntime as ort

    session = ort.InferenceSession(
        str(folder / file), _session_options(), providers=["CPUExecutionProvider"]
    )
    return _with_tokenizers(folder, lambda inputs: session.run(None, inputs)[0])


def openvino(folder: Path, precision: str = "f32", file: str = "plain.onnx") -> Encode:
    """OpenVINO's conversion of the same export; one padded batch."""
    import openvino as ov

    hints = {
        "INFERENCE_NUM_THREADS": THREADS,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
    }
    compiled = ov.Core().compile_model(str(folder / file), "CPU", hints)
    request = compiled.create_infer_request()
    return _with_tokenizers(folder, lambda inputs: request.infer(inputs)[0])


def _with_tokenizers(folder: Path, run: Callable[[dict[str, np.ndarray]], Any]) -> Encode:
    """Hugging Face `tokenizers`, on all threads, before a model that takes ids and mask."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)
    pad = tokenizer.token_to_id("[PAD]")
    pad = tokenizer.token_to_id("<pad>") if pad is None else pad
    tokenizer.enable_padding(pad_id=pad)

    def encode(texts: list[str]) -> np.ndarray:
        encodings = tokenizer.encode_batch_fast(texts)
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)
        return np.array(run({"input_ids": ids, "attention_mask": mask}))

    return encode


def export_onnx(folder: Path) -> dict[str, int]:
    """Writes `plain.onnx` and `optimized.onnx`, ids and mask → embeddings, into a model's folder.

    Returns:
        The names and numbers of the fused operators.
    """
    import torch
    from onnxruntime.transformers import optimizer
    from transformers import AutoModel

    class Embeddings(torch.nn.Module):
        def __init__(self, transformer: torch.nn.Module):
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            tokens = self.transformer(
                input_ids=input_ids, attention_mask=attention_mask
            ).last_hidden_state
            weights = attention_mask.unsqueeze(-1).to(tokens.dtype)
            return torch.nn.functional.normalize(
                (tokens * weights).sum(1) / weights.sum(1).clamp(min=1e-9), dim=1
            )

    # The optimizer recognizes this form of attention.
    transformer = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    ids = torch.ones(2, 16, dtype=torch.int64)
    axes = {name: {0: "batch", 1: "length"} for name in ("input_ids", "attention_mask")}
    with warnings.catch_warnings():
        # This exporter warns; the optimizer does not recognize the graphs of the newer one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Embeddings(transformer),
            (ids, ids),
            str(folder / "plain.onnx"),
            input_names=list(axes),
            output_names=["embedding"],
            dynamic_axes={**axes, "embedding": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    config = transformer.config
    fused = optimizer.optimize_model(
        str(folder / "plain.onnx"),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
    )
    fused.save_model_to_file(str(folder / "optimized.onnx"))
    return {name: count for name, count in fused.get_fused_operator_statistics().items() if count}


def quantize(folder: Path) -> None:
    """Writes `int8.onnx` and `int8.xml` beside the exports, with each library's own tools.

    ONNX Runtime: weights in int8 with a scale for each column, activations quantized as they come.
    OpenVINO: weights in int8 with a scale for each column; its CPU plugin chooses the arithmetic.
    """
    import nncf
    import onnx
    import openvino as ov
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        folder / "optimized.onnx",
        folder / "int8.onnx",
        per_channel=True,
        reduce_range=False,
        weight_type=QuantType.QInt8,
        # It cannot infer the types behind its optimizer's own ops.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    model = nncf.compress_weights(ov.Core().read_model(str(folder / "plain.onnx")))
    ov.save_model(model, str(folder / "int8.xml"), compress_to_fp16=False)


def floor(folder: Path) -> Callable[[int], None]:
    """The model's matrix products alone, as a function of the number of rows.

    Each layer has four: queries, keys and values together, output, up, down.
    """
    import json

    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    config = json.loads((folder / "config.json").read_text())
    hidden, inner, layers = (
        config["hidden_size"],
        config["intermediate_size"],
        config["num_hidden_layers"],
    )
    shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden)]
    weights = [
        [tf.Variable(tf.random.normal(shape) * 0.02) for shape in shapes] for _ in range(layers)
    ]

    @tf.function(input_signature=[tf.TensorSpec([None, hidden])], autograph=False)
    def products(x: tf.Tensor) -> tf.Tensor:
        for joined, output, up, down in weights:
            x = tf.matmul(tf.matmul(x, joined)[:, :hidden], output)
            x = tf.matmul(tf.matmul(x, up), down)
        return x

    return lambda rows: products(tf.ones([rows, hidden])).numpy()


ENGINES: dict[str, Callable[[Path], Encode]] = {
    **dict.fromkeys(PRECISIONS, tf_exporter),
    f"{OURS}, 1 thread an op": lambda folder: tf_exporter(folder, 1),
    "sentence-transformers": sentence_transformers,
    ST_ONNX: sentence_transformers_onnx,
    "ONNX Runtime": onnxruntime,
    "ONNX Runtime, int8": lambda folder: onnxruntime(folder, "int8.onnx"),
    "OpenVINO": openvino,
    "OpenVINO, bf16": lambda folder: openvino(folder, "bf16"),
    "OpenVINO, int8": lambda folder: openvino(folder, file="int8.xml"),
}
