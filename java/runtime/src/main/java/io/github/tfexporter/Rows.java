package io.github.tfexporter;

import java.util.List;
import java.util.function.BiFunction;
import java.util.stream.IntStream;
import org.tensorflow.RawTensor;
import org.tensorflow.Result;
import org.tensorflow.Tensor;
import org.tensorflow.ndarray.buffer.FloatDataBuffer;
import org.tensorflow.ndarray.buffer.IntDataBuffer;
import org.tensorflow.ndarray.buffer.LongDataBuffer;

/** Rows of output tensors, copied once from TensorFlow's memory. Axes after the first are joined. */
final class Rows {
  private Rows() {}

  /** The rows of a float32 tensor. */
  static List<float[]> floats(Result result, String name) {
    RawTensor tensor = raw(result, name);
    FloatDataBuffer data = tensor.data().asFloats();
    return rows(
        tensor,
        (place, width) -> {
          float[] row = new float[width];
          data.offset(place).read(row);
          return row;
        });
  }

  /** The rows of an int32 tensor. */
  static List<int[]> ints(Result result, String name) {
    RawTensor tensor = raw(result, name);
    IntDataBuffer data = tensor.data().asInts();
    return rows(
        tensor,
        (place, width) -> {
          int[] row = new int[width];
          data.offset(place).read(row);
          return row;
        });
  }

  /** The values of an int64 tensor of one axis. */
  static long[] longs(Result result, String name) {
    RawTensor tensor = raw(result, name);
    LongDataBuffer data = tensor.data().asLongs();
    long[] values = new long[Math.toIntExact(tensor.shape().get(0))];
    data.read(values);
    return values;
  }

  private static RawTensor raw(Result result, String name) {
    Tensor tensor = result.get(name).orElseThrow();
    return tensor.asRawTensor();
  }

  private static <R> List<R> rows(RawTensor tensor, BiFunction<Long, Integer, R> read) {
    long size = 1;
    for (int axis = 1; axis < tensor.shape().numDimensions(); axis++) {
      size *= tensor.shape().get(axis);
    }
    int width = Math.toIntExact(size);
    return IntStream.range(0, Math.toIntExact(tensor.shape().get(0)))
        .mapToObj(row -> read.apply((long) row * width, width))
        .toList();
  }
}
