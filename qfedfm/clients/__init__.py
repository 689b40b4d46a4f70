"""Local training: jobs, the fused engine and its sequential reference, local methods, hostile clients."""
