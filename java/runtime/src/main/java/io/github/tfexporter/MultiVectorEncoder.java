package io.github.tfexporter;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.tensorflow.Result;

/**
 * Computes a vector for each token, as sentence-transformers' {@code MultiVectorEncoder} (ColBERT)
 * does.
 *
 * <p>One object serves any number of threads at a time. Close it to free the model's memory.
 */
public final class MultiVectorEncoder implements AutoCloseable {
  private static final String HEAD = "multi_vector";
  private static final String VECTORS = "token_embeddings";
  private static final String MASK = "mask";
  private static final Set<String> OUTPUTS = Set.of(VECTORS, MASK, "input_ids");

  private final Artifact artifact;
  private final String suffix;

  private MultiVectorEncoder(Artifact artifact) {
    this.artifact = artifact;
    this.suffix = suffix(artifact.manifest());
  }

  private static String suffix(Manifest manifest) {
    return manifest.prompts(HEAD, OUTPUTS).isEmpty() ? "" : HEAD;
  }

  /** Loads the folder of a model. */
  public static MultiVectorEncoder load(Path folder) {
    return load(folder, Settings.DEFAULT);
  }

  /** Loads the folder of a model; see {@link TextEmbedder#load(Path, Settings)}. */
  public static MultiVectorEncoder load(Path folder, Settings settings) {
    return new MultiVectorEncoder(
        Artifact.open(
            folder,
            settings,
            "MultiVectorEncoder",
            manifest -> manifest.prompts(suffix(manifest), OUTPUTS).contains(Prompt.NONE)));
  }

  /** What the model's folder says of it. */
  public Manifest manifest() {
    return artifact.manifest();
  }

  /** The prompts that the model has: {@link Prompt#QUERY} and {@link Prompt#DOCUMENT}, mostly. */
  public Set<Prompt> prompts() {
    return artifact.manifest().prompts(suffix, OUTPUTS);
  }

  /** The vectors of each text, {@code [tokens][dimensions]}, in the order of the texts. */
  public List<float[][]> encode(List<String> texts, Prompt prompt) {
    return artifact.inBatches(
        artifact.signature(prompt, suffix, OUTPUTS),
        Map.of(Manifest.INPUT, Artifact.utf8(texts)),
        this::vectors);
  }

  private List<float[][]> vectors(Result result) {
    List<float[]> joined = Rows.floats(result, VECTORS);
    List<int[]> masks = Rows.ints(result, MASK);
    List<float[][]> texts = new ArrayList<>(joined.size());
    for (int text = 0; text < joined.size(); text++) {
      // Those that count come first.
      int count = Arrays.stream(masks.get(text)).sum();
      int width = masks.get(text).length == 0 ? 0 : joined.get(text).length / masks.get(text).length;
      float[][] vectors = new float[count][];
      for (int token = 0; token < count; token++) {
        vectors[token] = Arrays.copyOfRange(joined.get(text), token * width, (token + 1) * width);
      }
      texts.add(vectors);
    }
    return texts;
  }

  /** The score (MaxSim) of each document for a query, in the order of the documents. */
  public float[] scores(String query, List<String> documents) {
    List<byte[]> queries = Artifact.utf8(Arrays.asList(query));
    List<byte[]> all = Artifact.utf8(documents);
    List<float[]> rows = new ArrayList<>(all.size());
    int size = artifact.settings().batchSize();
    for (int start = 0; start < all.size(); start += size) {
      List<byte[]> batch = all.subList(start, Math.min(all.size(), start + size));
      rows.addAll(
          artifact.call("score", Map.of("query", queries, "document", batch), result -> Rows.floats(result, "scores")));
    }
    float[] scores = new float[rows.size()];
    for (int row = 0; row < scores.length; row++) {
      scores[row] = rows.get(row)[0];
    }
    return scores;
  }

  @Override
  public void close() {
    artifact.close();
  }
}
