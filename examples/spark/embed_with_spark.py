"""Embeddings of texts in Parquet files, with Spark.

    spark-submit --py-files embedder.py embed_with_spark.py MODEL INPUT OUTPUT

INPUT has the columns `id` and `text`. OUTPUT gets `id` and `embedding`, in chunks (OUTPUT/chunk=0,
chunk=1, …). Each chunk is complete or absent, so a restarted program computes only missing chunks.
If a worker dies, Spark gives its tasks to others. MODEL is a folder that every worker can read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

from embedder import embedding
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812  # as in Spark's documentation
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType
from tqdm import tqdm


def exists(spark: SparkSession, path: str) -> bool:
    """Whether a file exists, in any file system that Spark reads."""
    hadoop_path = spark._jvm.org.apache.hadoop.fs.Path(path)
    return bool(hadoop_path.getFileSystem(spark._jsc.hadoopConfiguration()).exists(hadoop_path))


def fingerprint(model: str) -> str:
    """The hash of the model's manifest, which differs between models but not between folders."""
    return hashlib.sha256(Path(model, "assets.extra/tf_exporter.json").read_bytes()).hexdigest()


def check_settings(spark: SparkSession, output: str, settings: dict[str, object]) -> None:
    """Ends the program if OUTPUT was started with other settings."""
    path, wanted = f"{output}/_settings", json.dumps(settings, sort_keys=True)
    if not exists(spark, f"{path}/_SUCCESS"):
        spark.createDataFrame([(wanted,)], "settings string").coalesce(1).write.mode(
            "overwrite"
        ).text(path)
        return
    started = spark.read.text(path).first()
    if started is None or started[0] != wanted:
        sys.exit(f"{output} was started with {started and started[0]}, not with {wanted}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Embeddings of a Parquet of texts, by Spark.")
    parser.add_argument("model")
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--signature", default="serving_default")
    parser.add_argument(
        "--chunks", type=int, default=16, help="number of chunks; an abort loses one at most"
    )
    options = parser.parse_args()

    spark = SparkSession.builder.appName("embed").getOrCreate()
    texts = spark.read.parquet(options.input).select("id", "text")
    schema = StructType([texts.schema["id"], StructField("embedding", ArrayType(FloatType()))])
    settings = {key: getattr(options, key) for key in ("signature", "chunks", "input")}
    check_settings(spark, options.output, {"model": fingerprint(options.model), **settings})
    for chunk in tqdm(range(options.chunks), desc="chunks", file=sys.stderr):
        folder = f"{options.output}/chunk={chunk}"
        if exists(spark, f"{folder}/_SUCCESS"):
            continue
        rows = texts.where(F.pmod(F.xxhash64("id"), F.lit(options.chunks)) == chunk)
        rows = rows.repartition(spark.sparkContext.defaultParallelism)
        rows.mapInPandas(embedding(options.model, options.signature), schema).write.mode(
            "overwrite"
        ).parquet(folder)
    spark.stop()


if __name__ == "__main__":
    main()
