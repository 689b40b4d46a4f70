"""Layout, cohort, keys, the kinds of parts, the wire format, the stack, errors."""
