"""Training in which nobody holds the whole model: its shallow part is with the clients, its deep part on the server."""
