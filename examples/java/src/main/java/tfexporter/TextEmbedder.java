package tfexporter;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.tensorflow.Result;
import org.tensorflow.SavedModelBundle;
import org.tensorflow.ndarray.NdArray;
import org.tensorflow.ndarray.NdArrays;
import org.tensorflow.ndarray.Shape;
import org.tensorflow.ndarray.StdArrays;
import org.tensorflow.types.TFloat32;
import org.tensorflow.types.TString;

/**
 * Computes embeddings of texts with a SavedModel made by tf-exporter.
 *
 * <p>It needs only TensorFlow: no custom ops, no Python.
 *
 * <p>One object serves any number of threads at a time. Close it when no call is running any more.
 */
public final class TextEmbedder implements AutoCloseable {
  /** The signature without a prompt, or with the model's default one. */
  public static final String DEFAULT = "serving_default";

  private static final String INPUT = "input_sequence";
  private static final String OUTPUT = "sentence_embedding";

  private final SavedModelBundle model;

  private TextEmbedder(SavedModelBundle model) {
    this.model = model;
  }

  /** Loads a model's folder. */
  public static TextEmbedder load(Path folder) {
    return new TextEmbedder(SavedModelBundle.load(folder.toString(), SavedModelBundle.DEFAULT_TAG));
  }

  /** The names that {@link #embed(String, List)} takes: a signature for each prompt of the model. */
  public List<String> signatures() {
    return model.signatures().stream()
        .filter(signature -> signature.getOutputs().containsKey(OUTPUT))
        .map(signature -> signature.key())
        .toList();
  }

  /** One row for each text, as {@link #DEFAULT} computes it. */
  public float[][] embed(List<String> texts) {
    return embed(DEFAULT, texts);
  }

  /** One row for each text, as a signature computes it: {@code encode_query}, for example. */
  public float[][] embed(String signature, List<String> texts) {
    return embedBytes(signature, texts.stream().map(text -> text.getBytes(StandardCharsets.UTF_8)).toList());
  }

  /** Like {@link #embed(String, List)}, for UTF-8 bytes; invalid UTF-8 becomes U+FFFD, as in Python. */
  public float[][] embedBytes(String signature, List<byte[]> texts) {
    NdArray<byte[]> batch = NdArrays.ofObjects(byte[].class, Shape.of(texts.size()));
    for (int row = 0; row < texts.size(); row++) {
      batch.setObject(texts.get(row), row);
    }
    try (TString input = TString.tensorOfBytes(batch);
        Result result = model.function(signature).call(Map.of(INPUT, input))) {
      TFloat32 embeddings = (TFloat32) result.get(OUTPUT).orElseThrow();
      return StdArrays.array2dCopyOf(embeddings);
    }
  }

  @Override
  public void close() {
    model.close();
  }
}
