"""Why some architectures that people have are not supported."""

from __future__ import annotations

from tf_exporter.model.config_file import ConfigFile

REASONS = {
    "big_bird": "its attention to random blocks of a long text is not reproduced",
    "canine": "it hashes characters in place of a vocabulary, which is not reproduced",
    "clip_vision_model": "it takes images, and the graph takes texts",
    "dpr": "the reference loads each DPR model as a question encoder, with random weights where "
    "the checkpoint has another kind; save the BERT inside it as a model of its own",
    "fnet": "its Fourier transform mixes padding into the tokens, so that a text's embedding "
    "depends on the other texts of its batch",
    "funnel": "it shortens texts between its layers, which is not reproduced",
    "gpt2": "its layers of a decoder with learned positions are not reproduced",
    "gpt_neo": "its layers of a decoder, global and local in turn, are not reproduced",
    "longformer": "its attention to a window and to global tokens is not reproduced",
    "reformer": "its attention by random hashes is not reproduced",
    "roformer": "its tokenizer splits Chinese texts with the package rjieba, not with Hugging Face "
    "tokenizers",
    "siglip": "its embeddings of texts and images are not reproduced",
    "xlm": "its tokenizer is Python code of transformers",
}
"""`model_type` → the reason, as the end of a sentence."""
_OWN_CODE = "transformers has no class for it, and code of a model is never run"


def refusal(file: ConfigFile, model_type: str, supported: tuple[str, ...]) -> str:
    """What is supported in place of a `model_type`, and the reason why it is not.

    `supported`: the supported types.
    """
    names = ", ".join(sorted(supported))
    reason = REASONS.get(model_type) or (_OWN_CODE if "auto_map" in file else None)
    return names if reason is None else f"{names}; not {model_type}: {reason}"
