"""What this machine has to compute with."""

from __future__ import annotations

import torch

from qfedfm.bench.child import answer


def main() -> None:
    """Whether there is a CUDA device."""
    answer(cuda=torch.cuda.is_available())


if __name__ == "__main__":
    main()
