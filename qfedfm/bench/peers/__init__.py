"""What the library is compared with: small programs that share its data, and none of its training code."""
