"""Adapters through peft: from a configuration to a model whose trainable tensors have a layout."""

from qfedfm.adapters.torchvision import hide_unusable_torchvision

hide_unusable_torchvision()  # before any module here imports transformers
