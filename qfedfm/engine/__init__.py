"""The experiment, the round loop, checkpoints, the comparison of methods."""
