/**
 * Embeddings, scores and classes of texts, from SavedModels that tf-exporter made.
 *
 * <p>Each class loads a folder of one kind: {@link io.github.tfexporter.TextEmbedder}, {@link
 * io.github.tfexporter.Reranker}, {@link io.github.tfexporter.SparseEncoder}, {@link
 * io.github.tfexporter.MultiVectorEncoder}, {@link io.github.tfexporter.TextClassifier}. One object
 * serves any number of threads. Errors are {@link io.github.tfexporter.TfExporterException}s.
 */
package io.github.tfexporter;
