package io.github.tfexporter;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;

/** Folders of models, texts, and what the Python libraries compute for them: {@code -Dcases=FILE}. */
public final class Cases {
  public static final float ALLOWED = 1e-5f;
  private static final JsonObject ALL = read();

  private Cases() {}

  private static JsonObject read() {
    try {
      return JsonParser.parseString(Files.readString(Path.of(System.getProperty("cases")))).getAsJsonObject();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** The model of a kind. */
  public static Path folder(String kind) {
    return Path.of(ALL.getAsJsonObject(kind).get("folder").getAsString());
  }

  public static JsonElement get(String kind, String key) {
    return ALL.getAsJsonObject(kind).get(key);
  }

  /** Texts as bytes, which need not be UTF-8. */
  public static List<byte[]> bytes(String kind, String key) {
    List<byte[]> texts = new ArrayList<>();
    for (JsonElement text : get(kind, key).getAsJsonArray()) {
      texts.add(Base64.getDecoder().decode(text.getAsString()));
    }
    return texts;
  }

  /** The same as strings: invalid bytes become U+FFFD. */
  public static List<String> texts(String kind, String key) {
    return bytes(kind, key).stream().map(text -> new String(text, StandardCharsets.UTF_8)).toList();
  }

  public static float[] floats(JsonElement values) {
    return new Gson().fromJson(values, float[].class);
  }

  public static float[][] rows(JsonElement values) {
    return new Gson().fromJson(values, float[][].class);
  }

  public static void assertNear(float[][] expected, List<float[]> found) {
    assertEquals(expected.length, found.size());
    for (int row = 0; row < expected.length; row++) {
      assertArrayEquals(expected[row], found.get(row), ALLOWED, "text " + row);
    }
  }
}
