package tfexporter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Compares embeddings with those that the conversion verified: {@code -Dmodel=FOLDER -Dcases=FILE}. */
class TextEmbedderTest {
  private static final float ALLOWED = 1e-5f;
  private static final int THREADS = 8;
  private static final int MANY_THREADS = 64;
  private static final int ROUNDS = 5;

  private static TextEmbedder embedder;
  private static final List<byte[]> texts = new ArrayList<>();
  private static final Map<String, float[][]> expected = new LinkedHashMap<>();

  /** A file of counts, lengths and big-endian floats: texts as bytes, then the embeddings of each signature. */
  @BeforeAll
  static void load() throws IOException {
    Path cases = Path.of(System.getProperty("cases"));
    try (DataInputStream input = new DataInputStream(new BufferedInputStream(Files.newInputStream(cases)))) {
      int count = input.readInt();
      for (int row = 0; row < count; row++) {
        texts.add(input.readNBytes(input.readInt()));
      }
      for (int signatures = input.readInt(); signatures > 0; signatures--) {
        String name = new String(input.readNBytes(input.readInt()), StandardCharsets.UTF_8);
        float[][] rows = new float[count][input.readInt()];
        for (float[] row : rows) {
          for (int i = 0; i < row.length; i++) {
            row[i] = input.readFloat();
          }
        }
        expected.put(name, rows);
      }
    }
    embedder = TextEmbedder.load(Path.of(System.getProperty("model")));
  }

  @AfterAll
  static void close() {
    embedder.close();
  }

  @Test
  void embeddingsAreThoseOfTheConversion() {
    assertTrue(texts.size() >= 200);
    assertTrue(embedder.signatures().containsAll(expected.keySet()));
    expected.forEach((name, rows) -> assertNear(rows, embedder.embedBytes(name, texts)));
  }

  @Test
  void oneTextIsAsInABatch() {
    float[][] rows = expected.get(TextEmbedder.DEFAULT);
    for (int row = 0; row < 20; row++) {
      assertNear(new float[][] {rows[row]}, embedder.embedBytes(TextEmbedder.DEFAULT, List.of(texts.get(row))));
    }
  }

  @Test
  void stringsAreSentAsUtf8() {
    List<String> strings = List.of("Ελληνικά", "日本語", "emoji 👋🏽", "nul \0 inside", "");
    List<byte[]> bytes = strings.stream().map(text -> text.getBytes(StandardCharsets.UTF_8)).toList();
    assertNear(embedder.embedBytes(TextEmbedder.DEFAULT, bytes), embedder.embed(strings));
  }

  @Test
  void noTextsGiveNoRows() {
    assertEquals(0, embedder.embed(Collections.emptyList()).length);
  }

  @Test
  void anUnknownSignatureIsAnErrorAndTheNextCallWorks() {
    assertThrows(IllegalArgumentException.class, () -> embedder.embed("no_such_signature", List.of("a")));
    assertEquals(1, embedder.embed(List.of("a")).length);
  }

  @Test
  void threadsShareOneModel() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(THREADS);
    try {
      List<Future<?>> calls = new ArrayList<>();
      for (int thread = 0; thread < THREADS; thread++) {
        for (Map.Entry<String, float[][]> of : expected.entrySet()) {
          calls.add(pool.submit(() -> {
            for (int round = 0; round < ROUNDS; round++) {
              assertNear(of.getValue(), embedder.embedBytes(of.getKey(), texts));
            }
          }));
        }
      }
      for (Future<?> call : calls) {
        call.get();
      }
    } finally {
      pool.shutdown();
    }
  }

  @Test
  void manyThreadsWithATextEach() throws Exception {
    // One call prepares each signature; threads that begin together would each do it.
    for (String name : expected.keySet()) {
      embedder.embedBytes(name, texts.subList(0, 32));
    }
    ExecutorService pool = Executors.newFixedThreadPool(MANY_THREADS);
    try {
      List<Future<?>> calls = new ArrayList<>();
      for (int thread = 0; thread < MANY_THREADS; thread++) {
        int first = thread;
        calls.add(pool.submit(() -> {
          for (int row = first; row < texts.size(); row += MANY_THREADS) {
            for (Map.Entry<String, float[][]> of : expected.entrySet()) {
              float[][] wanted = {of.getValue()[row]};
              assertNear(wanted, embedder.embedBytes(of.getKey(), List.of(texts.get(row))));
            }
          }
        }));
      }
      for (Future<?> call : calls) {
        call.get(10, TimeUnit.MINUTES);
      }
    } finally {
      pool.shutdown();
    }
  }

  private static void assertNear(float[][] rows, float[][] found) {
    assertEquals(rows.length, found.length);
    for (int row = 0; row < rows.length; row++) {
      assertArrayEquals(rows[row], found[row], ALLOWED, "text " + row);
    }
  }
}
