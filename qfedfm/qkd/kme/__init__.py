"""A key service by ETSI GS QKD 014, its client, and the links between its key managers."""
