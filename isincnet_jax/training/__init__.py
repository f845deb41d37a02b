"""Training: losses, augmentation, step, loop and checkpoints; receives a model and an iterator."""
