"""Adapters of PEFT, which are merged into the weights of their base model."""
