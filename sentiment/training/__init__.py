"""The training loop: prepared data, optimizers, the trainer, checkpoints."""
