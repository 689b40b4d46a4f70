import pickle

import pytest

from qfedfm.core import errors


def test_a_message_has_the_three_parts_that_were_given():
    assert str(errors.ConfigError("a", "b", "c")) == "a; expected b; c"
    assert str(errors.ConfigError("a", "", "c")) == "a; c"
    assert str(errors.ConfigError("a")) == "a"


@pytest.mark.parametrize("cls", errors.QfedfmError.__subclasses__())
def test_every_error_crosses_a_process_boundary(cls):
    error = pickle.loads(pickle.dumps(cls("given", "expected", "remedy")))
    assert type(error) is cls
    assert (error.given, error.expected, error.remedy) == ("given", "expected", "remedy")


def test_the_nearest_name_or_all_of_them():
    assert errors.nearest("krmu", ["mean", "krum"]) == "did you mean 'krum'?"
    assert errors.nearest("zzz", ["mean", "krum"]) == "choose one of krum, mean"
