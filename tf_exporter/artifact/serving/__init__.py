"""The folder layouts of servers."""
