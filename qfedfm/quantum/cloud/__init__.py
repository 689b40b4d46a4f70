"""Jobs on quantum devices: a ledger that survives everything, and one provider a file."""
