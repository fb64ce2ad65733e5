"""The signatures of an artifact: their names, prompts and tasks, as in sentence-transformers."""

from __future__ import annotations

from dataclasses import dataclass

from tf_exporter.errors import UnsupportedError, UsageError
from tf_exporter.modules.model_spec import ModelSpec
from tf_exporter.names import CROSS_ENCODER, DEFAULT, SPARSE_ENCODER, simple_name
from tf_exporter.tokenizers.chat.settings import Use

_MAX_PROMPTS = 500
"""Each prompt is a signature and costs about 0.25 s. A list of benchmark tasks has 200."""


@dataclass(frozen=True)
class Signature:
    """The prompt before a text, and the task that it is encoded for."""

    prompt: str
    task: str
    """The `task` of `encode` in the reference; "": none."""
    route: str
    """The route of this task."""

    @property
    def use(self) -> Use:
        """The prompt and the task."""
        return Use(self.prompt, self.task)


def signatures(spec: ModelSpec, prompt_name: str | None) -> dict[str, Signature]:
    """`serving_default`, and one for each prompt and each route of the model.

    Where adapters give the tasks, a prompt goes with each of them, unless it is a task's own.

    Raises:
        UsageError: `prompt_name` is none of the model's prompts.
        UnsupportedError: two prompts' names lead to one signature, or there are too many.
    """
    if len(spec.prompts) > _MAX_PROMPTS:
        count = f"{len(spec.prompts):,} prompts"
        raise UnsupportedError(
            "config_sentence_transformers.json",
            "prompts",
            count,
            f"at most {_MAX_PROMPTS} prompts",
        )
    known = (
        spec.prompts
        if spec.kind == CROSS_ENCODER
        else {"query": "", "document": "", **spec.prompts}
    )
    name = prompt_name if prompt_name is not None else spec.default_prompt_name
    if name is not None and name not in known:
        raise UsageError(
            f"--prompt-name {name}: the model's prompts are {', '.join(map(repr, known))}"
        )
    default = "" if name is None else known[name]
    verb = "predict_" if spec.kind == CROSS_ENCODER else "encode_"
    result = {DEFAULT: Signature(default, "", spec.tasks[""])}
    # In the reference, every model that encodes has the prompts "query" and "document".
    tasks = [task for task in spec.tasks if task] if len(spec.pipelines) > 1 else []
    always = ["query", "document"] if verb == "encode_" and (spec.prompts or tasks) else []
    calls = [
        (key, key if key in ("query", "document", *tasks) and verb == "encode_" else "", key)
        for key in dict.fromkeys([*spec.prompts, *tasks, *always])
    ]
    if spec.by_adapters:
        others = [key for key in spec.prompts if key not in tasks]
        calls += [(f"{task}_{key}", task, key) for task in tasks for key in others]
    for suffix, task, key in calls:
        if task not in spec.tasks:
            continue  # the reference has no route for it either
        prompt = known.get(key, default)
        signature = verb + simple_name(suffix)
        if signature in result:
            raise UnsupportedError(
                "config_sentence_transformers.json", f"prompts.{key}", prompt, "distinct names"
            )
        result[signature] = Signature(prompt, task, spec.tasks[task])
    if spec.kind == SPARSE_ENCODER:
        for taken in result.keys() & {sparse_name(signature) for signature in result}:
            raise UnsupportedError(
                "config_sentence_transformers.json",
                "prompts",
                taken,
                "names that no sparse signature has",
            )
    return result


def sparse_name(name: str) -> str:
    """The signature with the indices and weights of the vectors from the signature `name`."""
    return "encode_sparse" if name == DEFAULT else f"{name}_sparse"


def tokenize_name(route: str, spec: ModelSpec) -> str:
    """The signature with the token ids of a route."""
    return "tokenize" if route == spec.tasks[""] else "tokenize_" + simple_name(route)
