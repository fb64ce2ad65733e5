package io.github.tfexporter.langchain4j;

import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.output.Response;
import io.github.tfexporter.Prompt;
import io.github.tfexporter.TextEmbedder;
import java.util.List;

/**
 * LangChain4j's {@code EmbeddingModel} over a {@link TextEmbedder}.
 *
 * <p>Models with prompts embed queries and documents differently: use one object with {@link
 * Prompt#DOCUMENT} to fill a store, and one with {@link Prompt#QUERY} to search it. Both share the
 * model. The caller closes the embedder.
 */
public final class TfExporterEmbeddingModel implements EmbeddingModel {
  private final TextEmbedder embedder;
  private final Prompt prompt;

  /** A model without a prompt. */
  public TfExporterEmbeddingModel(TextEmbedder embedder) {
    this(embedder, Prompt.NONE);
  }

  /** A model with a prompt; one that the model lacks is an error of the first call. */
  public TfExporterEmbeddingModel(TextEmbedder embedder, Prompt prompt) {
    this.embedder = embedder;
    this.prompt = prompt;
  }

  @Override
  public Response<List<Embedding>> embedAll(List<TextSegment> segments) {
    List<String> texts = segments.stream().map(TextSegment::text).toList();
    return Response.from(embedder.embed(texts, prompt).stream().map(Embedding::from).toList());
  }

  @Override
  public int dimension() {
    return embedder.dimensions();
  }
}
