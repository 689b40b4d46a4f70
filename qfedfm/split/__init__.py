"""Training in which nobody holds the whole model: its shallow part is with the clients, its deep part on the server."""

from qfedfm.split.config import HFL, Cut
from qfedfm.split.federation import Federation
from qfedfm.split.rounds import Played, Round, advance, begin, first, play, train
from qfedfm.split.state import SplitState

__all__ = ["HFL", "Cut", "Federation", "Played", "Round", "SplitState", "advance", "begin", "first", "play", "train"]
