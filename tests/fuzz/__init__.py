"""Bytes that nobody wrote, for the envelope's readers. ``PYTHONPATH=tests python -m fuzz``."""
