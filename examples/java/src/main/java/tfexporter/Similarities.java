package tfexporter;

import io.github.tfexporter.Prompt;
import io.github.tfexporter.TextEmbedder;
import java.nio.file.Path;
import java.util.List;

/** Prints the cosine similarities of four sentences: {@code mvn -q compile exec:java -Dexec.args=MODEL_FOLDER}. */
public final class Similarities {
  private static final List<String> SENTENCES =
      List.of(
          "How do I bake bread at home?",
          "A simple recipe for a sourdough loaf",
          "The stock market fell sharply today",
          "Shares lost value this afternoon");

  private Similarities() {}

  public static void main(String[] arguments) {
    if (arguments.length != 1) {
      System.err.println("one argument: the folder of a model made by tf-exporter");
      System.exit(2);
    }
    try (TextEmbedder embedder = TextEmbedder.load(Path.of(arguments[0]))) {
      Prompt prompt = embedder.prompts().contains(Prompt.QUERY) ? Prompt.QUERY : Prompt.NONE;
      List<float[]> queries = embedder.embed(SENTENCES, prompt);
      List<float[]> documents = embedder.embed(SENTENCES);
      for (int row = 0; row < queries.size(); row++) {
        StringBuilder line = new StringBuilder(String.format("%d  %-40s", row + 1, SENTENCES.get(row)));
        for (float[] document : documents) {
          line.append(String.format("%8.3f", cosine(queries.get(row), document)));
        }
        System.out.println(line);
      }
    }
  }

  static double cosine(float[] left, float[] right) {
    double product = 0;
    double leftSquared = 0;
    double rightSquared = 0;
    for (int i = 0; i < left.length; i++) {
      product += (double) left[i] * right[i];
      leftSquared += (double) left[i] * left[i];
      rightSquared += (double) right[i] * right[i];
    }
    return product / Math.sqrt(leftSquared * rightSquared);
  }
}
