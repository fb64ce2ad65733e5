"""The files of a published artifact."""
