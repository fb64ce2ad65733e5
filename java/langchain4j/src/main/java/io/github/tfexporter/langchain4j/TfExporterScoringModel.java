package io.github.tfexporter.langchain4j;

import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.output.Response;
import dev.langchain4j.model.scoring.ScoringModel;
import io.github.tfexporter.Reranker;
import java.util.List;
import java.util.stream.IntStream;

/** LangChain4j's {@code ScoringModel} over a {@link Reranker}. The caller closes the reranker. */
public final class TfExporterScoringModel implements ScoringModel {
  private final Reranker reranker;

  /** A model that scores with {@code reranker}. */
  public TfExporterScoringModel(Reranker reranker) {
    this.reranker = reranker;
  }

  @Override
  public Response<List<Double>> scoreAll(List<TextSegment> segments, String query) {
    float[] scores = reranker.scores(query, segments.stream().map(TextSegment::text).toList());
    return Response.from(IntStream.range(0, scores.length).mapToObj(i -> (double) scores[i]).toList());
  }
}
