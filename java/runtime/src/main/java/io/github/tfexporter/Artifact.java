package io.github.tfexporter;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Function;
import java.util.function.Predicate;
import org.tensorflow.Result;
import org.tensorflow.SavedModelBundle;
import org.tensorflow.Tensor;
import org.tensorflow.TensorFlow;
import org.tensorflow.exceptions.TFInvalidArgumentException;
import org.tensorflow.exceptions.TFResourceExhaustedException;
import org.tensorflow.exceptions.TensorFlowException;
import org.tensorflow.ndarray.NdArray;
import org.tensorflow.ndarray.NdArrays;
import org.tensorflow.ndarray.Shape;
import org.tensorflow.proto.ConfigProto;
import org.tensorflow.proto.OpDef;
import org.tensorflow.types.TString;

/** A loaded SavedModel, its manifest, and calls of its computations. */
final class Artifact implements AutoCloseable {
  /** The newest format of folders that this library knows, as a version of tf-exporter. */
  private static final int[] NEWEST = {0, 1};

  private final Path folder;
  private final Settings settings;
  private final Manifest manifest;
  private final SavedModelBundle model;
  // Calls share it; closing waits for them.
  private final ReadWriteLock lock = new ReentrantReadWriteLock();
  private boolean closed;

  private Artifact(Path folder, Settings settings, Manifest manifest, SavedModelBundle model) {
    this.folder = folder;
    this.settings = settings;
    this.manifest = manifest;
    this.model = model;
  }

  /**
   * Loads a folder.
   *
   * @param wanted the name of the class that loads it, for messages
   * @param fits whether that class can use it
   */
  static Artifact open(Path folder, Settings settings, String wanted, Predicate<Manifest> fits) {
    Manifest manifest = Manifest.read(folder);
    checkVersion(folder, manifest);
    if (!fits.test(manifest)) {
      throw new TfExporterException.Incompatible(
          "%s is not for a %s: it is of the type %s, kind %s, with the computations %s"
              .formatted(
                  folder,
                  wanted,
                  manifest.exportType(),
                  manifest.kind().isEmpty() ? "unknown" : manifest.kind(),
                  manifest.signatures().keySet()),
          null);
    }
    for (Path library : settings.opLibraries()) {
      try {
        TensorFlow.loadLibrary(library.toString());
      } catch (UnsatisfiedLinkError | TensorFlowException error) {
        throw new TfExporterException.Incompatible(library + " cannot be loaded: " + firstLine(error), error);
      }
    }
    checkOps(folder, manifest);
    ConfigProto config =
        ConfigProto.newBuilder()
            .setIntraOpParallelismThreads(settings.threadsPerOp())
            .setInterOpParallelismThreads(settings.parallelOps())
            .build();
    try {
      SavedModelBundle model =
          SavedModelBundle.loader(folder.toString())
              .withTags(SavedModelBundle.DEFAULT_TAG)
              .withConfigProto(config)
              .load();
      return new Artifact(folder, settings, manifest, model);
    } catch (TFResourceExhaustedException | OutOfMemoryError error) {
      throw new TfExporterException.OutOfMemory(folder + " needs more memory to load: " + firstLine(error), error);
    } catch (TensorFlowException error) {
      throw new TfExporterException.NotAnArtifact(folder + " cannot be loaded: " + firstLine(error), error);
    }
  }

  private static void checkVersion(Path folder, Manifest manifest) {
    String[] parts = manifest.exporterVersion().split("[.+]");
    try {
      int major = Integer.parseInt(parts[0]);
      int minor = Integer.parseInt(parts[1]);
      if (major > NEWEST[0] || (major == NEWEST[0] && minor > NEWEST[1])) {
        throw new TfExporterException.Incompatible(
            "%s was written by tf-exporter %s; this library knows folders up to %d.%d: use a newer one"
                .formatted(folder, manifest.exporterVersion(), NEWEST[0], NEWEST[1]),
            null);
      }
    } catch (NumberFormatException | ArrayIndexOutOfBoundsException error) {
      throw new TfExporterException.NotAnArtifact(
          "%s: versions: tf-exporter: '%s' is not a version"
              .formatted(folder.resolve(Manifest.FILE), manifest.exporterVersion()),
          error);
    }
  }

  private static void checkOps(Path folder, Manifest manifest) {
    Set<String> missing = new TreeSet<>(manifest.ops());
    for (OpDef op : TensorFlow.registeredOpList().getOpList()) {
      missing.remove(op.getName());
    }
    if (missing.isEmpty()) {
      return;
    }
    boolean custom = manifest.customOps().containsAll(missing);
    throw new TfExporterException.Incompatible(
        "%s needs the ops %s, which TensorFlow %s does not have: %s"
            .formatted(
                folder,
                missing,
                TensorFlow.version(),
                custom
                    ? "give their library in Settings.withOpLibraries, or convert without --tokenizer-ops"
                    : "use a newer TensorFlow"),
        null);
  }

  Manifest manifest() {
    return manifest;
  }

  Settings settings() {
    return settings;
  }

  /**
   * The computation for a prompt, and for none the default one.
   *
   * @param suffix what the names of such computations end with, {@code sparse} for example
   * @param outputs the outputs that they have
   */
  String signature(Prompt prompt, String suffix, Set<String> outputs) {
    if (prompt == null) {
      throw new TfExporterException.InvalidInput("the prompt is null: use Prompt.NONE", null);
    }
    Set<Prompt> prompts = manifest.prompts(suffix, outputs);
    String name = prompt.signature(suffix);
    // The name in the graph counts, which may have other characters than the prompt's own.
    if (prompts.stream().noneMatch(own -> own.signature(suffix).equals(name))) {
      throw new TfExporterException.InvalidInput(
          "%s has no prompt '%s'; it has %s".formatted(folder, prompt.name(), prompts), null);
    }
    return name;
  }

  /**
   * Runs a computation for all texts, a batch at a time.
   *
   * @param texts the texts of each input as UTF-8, by its name; all are equally many
   * @param read what is taken from the outputs of a batch, before they are freed
   */
  <R> List<R> inBatches(String signature, Map<String, List<byte[]>> texts, Function<Result, List<R>> read) {
    int count = texts.values().iterator().next().size();
    List<R> results = new ArrayList<>(count);
    for (int start = 0; start < count; start += settings.batchSize()) {
      int first = start;
      int end = Math.min(count, start + settings.batchSize());
      Map<String, List<byte[]>> batch = new LinkedHashMap<>();
      texts.forEach((name, all) -> batch.put(name, all.subList(first, end)));
      results.addAll(call(signature, batch, read));
    }
    return results;
  }

  /** Runs a computation once. */
  <R> R call(String signature, Map<String, List<byte[]>> texts, Function<Result, R> read) {
    lock.readLock().lock();
    Map<String, Tensor> inputs = new LinkedHashMap<>();
    try {
      if (closed) {
        throw new TfExporterException.Closed("the model of " + folder + " was closed: load it again");
      }
      texts.forEach((name, own) -> inputs.put(name, strings(own)));
      try (Result result = model.function(signature).call(inputs)) {
        return read.apply(result);
      }
    } catch (TFInvalidArgumentException error) {
      throw new TfExporterException.InvalidInput(firstLine(error), error);
    } catch (TFResourceExhaustedException | OutOfMemoryError error) {
      throw new TfExporterException.OutOfMemory(
          "too little memory for %d texts; give fewer at a time (Settings.withBatchSize): %s"
              .formatted(texts.values().iterator().next().size(), firstLine(error)),
          error);
    } catch (TensorFlowException error) {
      throw new TfExporterException.Failed(firstLine(error), error);
    } finally {
      inputs.values().forEach(Tensor::close);
      lock.readLock().unlock();
    }
  }

  /** The texts as UTF-8. */
  static List<byte[]> utf8(List<String> texts) {
    return present(texts).stream().map(text -> text.getBytes(StandardCharsets.UTF_8)).toList();
  }

  /** The same list, if neither it nor a text of it is null. */
  static <T> List<T> present(List<T> texts) {
    if (texts == null) {
      throw new TfExporterException.InvalidInput("the list of texts is null", null);
    }
    int row = 0;
    for (T text : texts) {
      if (text == null) {
        throw new TfExporterException.InvalidInput("text " + row + " is null", null);
      }
      row++;
    }
    return texts;
  }

  /** Two lists of texts, as UTF-8, for the inputs of these names. */
  static Map<String, List<byte[]>> pairs(String firstName, List<String> first, String secondName, List<String> second) {
    Map<String, List<byte[]>> pairs = Map.of(firstName, utf8(first), secondName, utf8(second));
    if (first.size() != second.size()) {
      throw new TfExporterException.InvalidInput(
          "pairs need as many first as second texts: %d, %d".formatted(first.size(), second.size()), null);
    }
    return pairs;
  }

  private static TString strings(List<byte[]> texts) {
    NdArray<byte[]> batch = NdArrays.ofObjects(byte[].class, Shape.of(texts.size()));
    for (int row = 0; row < texts.size(); row++) {
      batch.setObject(texts.get(row), row);
    }
    return TString.tensorOfBytes(batch);
  }

  /** The message without the trace of nodes that TensorFlow adds. */
  private static String firstLine(Throwable error) {
    String message = String.valueOf(error.getMessage()).strip();
    return message.lines().findFirst().orElse("no message");
  }

  /** Frees the model's memory, after the calls that are running. Closing again does nothing. */
  @Override
  public void close() {
    lock.writeLock().lock();
    try {
      if (!closed) {
        closed = true;
        model.close();
      }
    } finally {
      lock.writeLock().unlock();
    }
  }
}
