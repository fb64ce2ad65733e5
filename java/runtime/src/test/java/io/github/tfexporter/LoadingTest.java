package io.github.tfexporter;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Folders that cannot be loaded: a typed error that says what to do. */
class LoadingTest {
  @TempDir Path place;

  @Test
  void aFolderWithoutAManifest() {
    String message = refused(TfExporterException.NotAnArtifact.class, place);
    assertTrue(message.contains("has no assets.extra/tf_exporter.json"), message);
    refused(TfExporterException.NotAnArtifact.class, place.resolve("missing"));
  }

  @Test
  void aManifestThatIsNoManifest() throws IOException {
    for (String content : List.of("", "[]", "{", "{\"tensors\": 1}", "{\"versions\": {\"tf-exporter\": \"x\"}}", "null")) {
      Path folder = copy("embedder");
      Files.writeString(folder.resolve(Manifest.FILE), content);
      refused(TfExporterException.NotAnArtifact.class, folder);
    }
  }

  @Test
  void aNewerExporter() throws IOException {
    for (String version : List.of("0.2.0", "1.0", "10.0.0+local")) {
      Path folder = changed("\"tf-exporter\": \"0.1.0\"", "\"tf-exporter\": \"" + version + "\"");
      String message = refused(TfExporterException.Incompatible.class, folder);
      assertTrue(message.contains("written by tf-exporter " + version), message);
    }
    TextEmbedder.load(changed("\"tf-exporter\": \"0.1.0\"", "\"tf-exporter\": \"0.1.7\"")).close();
  }

  @Test
  void opsThatThisTensorFlowLacks() throws IOException {
    Path newer = changed("\"ops\": [", "\"ops\": [\"OpOfTheFuture\",");
    String message = refused(TfExporterException.Incompatible.class, newer);
    assertTrue(message.contains("[OpOfTheFuture]") && message.contains("use a newer TensorFlow"), message);
    Path custom =
        changed("\"ops\": [", "\"ops\": [\"OpOfTheFuture\",", "\"custom_ops\": []", "\"custom_ops\": [\"OpOfTheFuture\"]");
    message = refused(TfExporterException.Incompatible.class, custom);
    assertTrue(message.contains("Settings.withOpLibraries"), message);
    Settings settings = Settings.DEFAULT.withOpLibraries(List.of(place.resolve("none.so")));
    assertThrows(TfExporterException.Incompatible.class, () -> TextEmbedder.load(custom, settings));
  }

  @Test
  void anotherKind() {
    String message = refused(TfExporterException.Incompatible.class, Cases.folder("reranker"));
    assertTrue(message.contains("is not for a TextEmbedder") && message.contains("CrossEncoder"), message);
    assertThrows(TfExporterException.Incompatible.class, () -> Reranker.load(Cases.folder("embedder")));
    assertThrows(TfExporterException.Incompatible.class, () -> SparseEncoder.load(Cases.folder("embedder")));
    assertThrows(TfExporterException.Incompatible.class, () -> MultiVectorEncoder.load(Cases.folder("embedder")));
    assertThrows(TfExporterException.Incompatible.class, () -> TextClassifier.load(Cases.folder("embedder")));
  }

  @Test
  void aBrokenGraph() throws IOException {
    Path folder = copy("embedder");
    Files.write(folder.resolve("saved_model.pb"), new byte[] {1, 2, 3});
    refused(TfExporterException.NotAnArtifact.class, folder);
    Files.delete(folder.resolve("saved_model.pb"));
    refused(TfExporterException.NotAnArtifact.class, folder);
  }

  @Test
  void settingsThatMakeNoSense() {
    assertThrows(IllegalArgumentException.class, () -> Settings.DEFAULT.withBatchSize(0));
    assertThrows(IllegalArgumentException.class, () -> Settings.DEFAULT.withThreads(-1, 0));
    assertEquals(3, Settings.DEFAULT.withThreads(1, 3).withBatchSize(5).parallelOps());
  }

  private static String refused(Class<? extends TfExporterException> type, Path folder) {
    TfExporterException error = assertThrows(type, () -> TextEmbedder.load(folder));
    assertEquals(1, error.getMessage().lines().count(), error.getMessage());
    return error.getMessage();
  }

  /** A copy of the embedder whose manifest has other texts: pairs of old and new ones. */
  private Path changed(String... texts) throws IOException {
    Path folder = copy("embedder");
    Path manifest = folder.resolve(Manifest.FILE);
    String content = Files.readString(manifest);
    for (int i = 0; i < texts.length; i += 2) {
      assertTrue(content.contains(texts[i]), texts[i]);
      content = content.replace(texts[i], texts[i + 1]);
    }
    Files.writeString(manifest, content);
    return folder;
  }

  private Path copy(String kind) throws IOException {
    Path source = Cases.folder(kind);
    Path target = Files.createTempDirectory(place, "model");
    try (Stream<Path> files = Files.walk(source)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Path copy = target.resolve(source.relativize(file).toString());
        Files.createDirectories(copy.getParent());
        Files.copy(file, copy);
      }
    }
    return target;
  }
}
