"""Secure aggregation: a server that learns the sum of the clients' updates and no single one."""
