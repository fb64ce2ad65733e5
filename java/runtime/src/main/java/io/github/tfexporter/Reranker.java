package io.github.tfexporter;

import java.nio.file.Path;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Scores pairs of texts, as sentence-transformers' {@code CrossEncoder} does.
 *
 * <p>One object serves any number of threads at a time. Close it to free the model's memory.
 */
public final class Reranker implements AutoCloseable {
  private static final String PAIR = "pair_sequence";
  private static final String SCORES = "scores";

  /**
   * A document's place in the ranking.
   *
   * @param index the document's index in the list
   * @param score how well it answers the query
   */
  public record Ranked(int index, float score) {}

  private final Artifact artifact;

  private Reranker(Artifact artifact) {
    this.artifact = artifact;
  }

  /** Loads the folder of a model. */
  public static Reranker load(Path folder) {
    return load(folder, Settings.DEFAULT);
  }

  /** Loads the folder of a model; see {@link TextEmbedder#load(Path, Settings)}. */
  public static Reranker load(Path folder, Settings settings) {
    return new Reranker(
        Artifact.open(folder, settings, "Reranker", manifest -> manifest.kind().equals("CrossEncoder")));
  }

  /** What the model's folder says of it. */
  public Manifest manifest() {
    return artifact.manifest();
  }

  /** The score of each document for a query, in the order of the documents. */
  public float[] scores(String query, List<String> documents) {
    int count = documents == null ? 0 : documents.size();
    List<float[]> rows = labelScores(Collections.nCopies(count, query), documents);
    float[] scores = new float[rows.size()];
    for (int row = 0; row < scores.length; row++) {
      if (rows.get(row).length != 1) {
        throw new TfExporterException.InvalidInput(
            "the model gives %d scores for a pair: use labelScores".formatted(rows.get(row).length), null);
      }
      scores[row] = rows.get(row)[0];
    }
    return scores;
  }

  /** The scores of pairs: one value each, or one for each label of the model. */
  public List<float[]> labelScores(List<String> first, List<String> second) {
    return artifact.inBatches(
        "serving_default",
        Artifact.pairs(Manifest.INPUT, first, PAIR, second),
        result -> Rows.floats(result, SCORES));
  }

  /** The best documents for a query, the best first; equal scores keep their order. */
  public List<Ranked> rank(String query, List<String> documents, int most) {
    float[] scores = scores(query, documents);
    return IntStream.range(0, scores.length)
        .mapToObj(index -> new Ranked(index, scores[index]))
        .sorted(Comparator.comparing(Ranked::score, Comparator.reverseOrder()))
        .limit(most)
        .toList();
  }

  @Override
  public void close() {
    artifact.close();
  }
}
