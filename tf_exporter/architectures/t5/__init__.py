"""T5 (C. Raffel et al., 2019), mT5 and umT5."""
