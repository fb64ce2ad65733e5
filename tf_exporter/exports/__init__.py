"""The export types, and the pipeline that all exports share."""
