package io.github.tfexporter;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * What {@code assets.extra/tf_exporter.json} says of a model.
 *
 * @param exportType {@code sentence-embedding} or {@code classifier}, for example
 * @param kind the model's class in sentence-transformers, or an empty string
 * @param exporterVersion the version of tf-exporter that wrote the folder
 * @param dimension values of an embedding; 0 for models without
 * @param modules the modules of the model, {@code Normalize} for example
 * @param labels the names of a classifier's classes, in order
 * @param signatures the names of the graph's computations → the names of their inputs and outputs
 * @param ops all ops of the graph
 * @param customOps those that are not TensorFlow's own
 * @param requires what the processor must have, or an empty string
 */
public record Manifest(
    String exportType,
    String kind,
    String exporterVersion,
    int dimension,
    List<String> modules,
    List<String> labels,
    Map<String, Tensors> signatures,
    List<String> ops,
    List<String> customOps,
    String requires) {
  static final String INPUT = "input_sequence";
  static final String FILE = "assets.extra/tf_exporter.json";

  /** The names of a computation's inputs and outputs. */
  public record Tensors(Set<String> inputs, Set<String> outputs) {}

  /** Reads the manifest of a model's folder. */
  static Manifest read(Path folder) {
    Path path = folder.resolve(FILE);
    if (!Files.isRegularFile(path)) {
      throw new TfExporterException.NotAnArtifact(
          folder + " has no " + FILE + ": give the folder that convert-hf-model wrote", null);
    }
    try (Reader reader = Files.newBufferedReader(path, StandardCharsets.UTF_8)) {
      return of(JsonParser.parseReader(reader).getAsJsonObject());
    } catch (IOException
        | JsonParseException
        | IllegalStateException
        | UnsupportedOperationException
        | ClassCastException
        | NumberFormatException error) {
      throw new TfExporterException.NotAnArtifact(path + " cannot be read: " + error.getMessage(), error);
    }
  }

  private static Manifest of(JsonObject all) {
    Map<String, Tensors> signatures = new LinkedHashMap<>();
    for (Map.Entry<String, JsonElement> of : object(all, "tensors").entrySet()) {
      JsonObject tensors = of.getValue().getAsJsonObject();
      signatures.put(
          of.getKey(),
          new Tensors(Set.copyOf(object(tensors, "inputs").keySet()), Set.copyOf(object(tensors, "outputs").keySet())));
    }
    return new Manifest(
        string(all, "export_type"),
        string(all, "kind"),
        string(object(all, "versions"), "tf-exporter"),
        absent(all, "dimension") ? 0 : all.get("dimension").getAsInt(),
        strings(all, "modules"),
        strings(all, "labels"),
        signatures,
        strings(all, "ops"),
        strings(all, "custom_ops"),
        string(all, "requires"));
  }

  /**
   * The prompts of computations that take one text each.
   *
   * @param suffix what the names of the computations end with, or an empty string
   * @param outputs all outputs that they have
   */
  Set<Prompt> prompts(String suffix, Set<String> outputs) {
    // The empty name of NONE comes first.
    Set<Prompt> prompts = new TreeSet<>(Comparator.comparing(Prompt::name));
    signatures.forEach(
        (name, tensors) -> {
          if (tensors.equals(new Tensors(Set.of(INPUT), outputs))) {
            Prompt.of(name, suffix).ifPresent(prompts::add);
          }
        });
    return prompts;
  }

  private static boolean absent(JsonObject object, String key) {
    return !object.has(key) || object.get(key).isJsonNull();
  }

  private static JsonObject object(JsonObject object, String key) {
    return absent(object, key) ? new JsonObject() : object.getAsJsonObject(key);
  }

  private static String string(JsonObject object, String key) {
    return absent(object, key) ? "" : object.get(key).getAsString();
  }

  private static List<String> strings(JsonObject object, String key) {
    List<String> values = new ArrayList<>();
    for (JsonElement value : absent(object, key) ? new JsonArray() : object.getAsJsonArray(key)) {
      values.add(value.isJsonNull() ? "" : value.getAsString());
    }
    return List.copyOf(values);
  }
}
