"""The artifact in the real engines that serve it: `make test-engines`."""
