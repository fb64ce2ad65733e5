package io.github.tfexporter;

import java.util.Optional;

/**
 * The name of a prompt of a model. The prompt's text is in the graph.
 *
 * @param name the name, {@code query} for example; empty for {@link #NONE}
 */
public record Prompt(String name) {
  /** No prompt, or the model's default one. */
  public static final Prompt NONE = new Prompt("");

  /** The prompt of a search's query. */
  public static final Prompt QUERY = new Prompt("query");

  /** The prompt of the texts that are searched. */
  public static final Prompt DOCUMENT = new Prompt("document");

  private static final String DEFAULT = "serving_default";
  private static final String BEGIN = "encode_";

  public Prompt {
    if (name == null) {
      throw new TfExporterException.InvalidInput("the name of a prompt is null", null);
    }
  }

  /** The computation of this prompt, as the graph names it. */
  String signature(String suffix) {
    // The graph replaces characters that servers do not accept.
    String own = name.replaceAll("[^A-Za-z0-9_.-]", "_");
    if (suffix.isEmpty()) {
      return own.isEmpty() ? DEFAULT : BEGIN + own;
    }
    return BEGIN + (own.isEmpty() ? "" : own + "_") + suffix;
  }

  /** The prompt of a computation, if it is named after one. */
  static Optional<Prompt> of(String signature, String suffix) {
    String name = signature.equals(DEFAULT) ? "" : signature.replaceFirst("^" + BEGIN, "");
    if (!suffix.isEmpty()) {
      name = name.replaceFirst("(^|_)" + suffix + "$", "");
    }
    Prompt prompt = new Prompt(name);
    return prompt.signature(suffix).equals(signature) ? Optional.of(prompt) : Optional.empty();
  }

  @Override
  public String toString() {
    return name.isEmpty() ? "NONE" : name;
  }
}
