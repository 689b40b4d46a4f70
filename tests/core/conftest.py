"""What a user without run-time shape checks meets."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked():
    """Shapes and types in annotations are not checked, so that the library's own refusals are reached."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
