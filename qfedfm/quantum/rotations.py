"""The single-qubit gates of a circuit: angles → one matrix for each block of neighbouring qubits, and back."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float64, Int64

from qfedfm.quantum.arrays import Array, chosen, dagger, gather, library


@dataclass(frozen=True, eq=False)
class Group:
    """The blocks of one width w.

    Args:
        spots: the spot of each qubit of each block, lowest qubit first.
        traces: the partial traces of a 2ʷ × 2ʷ matrix onto each of its qubits, as 4ʷ × 4w.
        real: whether the matrices are real, though those of other blocks may not be.
    """

    spots: Int64[Array, "blocks w"]
    traces: Array
    real: bool


@dataclass(frozen=True, eq=False)
class Rotations:
    """Every single-qubit gate, in spots: a spot is one qubit in one layer, with up to m gates that follow each other.

    Gate j of spot s is cos(φ/2) · cosine[j, s] + sin(φ/2) · sine[j, s], φ = angle number which[j, s]; fixed gates are
    multiplied into their neighbours. The last spot is the identity, and the last angle is always 0.

    Args:
        W: angles / 2 = W θ + b.
        b: see ``W``.
        which: numbers of angles.
        cosine: constant matrices.
        sine: likewise.
        groups: the blocks, by width.
        back: for each spot its place among the qubits of all blocks of all groups.
    """

    W: Float64[Array, "a p"]
    b: Float64[Array, " a"]
    which: Int64[Array, "m s"]
    cosine: Array
    sine: Array
    groups: tuple[Group, ...]
    back: Int64[Array, " s"]

    def turned(self, theta: Float64[Array, "b p"]) -> Turned:
        """All matrices at θ."""
        half = theta @ self.W.T + self.b
        xp = library(half)
        cos, sin = xp.cos(half), xp.sin(half)
        gates = chosen(cos, self.which)[..., None, None] * self.cosine
        gates += chosen(sin, self.which)[..., None, None] * self.sine
        product = gates[:, 0]
        for number in range(1, gates.shape[1]):
            product = gates[:, number] @ product
        blocks = (_kron(chosen(product.real if group.real else product, group.spots)) for group in self.groups)
        return Turned(cos, sin, gates, tuple(blocks))

    def pullback(self, turned: Turned, overlaps: tuple[Array, ...]) -> Float64[Array, "b p"]:
        """The gradient in θ from Σ ψλ† of each block, ψ the state after the block and λ its cotangent.

        A gate changes the spot's matrix U by dU = (dU U†) U, and dU U† acts on this qubit alone, so that Σ ψλ† traced
        onto the qubit, R, says all: dL = Re tr(R dU U†). From the last gate to the first, dL = Re tr(R dG G†), and R
        becomes G†RG. Where all of these gates are real, so is all of R that counts.
        """
        xp, batch = library(turned.cosine), len(turned.cosine)
        found = [
            (overlap.reshape(batch, overlap.shape[1], -1) @ group.traces).reshape(batch, -1, 2, 2)
            for group, overlap in zip(self.groups, overlaps, strict=True)
        ]
        R = chosen(found[0] if len(found) == 1 else xp.concatenate(found, 1), self.back)
        gradient = 0.0
        for number in reversed(range(len(self.which))):
            which, gate = self.which[number], turned.gates[:, number]
            K = dagger(gate) @ R
            flipped = K.swapaxes(-1, -2)
            slopes = [(flipped * constant[number]).sum((-1, -2)).real for constant in (self.sine, self.cosine)]
            slope = gather(turned.cosine, which) * slopes[0] - gather(turned.sine, which) * slopes[1]
            gradient = gradient + slope @ self.W[which]
            R = K @ gate if number else R
        return gradient


@dataclass(frozen=True, eq=False)
class Turned:
    """The matrices of `Rotations` at one θ for each line.

    Args:
        cosine: cos(φ/2) of every angle, b × a.
        sine: sin(φ/2).
        gates: b × m × s × 2 × 2.
        blocks: for each group, b × blocks × 2ʷ × 2ʷ.
    """

    cosine: Float64[Array, "b a"]
    sine: Float64[Array, "b a"]
    gates: Array
    blocks: tuple[Array, ...]


def _kron(factors: Array) -> Array:
    """Kronecker products over axis 2 of b × blocks × w × 2 × 2, the last factor in the highest bit."""
    batch, blocks, width = factors.shape[:3]
    product = factors[:, :, width - 1]
    for low in range(width - 2, -1, -1):
        d = 2 * product.shape[-1]
        product = product[:, :, :, None, :, None] * factors[:, :, low, None, :, None, :]
        product = product.reshape(batch, blocks, d, d)
    return product
