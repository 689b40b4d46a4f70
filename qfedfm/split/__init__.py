"""Training in which nobody holds the whole model: its shallow part is with the clients, its deep part on the server."""

from qfedfm.split.config import HFL
from qfedfm.split.federation import Federation
from qfedfm.split.rounds import Round, advance, begin, play
from qfedfm.split.state import SplitState

__all__ = ["HFL", "Federation", "Round", "SplitState", "advance", "begin", "play"]
