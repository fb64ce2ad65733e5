package io.github.tfexporter;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Computes an embedding of each text, as sentence-transformers' {@code SentenceTransformer} does.
 *
 * <p>One object serves any number of threads at a time. Close it to free the model's memory.
 */
public final class TextEmbedder implements AutoCloseable {
  private static final Set<String> OUTPUT = Set.of("sentence_embedding");

  private final Artifact artifact;
  private final int dimensions;

  private TextEmbedder(Artifact artifact, int dimensions) {
    this.artifact = artifact;
    this.dimensions = dimensions;
  }

  /** Loads the folder of a model. */
  public static TextEmbedder load(Path folder) {
    return load(folder, Settings.DEFAULT);
  }

  /**
   * Loads the folder of a model.
   *
   * @throws TfExporterException.NotAnArtifact if tf-exporter did not write the folder
   * @throws TfExporterException.Incompatible if it is not a model of embeddings, or not for this TensorFlow
   */
  public static TextEmbedder load(Path folder, Settings settings) {
    Artifact artifact =
        Artifact.open(
            folder,
            settings,
            "TextEmbedder",
            manifest ->
                !manifest.kind().equals("SparseEncoder") && manifest.prompts("", OUTPUT).contains(Prompt.NONE));
    return new TextEmbedder(artifact, artifact.manifest().dimension());
  }

  /** What the model's folder says of it. */
  public Manifest manifest() {
    return artifact.manifest();
  }

  /** The prompts that the model has, {@link Prompt#NONE} first. */
  public Set<Prompt> prompts() {
    return artifact.manifest().prompts("", OUTPUT);
  }

  /** The number of values of an embedding. */
  public int dimensions() {
    return dimensions;
  }

  /**
   * The same model with shorter embeddings: their first values, normalized again if the model
   * normalizes. Both objects share the memory; closing one closes both.
   */
  public TextEmbedder withDimensions(int count) {
    if (count < 1 || count > artifact.manifest().dimension()) {
      throw new TfExporterException.InvalidInput(
          "dimensions must be from 1 to %d: %d".formatted(artifact.manifest().dimension(), count), null);
    }
    return new TextEmbedder(artifact, count);
  }

  /** The embedding of a text without a prompt. */
  public float[] embed(String text) {
    return embed(text, Prompt.NONE);
  }

  /** The embedding of a text after a prompt. */
  public float[] embed(String text, Prompt prompt) {
    return embed(Arrays.asList(text), prompt).get(0);
  }

  /** The embeddings of texts without a prompt, in their order. */
  public List<float[]> embed(List<String> texts) {
    return embed(texts, Prompt.NONE);
  }

  /**
   * The embeddings of texts after a prompt, in their order.
   *
   * @throws TfExporterException.InvalidInput if a text is null, or the model lacks the prompt
   */
  public List<float[]> embed(List<String> texts, Prompt prompt) {
    return embedUtf8(Artifact.utf8(texts), prompt);
  }

  /** The embeddings of texts that are UTF-8 already; invalid bytes become U+FFFD, as in Python. */
  public List<float[]> embedUtf8(List<byte[]> texts, Prompt prompt) {
    List<float[]> rows =
        artifact.inBatches(
            artifact.signature(prompt, "", OUTPUT),
            Map.of(Manifest.INPUT, Artifact.present(texts)),
            result -> Rows.floats(result, "sentence_embedding"));
    return dimensions == artifact.manifest().dimension() ? rows : rows.stream().map(this::truncated).toList();
  }

  private float[] truncated(float[] row) {
    float[] first = Arrays.copyOf(row, dimensions);
    if (!artifact.manifest().modules().contains("Normalize")) {
      return first;
    }
    double squares = 0;
    for (float value : first) {
      squares += (double) value * value;
    }
    // As torch.nn.functional.normalize does.
    float norm = (float) Math.max(Math.sqrt(squares), 1e-12);
    for (int i = 0; i < first.length; i++) {
      first[i] /= norm;
    }
    return first;
  }

  @Override
  public void close() {
    artifact.close();
  }
}
