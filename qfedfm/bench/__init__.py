"""The harness: this library and its peers, each in processes of its own, measured side by side."""
