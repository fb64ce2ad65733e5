package io.github.tfexporter.langchain4j;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.langchain4j.data.document.Metadata;
import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.rag.content.Content;
import dev.langchain4j.rag.content.retriever.ContentRetriever;
import dev.langchain4j.rag.content.retriever.EmbeddingStoreContentRetriever;
import dev.langchain4j.rag.query.Query;
import dev.langchain4j.store.embedding.inmemory.InMemoryEmbeddingStore;
import io.github.tfexporter.Cases;
import io.github.tfexporter.Prompt;
import io.github.tfexporter.Reranker;
import io.github.tfexporter.TextEmbedder;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** LangChain4j's interfaces, compared with what the Python libraries compute. */
class ModelsTest {
  @Test
  void embeddingsAreThoseOfTheReference() {
    try (TextEmbedder embedder = TextEmbedder.load(Cases.folder("embedder"))) {
      Map<String, Prompt> prompts = Map.of("", Prompt.NONE, "query", Prompt.QUERY, "document", Prompt.DOCUMENT);
      List<String> texts = Cases.texts("embedder", "texts");
      List<Integer> kept = IntStream.range(0, texts.size()).filter(row -> usable(texts.get(row))).boxed().toList();
      List<TextSegment> segments = kept.stream().map(row -> TextSegment.from(texts.get(row))).toList();
      prompts.forEach(
          (name, prompt) -> {
            float[][] rows = Cases.rows(Cases.get("embedder", "rows").getAsJsonObject().get(name));
            float[][] expected = kept.stream().map(row -> rows[row]).toArray(float[][]::new);
            TfExporterEmbeddingModel model = new TfExporterEmbeddingModel(embedder, prompt);
            List<Embedding> found = model.embedAll(segments).content();
            Cases.assertNear(expected, found.stream().map(Embedding::vector).toList());
            assertEquals(expected[0].length, model.dimension());
          });
    }
  }

  @Test
  void scoresAreThoseOfTheReference() {
    try (Reranker reranker = Reranker.load(Cases.folder("reranker"))) {
      List<String> documents = Cases.texts("reranker", "documents");
      float[] scores = Cases.floats(Cases.get("reranker", "scores"));
      List<Integer> kept = IntStream.range(0, scores.length).filter(row -> usable(documents.get(row))).boxed().toList();
      List<TextSegment> segments = kept.stream().map(row -> TextSegment.from(documents.get(row))).toList();
      String query = Cases.get("reranker", "query").getAsString();
      List<Double> found = new TfExporterScoringModel(reranker).scoreAll(segments, query).content();
      assertEquals(kept.size(), found.size());
      for (int i = 0; i < found.size(); i++) {
        assertEquals(scores[kept.get(i)], found.get(i), Cases.ALLOWED);
      }
    }
  }

  @Test
  void aStoreIsFilledAndSearched() {
    try (TextEmbedder embedder = TextEmbedder.load(Cases.folder("embedder"))) {
      InMemoryEmbeddingStore<TextSegment> store = new InMemoryEmbeddingStore<>();
      TfExporterEmbeddingModel documents = new TfExporterEmbeddingModel(embedder, Prompt.DOCUMENT);
      List<TextSegment> segments =
          List.of(
              TextSegment.from("birds sing loud songs", Metadata.from("id", "birds")),
              TextSegment.from("the river bank is near", Metadata.from("id", "river")));
      store.addAll(documents.embedAll(segments).content(), segments);
      ContentRetriever retriever =
          EmbeddingStoreContentRetriever.builder()
              .embeddingStore(store)
              .embeddingModel(new TfExporterEmbeddingModel(embedder, Prompt.DOCUMENT))
              .maxResults(1)
              .build();
      // With the same prompt, a text is nearest to itself.
      for (TextSegment segment : segments) {
        List<Content> found = retriever.retrieve(Query.from(segment.text()));
        assertEquals(List.of(segment.text()), found.stream().map(content -> content.textSegment().text()).toList());
      }
    }
  }

  /** LangChain4j takes no segment of white space and control characters alone. */
  private static boolean usable(String text) {
    return !text.trim().isEmpty();
  }
}
