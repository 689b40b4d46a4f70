"""Keys from quantum links: protocols, post-processing, proofs of length, a key store and a key service."""
