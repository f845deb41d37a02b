"""Classifiers of genres and speakers over a learnable front end: networks, chunks, step, scores."""
