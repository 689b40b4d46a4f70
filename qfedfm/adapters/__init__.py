"""Adapters through peft: from a configuration to a model whose trainable tensors have a layout."""
