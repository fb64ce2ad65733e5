package io.github.tfexporter;

import java.nio.file.Path;
import java.util.List;

/**
 * How a model is loaded and called.
 *
 * @param batchSize the most texts of one call of TensorFlow; longer lists take several
 * @param threadsPerOp threads of one op; 0: as many as there are cores
 * @param parallelOps ops that are computed at a time; 0: as many as there are cores
 * @param opLibraries files of custom ops, for a model with {@code --tokenizer-ops tensorflow-text}
 */
public record Settings(int batchSize, int threadsPerOp, int parallelOps, List<Path> opLibraries) {
  /** What suits most programs. */
  public static final Settings DEFAULT = new Settings(256, 0, 0, List.of());

  public Settings {
    if (batchSize < 1 || threadsPerOp < 0 || parallelOps < 0) {
      throw new IllegalArgumentException(
          "batchSize must be 1 or more, threadsPerOp and parallelOps 0 or more: "
              + batchSize + ", " + threadsPerOp + ", " + parallelOps);
    }
    opLibraries = List.copyOf(opLibraries);
  }

  /** The same with another {@link #batchSize}. */
  public Settings withBatchSize(int size) {
    return new Settings(size, threadsPerOp, parallelOps, opLibraries);
  }

  /** The same with other numbers of threads: for many callers with short texts, 1 and the number of cores. */
  public Settings withThreads(int perOp, int ops) {
    return new Settings(batchSize, perOp, ops, opLibraries);
  }

  /** The same with custom ops. */
  public Settings withOpLibraries(List<Path> files) {
    return new Settings(batchSize, threadsPerOp, parallelOps, files);
  }
}
