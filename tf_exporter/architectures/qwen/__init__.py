"""The config that Qwen2 and Qwen3 share."""
