"""The parts of the bench; `run.py` puts them together."""
