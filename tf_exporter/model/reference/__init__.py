"""The parts of a model folder that the reference reads, and the processes that it runs in."""
