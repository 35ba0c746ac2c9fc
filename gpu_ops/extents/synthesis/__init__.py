"""Strips with captions drawn in code: what the pair model is trained and validated on."""
