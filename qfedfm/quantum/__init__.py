"""Circuits, the statevector engine that simulates them, and gradients."""
