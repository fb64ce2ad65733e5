"""A SavedModel of tf-exporter in Triton's Python backend; needs tensorflow and numpy only.

Waiting requests are computed as one batch. A request may name a signature in its parameters,
`parameters={"signature": "encode_query"}`; config.pbtxt sets the signature for all others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import triton_python_backend_utils as pb_utils

Triton: TypeAlias = Any
"""An object of Triton's Python backend, which has no types."""

_WARMUP_WORDS = (1, 10, 100)


class TritonPythonModel:
    """The class that Triton's Python backend creates an instance of."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the SavedModel beside this file, and warms it up for the first request."""
        folder = Path(args["model_repository"]) / args["model_version"] / "model.savedmodel"
        manifest = json.loads(
            (folder / "assets.extra" / "tf_exporter.json").read_text(encoding="utf-8")
        )
        if manifest["custom_ops"]:
            import tensorflow_text  # noqa: F401  # registers its ops
        config = json.loads(args["model_config"])
        self._default = config["parameters"]["signature"]["string_value"]
        self._model = tf.saved_model.load(str(folder))
        self._tensors = manifest["tensors"]
        if self._default not in self._tensors:
            raise ValueError(
                f"config.pbtxt: signature {self._default}: the model has {', '.join(self._tensors)}"
            )
        for signature, tensors in self._tensors.items():
            for words in _WARMUP_WORDS:
                text = np.array([" ".join(["warm"] * words).encode()], np.object_)
                self._compute(signature, dict.fromkeys(tensors["inputs"], text))

    def execute(self, requests: list[Triton]) -> list[Triton]:
        """One response for each request, in order: an answer or an error."""
        responses: list[Triton] = [None] * len(requests)
        groups: dict[tuple[str, int], list[int]] = {}
        for index, request in enumerate(requests):
            signature = json.loads(request.parameters() or "{}").get("signature", self._default)
            if signature not in self._tensors:
                responses[index] = _error(
                    f"signature {signature!r}: the model has {', '.join(self._tensors)}"
                )
                continue
            names = self._tensors[signature]["inputs"]
            if missing := [
                name for name in names if pb_utils.get_input_tensor_by_name(request, name) is None
            ]:
                responses[index] = _error(f"signature {signature!r}: input {missing[0]} is missing")
                continue
            groups.setdefault(
                (signature, 0 if self._can_be_joined(signature) else index), []
            ).append(index)
        for (signature, _), indices in groups.items():
            answers = self._answer(signature, [requests[index] for index in indices])
            for index, answer in zip(indices, answers):
                responses[index] = answer
        return responses

    def _can_be_joined(self, signature: str) -> bool:
        """Whether requests can share a batch: not where outputs are padded to its longest text."""
        return all(
            None not in tensor["shape"][1:]
            for tensor in self._tensors[signature]["outputs"].values()
        )

    def _answer(self, signature: str, requests: list[Triton]) -> list[Triton]:
        """The responses to requests whose texts are computed as one batch."""
        texts = [self._texts(signature, request) for request in requests]
        joined = {name: np.concatenate([text[name] for text in texts]) for name in texts[0]}
        try:
            results = self._compute(signature, joined)
        except tf.errors.OpError as error:
            if len(requests) == 1:
                return [_error(str(error))]
            return [answer for request in requests for answer in self._answer(signature, [request])]
        ends = np.cumsum([len(next(iter(text.values()))) for text in texts])
        rows = {name: np.split(result, ends[:-1]) for name, result in results.items()}
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor(name, np.ascontiguousarray(rows[name][i])) for name in rows]
            )
            for i in range(len(requests))
        ]

    def _texts(self, signature: str, request: Triton) -> dict[str, np.ndarray]:
        names = self._tensors[signature]["inputs"]
        return {
            name: pb_utils.get_input_tensor_by_name(request, name).as_numpy().reshape(-1)
            for name in names
        }

    def _compute(self, signature: str, texts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: tf.constant(values, tf.string) for name, values in texts.items()}
        results = {
            name: result.numpy()
            for name, result in self._model.signatures[signature](**tensors).items()
        }
        # A batching server needs a second dimension: scores [batch] become [batch, 1].
        return {
            name: result if result.ndim > 1 else result[:, None] for name, result in results.items()
        }


def _error(message: str) -> Triton:
    return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(message))
