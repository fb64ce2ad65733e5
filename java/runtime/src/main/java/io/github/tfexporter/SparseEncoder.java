package io.github.tfexporter;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * Computes sparse embeddings, as sentence-transformers' {@code SparseEncoder} does.
 *
 * <p>One object serves any number of threads at a time. Close it to free the model's memory.
 */
public final class SparseEncoder implements AutoCloseable {
  private static final String SUFFIX = "sparse";
  private static final Set<String> OUTPUTS = Set.of("indices", "weights");

  /**
   * An embedding that is 0 but for some dimensions.
   *
   * @param indices the dimensions that are not 0: token ids
   * @param weights their values, in the same order
   */
  public record SparseVector(int[] indices, float[] weights) {}

  private final Artifact artifact;

  private SparseEncoder(Artifact artifact) {
    this.artifact = artifact;
  }

  /** Loads the folder of a model. */
  public static SparseEncoder load(Path folder) {
    return load(folder, Settings.DEFAULT);
  }

  /** Loads the folder of a model; see {@link TextEmbedder#load(Path, Settings)}. */
  public static SparseEncoder load(Path folder, Settings settings) {
    return new SparseEncoder(
        Artifact.open(folder, settings, "SparseEncoder", manifest -> !manifest.prompts(SUFFIX, OUTPUTS).isEmpty()));
  }

  /** What the model's folder says of it. */
  public Manifest manifest() {
    return artifact.manifest();
  }

  /** The prompts, or tasks of a Router, that the model has. */
  public Set<Prompt> prompts() {
    return artifact.manifest().prompts(SUFFIX, OUTPUTS);
  }

  /** The embedding of a text. */
  public SparseVector encode(String text) {
    return encode(Arrays.asList(text), Prompt.NONE).get(0);
  }

  /** The embeddings of texts after a prompt, in their order. */
  public List<SparseVector> encode(List<String> texts, Prompt prompt) {
    return artifact.inBatches(
        artifact.signature(prompt, SUFFIX, OUTPUTS),
        Map.of(Manifest.INPUT, Artifact.utf8(texts)),
        result -> {
          List<int[]> indices = Rows.ints(result, "indices");
          List<float[]> weights = Rows.floats(result, "weights");
          return IntStream.range(0, indices.size()).mapToObj(row -> vector(indices.get(row), weights.get(row))).toList();
        });
  }

  /** Rows with fewer values than others are filled up with the index −1. */
  private static SparseVector vector(int[] indices, float[] weights) {
    int count = 0;
    while (count < indices.length && indices[count] >= 0) {
      count++;
    }
    return new SparseVector(Arrays.copyOf(indices, count), Arrays.copyOf(weights, count));
  }

  @Override
  public void close() {
    artifact.close();
  }
}
