"""The text tower of CLIP (A. Radford et al., 2021)."""
