"""Which signatures an artifact has: the names, and the prompt and task behind each, as sentence-transformers has them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.saved_model import DEFAULT
from tf_exporter.spec import CROSS_ENCODER, SPARSE_ENCODER, ModelSpec

_MOST_PROMPTS = 500
"""Each is a signature, which costs about a quarter of a second; lists of all tasks of a benchmark have some 200."""


@dataclass(frozen=True)
class Signature:
    """What a text is put behind, and for what it is encoded."""

    prompt: str
    task: str
    """As `encode(task=…)` of the reference; empty: none."""
    route: str
    """The modules that this task leads to."""


def signatures(spec: ModelSpec, prompt_name: str | None) -> dict[str, Signature]:
    """`serving_default`, and one for each prompt and each route of the model.

    Raises:
        UsageError: `prompt_name` is none of the model's prompts.
        UnsupportedError: two prompts' names lead to one signature, or there are too many.
    """
    if len(spec.prompts) > _MOST_PROMPTS:
        count = f"{len(spec.prompts):,} prompts"
        raise UnsupportedError("config_sentence_transformers.json", "prompts", count, f"at most {_MOST_PROMPTS} prompts")
    known = spec.prompts if spec.kind == CROSS_ENCODER else {"query": "", "document": "", **spec.prompts}
    name = prompt_name if prompt_name is not None else spec.default_prompt_name
    if name is not None and name not in known:
        raise UsageError(f"--prompt-name {name}: the model's prompts are {', '.join(map(repr, known))}")
    default = "" if name is None else known[name]
    verb = "predict_" if spec.kind == CROSS_ENCODER else "encode_"
    found = {DEFAULT: Signature(default, "", spec.tasks[""])}
    # The reference has "query" and "document" in every model that encodes, empty where they are not configured.
    tasks = [task for task in spec.tasks if task] if len(spec.pipelines) > 1 else []
    always = ["query", "document"] if verb == "encode_" and (spec.prompts or tasks) else []
    for key in dict.fromkeys([*spec.prompts, *tasks, *always]):
        task = key if key in ("query", "document", *tasks) and verb == "encode_" else ""
        if task not in spec.tasks:
            continue  # the reference has no route for it either
        prompt = known.get(key, default)
        signature = verb + re.sub(r"[^A-Za-z0-9_.-]", "_", key)
        if signature in found:
            raise UnsupportedError("config_sentence_transformers.json", f"prompts.{key}", prompt, "distinct names")
        found[signature] = Signature(prompt, task, spec.tasks[task])
    if spec.kind == SPARSE_ENCODER:
        for taken in found.keys() & {sparse_name(signature) for signature in found}:
            raise UnsupportedError("config_sentence_transformers.json", "prompts", taken, "names that no sparse signature has")
    return found


def sparse_name(name: str) -> str:
    """The signature that gives indices and weights of what the signature `name` gives as one vector."""
    return "encode_sparse" if name == DEFAULT else f"{name}_sparse"


def tokenize_name(route: str, spec: ModelSpec) -> str:
    """The signature that gives the token ids of a route."""
    return "tokenize" if route == spec.tasks[""] else "tokenize_" + re.sub(r"[^A-Za-z0-9_.-]", "_", route)
