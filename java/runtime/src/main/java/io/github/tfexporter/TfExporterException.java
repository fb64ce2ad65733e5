package io.github.tfexporter;

/** Any error of this library. The message says what to do. */
public abstract sealed class TfExporterException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private TfExporterException(String message, Throwable cause) {
    super(message, cause);
  }

  /** The folder is not one that tf-exporter wrote, or a file of it cannot be read. */
  public static final class NotAnArtifact extends TfExporterException {
    private static final long serialVersionUID = 1;

    NotAnArtifact(String message, Throwable cause) {
      super(message, cause);
    }
  }

  /** The folder is of another kind or version than this library, this TensorFlow or this machine takes. */
  public static final class Incompatible extends TfExporterException {
    private static final long serialVersionUID = 1;

    Incompatible(String message, Throwable cause) {
      super(message, cause);
    }
  }

  /** The arguments of a call cannot be computed: null, an unknown prompt, or a text that is an error. */
  public static final class InvalidInput extends TfExporterException {
    private static final long serialVersionUID = 1;

    InvalidInput(String message, Throwable cause) {
      super(message, cause);
    }
  }

  /** The object was closed before the call. */
  public static final class Closed extends TfExporterException {
    private static final long serialVersionUID = 1;

    Closed(String message) {
      super(message, null);
    }
  }

  /** TensorFlow had too little memory for the call. */
  public static final class OutOfMemory extends TfExporterException {
    private static final long serialVersionUID = 1;

    OutOfMemory(String message, Throwable cause) {
      super(message, cause);
    }
  }

  /** TensorFlow could not compute the call, for another reason. */
  public static final class Failed extends TfExporterException {
    private static final long serialVersionUID = 1;

    Failed(String message, Throwable cause) {
      super(message, cause);
    }
  }
}
