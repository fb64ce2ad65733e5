"""Which artifact is fastest on this machine: `python -m tf_exporter.bench FOLDER…`.

Needs TensorFlow and numpy alone.
"""
