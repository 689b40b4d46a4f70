from qfedfm.core.progress import Event, silent


def test_watching_nothing_returns_nothing():
    assert silent(Event("round", "mean", 1, 3, 8, {"accuracy": 0.5})) is None
