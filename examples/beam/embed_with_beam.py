"""Embeddings of texts in Parquet files, with Beam.

    python embed_with_beam.py MODEL INPUT OUTPUT [--runner=… and other options of Beam]

INPUT (a file or a pattern) has the columns `id` and `text`. OUTPUT gets `id` and `embedding`, in
chunks (OUTPUT/chunk=0, chunk=1, …). Each chunk is a pipeline of its own, so a restarted program
computes only unfinished chunks. MODEL is a folder that every worker can read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import KeyedModelHandler, PredictionResult, RunInference
from apache_beam.ml.inference.tensorflow_inference import TFModelHandlerNumpy
from apache_beam.options.pipeline_options import PipelineOptions
from tqdm import tqdm


def embed(
    model: Any, batch: Sequence[str], inference_args: dict[str, Any], model_id: str | None = None
) -> Iterable[PredictionResult]:
    """The embeddings of a batch of texts, by the signature that `inference_args` names."""
    function = model.signatures[inference_args["signature"]]
    embeddings = function(input_sequence=tf.constant(list(batch), tf.string))[
        "sentence_embedding"
    ].numpy()
    return [
        PredictionResult(text, embedding, model_id) for text, embedding in zip(batch, embeddings)
    ]


class Embedder(TFModelHandlerNumpy):
    """Beam's handler without Keras, which no longer reads SavedModels."""

    def load_model(self) -> Any:
        return tf.saved_model.load(self._model_uri)


def in_chunk(row: dict[str, Any], chunk: int, chunks: int) -> bool:
    """Whether a row belongs to a chunk; the same on every machine and in every run."""
    return zlib.crc32(str(row["id"]).encode()) % chunks == chunk


def write(path: str, text: str) -> None:
    with FileSystems.create(path) as file:
        file.write(text.encode())


def fingerprint(model: str) -> str:
    """The hash of the model's manifest, which differs between models but not between folders."""
    with FileSystems.open(FileSystems.join(model, "assets.extra", "tf_exporter.json")) as file:
        return hashlib.sha256(file.read()).hexdigest()


def check_settings(output: str, settings: dict[str, object]) -> None:
    """Ends the program if OUTPUT was started with other settings."""
    path, wanted = f"{output}/_settings.json", json.dumps(settings, sort_keys=True)
    if not FileSystems.exists(path):
        if not FileSystems.exists(output):
            FileSystems.mkdirs(output)
        write(path, wanted)
        return
    with FileSystems.open(path) as file:
        started = file.read().decode()
    if started != wanted:
        sys.exit(f"{output} was started with {started}, not with {wanted}")


def run_chunk(
    options: argparse.Namespace, beam_options: list[str], chunk: int, schema: pa.Schema
) -> None:
    """One pipeline: read, keep the chunk's rows, embed, write."""
    handler = KeyedModelHandler(
        Embedder(options.model, inference_fn=embed, min_batch_size=1, max_batch_size=256)
    )
    with beam.Pipeline(options=PipelineOptions(beam_options)) as pipeline:
        rows = (
            pipeline
            | "read" >> beam.io.ReadFromParquet(options.input, columns=["id", "text"])
            | "chunk" >> beam.Filter(in_chunk, chunk, options.chunks)
        )
        missing = rows | "null" >> beam.Filter(lambda row: row["text"] is None)
        embedded = (
            rows
            | "texts" >> beam.Filter(lambda row: row["text"] is not None)
            | "keys" >> beam.Map(lambda row: (row["id"], row["text"]))
            | "embed" >> RunInference(handler, inference_args={"signature": options.signature})
            | "rows"
            >> beam.Map(lambda pair: {"id": pair[0], "embedding": pair[1].inference.tolist()})
        )
        nothing = missing | "no embedding" >> beam.Map(
            lambda row: {"id": row["id"], "embedding": None}
        )
        both = (embedded, nothing) | beam.Flatten()
        both | "write" >> beam.io.WriteToParquet(
            f"{options.output}/chunk={chunk}/part", schema, file_name_suffix=".parquet"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Embeddings of a Parquet of texts, by Beam.")
    parser.add_argument("model")
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--signature", default="serving_default")
    parser.add_argument(
        "--chunks", type=int, default=16, help="number of chunks; an abort loses one at most"
    )
    options, beam_options = parser.parse_known_args()

    first = FileSystems.match([options.input])[0].metadata_list[0].path
    with FileSystems.open(first) as file:
        id_field = pq.read_schema(file).field("id")
    schema = pa.schema([id_field, ("embedding", pa.list_(pa.float32()))])
    settings = {key: getattr(options, key) for key in ("signature", "chunks", "input")}
    check_settings(options.output, {"model": fingerprint(options.model), **settings})
    for chunk in tqdm(range(options.chunks), desc="chunks"):
        done = f"{options.output}/chunk={chunk}/_SUCCESS"
        if not FileSystems.exists(done):
            if FileSystems.exists(os.path.dirname(done)):  # of a run that died while writing
                FileSystems.delete([os.path.dirname(done)])
            run_chunk(options, beam_options, chunk, schema)
            write(done, "")


if __name__ == "__main__":
    main()
