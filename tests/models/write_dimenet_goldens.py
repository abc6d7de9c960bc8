"""Writes dimenet_goldens.npz: what PyTorch Geometric's DimeNet++ computes for one molecule.

To write the file anew, in an environment of its own (jaxcrystal is not needed in it):

    pip install torch==2.13.0 torch_geometric==2.8.1 scipy sympy
    OMP_NUM_THREADS=1 python tests/models/write_dimenet_goldens.py

The model is the library's, with its own forward pass. Only the lists of edges and triplets come
from here, because the library builds them with compiled extensions (torch_cluster, torch_sparse)
that many machines lack. Everything is in float64, and every weight is random (biases too, and the
last layer of the output blocks, which the library starts at zero), except the radial frequencies,
n pi. The library rounds the zeros of the spherical Bessel functions to float32: sbf is off by up to
3e-7 of its largest value from what exact zeros give.

Arrays of the file, with n nodes, e edges, t triplets, h hidden channels:

    settings                    JSON of the model's arguments and of the versions
    weights/NAME                the state_dict
    positions [n, 3]            Å;  atomic_numbers [n]
    edge_index [2, e]           senders j and receivers i, sorted by receiver, then sender
    distances [e]               |x_i - x_j|, Å
    triplet_kj, triplet_ji [t]  the two edges of k -> j -> i, with those where k = i
    triplet_backtracks [t]      True where k = i
    triplet_angle [t]           angle between x_i - x_j and x_j - x_k: pi where k = i, and pi less
                                the angle at j elsewhere
    rbf [e, num_radial]; sbf [t, num_spherical * num_radial], l slowest
    VARIANT/...                 `without_backtracking` (the library's: triplets with k = i left
                                out) and `with_backtracking`
      embedding [e, h]; interaction_B [e, h]; output_B [n, 1] for each block B
      energy [1]                the sum of all output blocks over all nodes
      energy_gradient [n, 3]    by the positions
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch_geometric
from torch_geometric.nn.models import dimenet

OUT = Path(__file__).with_name("dimenet_goldens.npz")
SETTINGS = {
    "hidden_channels": 16,
    "out_channels": 1,
    "num_blocks": 2,
    "int_emb_size": 8,
    "basis_emb_size": 4,
    "out_emb_channels": 24,
    "num_spherical": 7,
    "num_radial": 6,
    "cutoff": 5.0,
    "envelope_exponent": 5,
    "num_before_skip": 1,
    "num_after_skip": 2,
    "num_output_layers": 2,
    "act": "swish",
}
ATOMIC_NUMBERS = (1, 6, 8, 8, 22, 26, 56, 82)


def molecule(rng: np.random.Generator) -> np.ndarray:
    """Returns positions [8, 3] in Å, no two nearer than 1 Å, some pairs beyond the cutoff."""
    positions: list[np.ndarray] = []
    while len(positions) < len(ATOMIC_NUMBERS):
        position = rng.uniform((-3.5, -2.0, -2.0), (3.5, 2.0, 2.0))
        if all(np.linalg.norm(position - other) > 1.0 for other in positions):
            positions.append(position)
    return np.array(positions)


def edges_within(positions: torch.Tensor, cutoff: float) -> torch.Tensor:
    """Returns senders and receivers [2, e] of all pairs within the cutoff, by receiver."""
    distances = torch.cdist(positions, positions)
    near = (distances < cutoff) & ~torch.eye(len(positions), dtype=torch.bool)
    receivers, senders = near.nonzero(as_tuple=True)
    return torch.stack([senders, receivers])


def triplet_lists(edge_index: torch.Tensor, backtracking: bool) -> tuple[torch.Tensor, ...]:
    """Returns (i, j) of the edges, then (i, j, k, edge kj, edge ji) of the triplets."""
    senders, receivers = edge_index
    meets = receivers[None, :] == senders[:, None]
    if not backtracking:
        meets &= senders[None, :] != receivers[:, None]
    edge_ji, edge_kj = meets.nonzero(as_tuple=True)
    return (
        receivers,
        senders,
        receivers[edge_ji],
        senders[edge_ji],
        senders[edge_kj],
        edge_kj,
        edge_ji,
    )


def run(
    model: dimenet.DimeNetPlusPlus, positions: np.ndarray, backtracking: bool
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Runs the library's forward pass; returns its inner arrays, rbf and sbf."""
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, module: torch.nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _, __, output: seen.__setitem__(name, output))

    hooks = [keep("rbf", model.rbf), keep("sbf", model.sbf), keep("embedding", model.emb)]
    hooks += [keep(f"interaction_{n}", block) for n, block in enumerate(model.interaction_blocks)]
    hooks += [keep(f"output_{n}", block) for n, block in enumerate(model.output_blocks)]
    dimenet.radius_graph = lambda pos, r, batch, max_num_neighbors: edges_within(pos.detach(), r)
    dimenet.triplets = lambda edge_index, num_nodes: triplet_lists(edge_index, backtracking)

    pos = torch.tensor(positions, requires_grad=True)
    energy = model(torch.tensor(ATOMIC_NUMBERS), pos)
    (gradient,) = torch.autograd.grad(energy.sum(), pos)
    for hook in hooks:
        hook.remove()
    arrays = {name: value.detach().numpy() for name, value in seen.items()}
    rbf, sbf = arrays.pop("rbf"), arrays.pop("sbf")
    return {**arrays, "energy": energy.detach().numpy(), "energy_gradient": gradient.numpy()}, rbf, sbf


def main() -> None:
    """Writes the file."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(7)
    model = dimenet.DimeNetPlusPlus(**SETTINGS)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name == "rbf.freq":
                continue
            fan_in = weight.shape[1] if weight.ndim == 2 and name != "emb.emb.weight" else 1
            weight.copy_(torch.tensor(rng.normal(0, fan_in**-0.5, tuple(weight.shape))))

    positions = molecule(rng)
    edge_index = edges_within(torch.tensor(positions), SETTINGS["cutoff"])
    receivers, senders, i, j, k, edge_kj, edge_ji = (
        part.numpy() for part in triplet_lists(edge_index, backtracking=True)
    )
    forth, back = positions[i] - positions[j], positions[j] - positions[k]
    sine = np.linalg.norm(np.cross(forth, back), axis=1)
    kept, rbf, sbf = run(model, positions, backtracking=True)
    left_out, _, sbf_left_out = run(model, positions, backtracking=False)
    np.testing.assert_array_equal(sbf[i != k], sbf_left_out)

    versions = {"torch": torch.__version__, "torch_geometric": torch_geometric.__version__}
    arrays = {
        "settings": np.array(json.dumps({"model": SETTINGS, "versions": versions})),
        "positions": positions,
        "atomic_numbers": np.array(ATOMIC_NUMBERS),
        "edge_index": edge_index.numpy(),
        "distances": np.linalg.norm(positions[receivers] - positions[senders], axis=1),
        "triplet_kj": edge_kj,
        "triplet_ji": edge_ji,
        "triplet_backtracks": i == k,
        "triplet_angle": np.arctan2(sine, (forth * back).sum(1)),
        "rbf": rbf,
        "sbf": sbf,
    }
    arrays |= {f"weights/{name}": weight.numpy() for name, weight in model.state_dict().items()}
    arrays |= {f"with_backtracking/{name}": value for name, value in kept.items()}
    arrays |= {f"without_backtracking/{name}": value for name, value in left_out.items()}
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT.name}: {OUT.stat().st_size / 1e3:.0f} kB, {len(senders)} edges, {len(i)} triplets")
    print("energy", float(left_out["energy"][0]), "with backtracking", float(kept["energy"][0]))


if __name__ == "__main__":
    main()
