"""The artifact in the engines that serve it, each the real one: `make test-serving`."""
