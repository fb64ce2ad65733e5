package io.github.tfexporter;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.tensorflow.Result;

/**
 * Computes the probability of each class of a text, as transformers' models for sequence
 * classification do: folders of {@code --export-type classifier}.
 *
 * <p>One object serves any number of threads at a time. Close it to free the model's memory.
 */
public final class TextClassifier implements AutoCloseable {
  /**
   * The classes of a text.
   *
   * @param index the index of the most probable class
   * @param label its name
   * @param probabilities the probability of each class, in order
   */
  public record Classification(int index, String label, float[] probabilities) {
    /** The probability of each class, by its name. */
    public Map<String, Float> byLabel(List<String> labels) {
      Map<String, Float> named = new LinkedHashMap<>();
      for (int i = 0; i < probabilities.length; i++) {
        named.put(labels.get(i), probabilities[i]);
      }
      return named;
    }
  }

  private final Artifact artifact;

  private TextClassifier(Artifact artifact) {
    this.artifact = artifact;
  }

  /** Loads the folder of a model. */
  public static TextClassifier load(Path folder) {
    return load(folder, Settings.DEFAULT);
  }

  /** Loads the folder of a model; see {@link TextEmbedder#load(Path, Settings)}. */
  public static TextClassifier load(Path folder, Settings settings) {
    return new TextClassifier(
        Artifact.open(
            folder, settings, "TextClassifier", manifest -> manifest.signatures().containsKey("classify")));
  }

  /** What the model's folder says of it. */
  public Manifest manifest() {
    return artifact.manifest();
  }

  /** The names of the classes, in order. */
  public List<String> labels() {
    return artifact.manifest().labels();
  }

  /** The classes of a text. */
  public Classification classify(String text) {
    return classify(Arrays.asList(text)).get(0);
  }

  /** The classes of texts, in their order. */
  public List<Classification> classify(List<String> texts) {
    return artifact.inBatches("classify", Map.of("sentence1", Artifact.utf8(texts)), this::classes);
  }

  /** The classes of pairs of texts: entailment, for example. */
  public List<Classification> classify(List<String> first, List<String> second) {
    return artifact.inBatches(
        "classify_pair", Artifact.pairs("sentence1", first, "sentence2", second), this::classes);
  }

  private List<Classification> classes(Result result) {
    long[] ids = Rows.longs(result, "class_id");
    List<float[]> probabilities = Rows.floats(result, "probabilities");
    return IntStream.range(0, ids.length)
        .mapToObj(
            row -> {
              int index = (int) ids[row];
              return new Classification(index, labels().get(index), probabilities.get(row));
            })
        .toList();
  }

  @Override
  public void close() {
    artifact.close();
  }
}
