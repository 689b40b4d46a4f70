import json
import sys

from qfedfm.bench.ours import masks


def test_masks_are_measured_beside_their_cipher(monkeypatch, capsys):
    options = {"clients": 6, "size": 500, "dropouts": 0.3, "repetitions": 2}
    monkeypatch.setattr(sys, "argv", ["masks", json.dumps(options)])
    masks.main()
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert round(found["keystream_megabytes"] * 1e6) == 4 * 501 * 6 * 6
    assert len(found["lines"]) == 2
    for line in found["lines"]:
        assert line["exact"] is True
        assert abs(line["ratio"] * line["cipher_seconds"] - line["masking_seconds"]) < 1e-9
        assert line["uplink_bytes"]["mask"] == 6 * (60 + 4 * 501 + 64)
        assert min(line[name] for name in line if name.endswith("_seconds")) > 0
