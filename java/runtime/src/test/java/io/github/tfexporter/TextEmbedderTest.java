package io.github.tfexporter;

import static io.github.tfexporter.Cases.assertNear;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class TextEmbedderTest {
  private static final String KIND = "embedder";
  private static final int THREADS = 16;

  private static TextEmbedder embedder;
  private static List<byte[]> texts;
  private static final Map<Prompt, float[][]> expected = new LinkedHashMap<>();

  @BeforeAll
  static void load() {
    embedder = TextEmbedder.load(Cases.folder(KIND));
    texts = Cases.bytes(KIND, "texts");
    JsonObject rows = Cases.get(KIND, "rows").getAsJsonObject();
    for (Map.Entry<String, JsonElement> of : rows.entrySet()) {
      expected.put(new Prompt(of.getKey()), Cases.rows(of.getValue()));
    }
  }

  @AfterAll
  static void close() {
    embedder.close();
  }

  @Test
  void embeddingsAreThoseOfTheReference() {
    assertTrue(texts.size() >= 300, "only " + texts.size());
    assertEquals(Set.of(Prompt.NONE, Prompt.QUERY, Prompt.DOCUMENT), embedder.prompts());
    assertEquals(embedder.prompts(), expected.keySet());
    expected.forEach((prompt, rows) -> assertNear(rows, embedder.embedUtf8(texts, prompt)));
  }

  @Test
  void theSizeOfABatchChangesNothing() {
    Settings settings = Settings.DEFAULT.withBatchSize(7).withThreads(1, 2);
    try (TextEmbedder other = TextEmbedder.load(Cases.folder(KIND), settings)) {
      assertNear(expected.get(Prompt.NONE), other.embedUtf8(texts, Prompt.NONE));
    }
  }

  @Test
  void stringsAreSentAsUtf8() {
    List<String> strings = List.of("Ελληνικά", "日本語", "emoji 👋🏽", "nul \0 inside", "");
    float[][] alone = strings.stream().map(embedder::embed).toArray(float[][]::new);
    assertNear(alone, embedder.embed(strings));
    List<String> all = Cases.texts(KIND, "texts");
    assertNear(expected.get(Prompt.QUERY), embedder.embed(all, Prompt.QUERY));
  }

  @Test
  void fewerDimensionsAreThoseOfTheReference() {
    TextEmbedder shorter = embedder.withDimensions(8);
    assertEquals(8, shorter.dimensions());
    assertNear(Cases.rows(Cases.get(KIND, "first_8")), shorter.embedUtf8(texts, Prompt.NONE));
    for (int count : new int[] {0, -1, embedder.dimensions() + 1}) {
      assertThrows(TfExporterException.InvalidInput.class, () -> embedder.withDimensions(count));
    }
  }

  @Test
  void threadsShareOneModel() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(THREADS);
    try {
      List<Future<?>> calls = new ArrayList<>();
      for (int thread = 0; thread < THREADS; thread++) {
        int first = thread;
        calls.add(
            pool.submit(
                () -> {
                  for (int row = first; row < texts.size(); row += THREADS) {
                    for (Map.Entry<Prompt, float[][]> of : expected.entrySet()) {
                      List<float[]> found = embedder.embedUtf8(List.of(texts.get(row)), of.getKey());
                      assertNear(new float[][] {of.getValue()[row]}, found);
                    }
                  }
                }));
      }
      for (Future<?> call : calls) {
        call.get();
      }
    } finally {
      pool.shutdown();
    }
  }

  @Test
  void badInputIsATypedErrorAndTheNextCallWorks() {
    assertEquals(List.of(), embedder.embed(List.of()));
    assertThrows(TfExporterException.InvalidInput.class, () -> embedder.embed((List<String>) null));
    assertThrows(TfExporterException.InvalidInput.class, () -> embedder.embed((String) null));
    assertThrows(TfExporterException.InvalidInput.class, () -> embedder.embed("a", null));
    assertThrows(TfExporterException.InvalidInput.class, () -> embedder.embedUtf8(null, Prompt.NONE));
    List<byte[]> without = Arrays.asList(new byte[0], null);
    assertThrows(TfExporterException.InvalidInput.class, () -> embedder.embedUtf8(without, Prompt.NONE));
    TfExporterException error =
        assertThrows(
            TfExporterException.InvalidInput.class, () -> embedder.embed(Arrays.asList("a", null)));
    assertEquals("text 1 is null", error.getMessage());
    error =
        assertThrows(TfExporterException.InvalidInput.class, () -> embedder.embed("a", new Prompt("no")));
    assertTrue(error.getMessage().endsWith("has no prompt 'no'; it has [NONE, document, query]"), error.getMessage());
    assertArrayEquals(expected.get(Prompt.NONE)[0], embedder.embedUtf8(texts, Prompt.NONE).get(0), Cases.ALLOWED);
  }

  @Test
  void aClosedModelIsATypedError() throws Exception {
    TextEmbedder other = TextEmbedder.load(Cases.folder(KIND));
    ExecutorService pool = Executors.newFixedThreadPool(4);
    try {
      List<Future<Integer>> calls = new ArrayList<>();
      for (int thread = 0; thread < 4; thread++) {
        calls.add(
            pool.submit(
                () -> {
                  int count = 0;
                  try {
                    while (true) {
                      other.embed("a text");
                      count++;
                    }
                  } catch (TfExporterException.Closed error) {
                    return count;
                  }
                }));
      }
      Thread.sleep(300);
      other.close();
      other.close();
      for (Future<Integer> call : calls) {
        assertTrue(call.get() > 0);
      }
      assertThrows(TfExporterException.Closed.class, () -> other.embed("a"));
    } finally {
      pool.shutdown();
    }
  }
}
