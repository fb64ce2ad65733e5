package io.github.tfexporter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Rerankers, sparse encoders, multi-vector encoders and classifiers, compared with Python's. */
class OtherKindsTest {
  @Test
  void rerankerScoresPairs() {
    try (Reranker reranker = Reranker.load(Cases.folder("reranker"))) {
      List<String> documents = Cases.texts("reranker", "documents");
      String query = Cases.get("reranker", "query").getAsString();
      float[] expected = Cases.floats(Cases.get("reranker", "scores"));
      assertArrayEquals(expected, reranker.scores(query, documents), Cases.ALLOWED);
      List<Reranker.Ranked> ranked = reranker.rank(query, documents, 5);
      float[] sorted = expected.clone();
      Arrays.sort(sorted);
      assertEquals(5, ranked.size());
      for (int place = 0; place < 5; place++) {
        assertEquals(sorted[sorted.length - 1 - place], ranked.get(place).score(), Cases.ALLOWED);
        assertEquals(expected[ranked.get(place).index()], ranked.get(place).score(), Cases.ALLOWED);
      }
      assertEquals(0, reranker.scores(query, List.of()).length);
      assertThrows(TfExporterException.InvalidInput.class, () -> reranker.scores(query, null));
      assertThrows(TfExporterException.InvalidInput.class, () -> reranker.scores(null, documents));
      assertThrows(
          TfExporterException.InvalidInput.class, () -> reranker.labelScores(List.of("a"), List.of()));
    }
  }

  @Test
  void sparseEmbeddingsHaveTheReferencesValues() {
    try (SparseEncoder encoder = SparseEncoder.load(Cases.folder("sparse"))) {
      List<SparseEncoder.SparseVector> found = encoder.encode(Cases.texts("sparse", "texts"), Prompt.NONE);
      float[][] expected = Cases.rows(Cases.get("sparse", "rows"));
      assertEquals(expected.length, found.size());
      for (int row = 0; row < expected.length; row++) {
        float[] dense = new float[expected[row].length];
        for (int i = 0; i < found.get(row).indices().length; i++) {
          dense[found.get(row).indices()[i]] = found.get(row).weights()[i];
        }
        assertArrayEquals(expected[row], dense, Cases.ALLOWED, "text " + row);
      }
      assertThrows(TfExporterException.Incompatible.class, () -> TextEmbedder.load(Cases.folder("sparse")));
    }
  }

  @Test
  void multiVectorsAndTheirScores() {
    try (MultiVectorEncoder encoder = MultiVectorEncoder.load(Cases.folder("multi_vector"))) {
      List<String> documents = Cases.texts("multi_vector", "documents");
      for (Prompt prompt : List.of(Prompt.QUERY, Prompt.DOCUMENT)) {
        JsonArray expected = Cases.get("multi_vector", prompt.name()).getAsJsonArray();
        List<float[][]> found = encoder.encode(documents, prompt);
        assertEquals(expected.size(), found.size());
        for (int row = 0; row < found.size(); row++) {
          Cases.assertNear(Cases.rows(expected.get(row)), Arrays.asList(found.get(row)));
        }
      }
      float[] scores = encoder.scores(Cases.get("multi_vector", "query_text").getAsString(), documents);
      assertArrayEquals(Cases.floats(Cases.get("multi_vector", "scores")), scores, 1e-4f);
      assertThrows(TfExporterException.InvalidInput.class, () -> encoder.scores(null, documents));
    }
  }

  @Test
  void classesAndTheirProbabilities() {
    try (TextClassifier classifier = TextClassifier.load(Cases.folder("classifier"))) {
      List<TextClassifier.Classification> found = classifier.classify(Cases.texts("classifier", "texts"));
      float[][] expected = Cases.rows(Cases.get("classifier", "probabilities"));
      List<String> labels = List.of(new Gson().fromJson(Cases.get("classifier", "labels"), String[].class));
      assertEquals(labels, classifier.labels());
      assertEquals(expected.length, found.size());
      for (int row = 0; row < expected.length; row++) {
        TextClassifier.Classification own = found.get(row);
        assertArrayEquals(expected[row], own.probabilities(), Cases.ALLOWED, "text " + row);
        assertEquals(labels.get(own.index()), own.label());
        assertEquals(own.probabilities()[own.index()], own.byLabel(labels).get(own.label()));
      }
      // A text without a token is an error of TensorFlow for a classifier.
      assertThrows(TfExporterException.InvalidInput.class, () -> classifier.classify((String) null));
    }
  }
}
