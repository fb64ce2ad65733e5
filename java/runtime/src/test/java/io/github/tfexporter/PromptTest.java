package io.github.tfexporter;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Optional;
import org.junit.jupiter.api.Test;

class PromptTest {
  @Test
  void computationsAreNamedAfterPrompts() {
    assertEquals("serving_default", Prompt.NONE.signature(""));
    assertEquals("encode_query", Prompt.QUERY.signature(""));
    assertEquals("encode_s2p_query_2", new Prompt("s2p query:2").signature(""));
    assertEquals("encode_sparse", Prompt.NONE.signature("sparse"));
    assertEquals("encode_query_sparse", Prompt.QUERY.signature("sparse"));
  }

  @Test
  void promptsOfComputations() {
    assertEquals(Optional.of(Prompt.NONE), Prompt.of("serving_default", ""));
    assertEquals(Optional.of(Prompt.QUERY), Prompt.of("encode_query", ""));
    assertEquals(Optional.of(Prompt.NONE), Prompt.of("encode_sparse", "sparse"));
    assertEquals(Optional.of(Prompt.QUERY), Prompt.of("encode_query_sparse", "sparse"));
    assertEquals(Optional.empty(), Prompt.of("serving_default", "sparse"));
    assertEquals(Optional.empty(), Prompt.of("encode_query", "sparse"));
    assertEquals(Optional.empty(), Prompt.of("tokenize", ""));
  }
}
