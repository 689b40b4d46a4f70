import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qfedfm.core.errors import PayloadError
from qfedfm.core.float32 import Float32Codec, require_finite
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At

LAYOUT = Layout.of({"a": (2,), "b": (3,)})
AT = At(0, 1, 2, Key.of(0), LAYOUT, 10)
CODEC = Float32Codec()


@given(arrays(np.float32, 5, elements=st.floats(allow_nan=False, allow_infinity=False, width=32)))
def test_bytes_are_little_endian_floats_and_come_back_exactly(x):
    body = CODEC.encode(x, AT)
    assert body == struct.pack("<5f", *x.tolist())
    assert len(body) == CODEC.largest(LAYOUT) == 20
    back = CODEC.decode(body, AT)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back.view(np.uint32), x.view(np.uint32))
    assert CODEC.distortion(LAYOUT).omega == 0


@pytest.mark.parametrize("size", [0, 1, 19, 21, 24])
def test_a_body_of_another_length_is_refused(size):
    with pytest.raises(PayloadError, match=f"{size} bytes"):
        CODEC.decode(bytes(size), AT)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_the_tensors_name(value):
    x = np.zeros(5, np.float32)
    x[3] = value
    with pytest.raises(PayloadError, match=r"coordinate 3 \(b\)"):
        CODEC.encode(x, AT)
    with pytest.raises(PayloadError, match=r"coordinate 3 \(b\)"):
        CODEC.decode(x.tobytes(), AT)


@pytest.mark.parametrize("size", [0, 4, 6])
def test_a_vector_of_another_length_is_refused(size):
    with pytest.raises(PayloadError, match="shape"):
        require_finite(np.zeros(size, np.float32), LAYOUT)
