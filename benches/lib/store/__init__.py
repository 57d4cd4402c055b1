"""The rows about the store; `store.py` puts them together."""
