"""Models and data: the task protocol, text classification, data sources, partitions."""
