"""What a GPU makes of training, and of frozen backbones.

Run: ``python benchmarks/gpu.py`` (``--quick --device cpu``: does it run? That measures nothing.)

Steps are those of the library on drawn images, words and volumes in which the class is planted.
Beside each stands the bare step of the same network on one batch that is on the device already: the
rest is what feeding it costs. The AUC is of rows that were not learned from, learned there and on
the CPU (``--compare``).
"""

from __future__ import annotations

import argparse
import copy
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor

import asfusion as af
from asfusion._progress import progress_shown
from asfusion._tokens import Prepared
from asfusion.encoders._cache import EMBEDDINGS
from asfusion.exceptions import AsfusionError
from asfusion.fusion._resolve import resolve_head
from asfusion.nn.image import build_image_backbone, describe_image_backbone
from asfusion.nn.network import Backbone, EncoderNetwork, FusionNetwork
from asfusion.nn.optimizer import AdamW
from asfusion.nn.volume import build_volume_backbone, describe_volume_backbone
from asfusion.training.halves import predict_rows
from asfusion.training.loop import train
from asfusion.training.losses import cross_entropy
from asfusion.training.rows import Rows
from asfusion.training.runner import Runner
from asfusion.training.settings import TrainingSettings


@dataclass(frozen=True)
class Task:
    """What is learned from: tensors of the rows, their classes, and the network that reads them."""

    name: str
    tensors: dict[str, Tensor]
    y: Tensor
    make: Callable[[], Backbone]
    batch: int
    epochs: int


def classes(n_rows: int) -> Tensor:
    return torch.arange(n_rows) % 2


def images(quick: bool) -> Task:
    name, side, n_rows, batch = ("resnet18", 64, 48, 8) if quick else ("resnet50", 224, 4096, 64)
    plan, y = describe_image_backbone(name, size=side), classes(n_rows)
    pixels = torch.randint(0, 200, (n_rows, 1, side, side), dtype=torch.uint8)
    pixels[y == 1, :, side // 4 : side // 2, side // 4 : side // 2] += 40
    tensors = {"pixels": pixels}
    return Task(f"{name}, {side} px", tensors, y, lambda: build_image_backbone(plan), batch, 3)


def volumes(quick: bool) -> Task:
    shape, n_rows, batch = ((8, 32, 32), 16, 4) if quick else ((16, 128, 128), 256, 8)
    name, y = "compact_3d" if quick else "resnet18_3d", classes(n_rows)
    plan = describe_volume_backbone(name, n_sequences=1, shape=shape)
    voxels = torch.randint(0, 200, (n_rows, 1, *shape), dtype=torch.uint8)
    voxels[y == 1, :, :4, 8:24, 8:24] += 40
    tensors = {"voxels": voxels, "mask": torch.ones(n_rows, 1, dtype=torch.bool)}
    return Task(f"{name}, {shape}", tensors, y, lambda: build_volume_backbone(plan), batch, 3)


def notes(quick: bool) -> Task:
    n_rows, batch, words = (16, 4, 12) if quick else (2048, 32, 120)
    rng, y = np.random.default_rng(0), classes(n_rows)
    told = [
        " ".join(rng.choice(["pain", "stiff", "back", "no", "of"], words)) + " uveitis" * int(label)
        for label in y
    ]
    X = pd.DataFrame({"note": told})
    encoder = af.TextEncoder("note", backbone="minilm", mode="full").fit(X)
    make = lambda: copy.deepcopy(encoder.build().backbone)  # noqa: E731
    return Task("MiniLM", dict(encoder.prepare(X).tensors), y, make, batch, 2)


TASKS = {"images": images, "notes": notes, "volumes": volumes}


# -- learning --------------------------------------------------------------------------


def network_of(task: Task) -> FusionNetwork:
    torch.manual_seed(0)
    encoder = EncoderNetwork(task.make(), d_out=64, dropout=0.1)
    head = resolve_head("concat").build({"one": 64}, n_outputs=2)
    return FusionNetwork({"one": encoder}, head, d_fused=head.d_out, n_outputs=2)


def settings_of(task: Task, device: str, precision: str, compiled: bool) -> TrainingSettings:
    return TrainingSettings(
        max_epochs=task.epochs, batch_size=task.batch, device=device, precision=precision,
        compile=compiled, learning_rate=3e-4,
    )  # fmt: skip


def learned(task: Task, settings: TrainingSettings) -> tuple[FusionNetwork, float]:
    """Return the trained network and rows a second, of the second run: the first one warms up."""
    n_learn = 3 * len(task.y) // 4
    parts = {"one": Prepared(task.tensors, torch.ones(len(task.y), dtype=torch.bool))}
    rows = Rows(parts, task.y, torch.ones(len(task.y))).take(torch.arange(n_learn))
    for attempt in range(2):
        network = network_of(task)
        if attempt == 0:
            few = rows.take(torch.arange(min(n_learn, 4 * task.batch)))
            train(network, few, None, loss=cross_entropy, settings=settings)
            continue
        begun = time.perf_counter()
        train(network, rows, None, loss=cross_entropy, settings=settings)
        wait(settings.device)
        return network, n_learn * task.epochs / (time.perf_counter() - begun)
    raise AssertionError


def bare_rows_a_second(task: Task, settings: TrainingSettings, steps: int) -> float:
    """Return rows a second of the same network on one batch that stays on the device."""
    runner = Runner(settings.device, torch.float32, settings.precision, compiled=settings.compile)
    network = network_of(task)
    runner.place(network)
    network.train()
    parts = {"one": Prepared(task.tensors, torch.ones(len(task.y), dtype=torch.bool))}
    batch = runner.collate(parts, torch.arange(task.batch))
    targets = task.y[: task.batch].to(runner.device)
    optimizer = AdamW(network.parameters(), lr=3e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        said = runner.outputs(network, batch.inputs, batch.present)
        cross_entropy(said, targets).mean().backward()
        optimizer.step()

    step()
    wait(settings.device)
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    wait(settings.device)
    return steps * task.batch / (time.perf_counter() - begun)


def auc_of(task: Task, network: FusionNetwork, device: str) -> float:
    held = torch.arange(3 * len(task.y) // 4, len(task.y))
    parts = {"one": Prepared(task.tensors, torch.ones(len(task.y), dtype=torch.bool))}
    rows = Rows(parts, task.y, torch.ones(len(task.y))).take(held)
    odds = predict_rows(network, rows, device=device)
    return float(roc_auc_score(task.y[held], odds[:, 1] - odds[:, 0]))


def wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def peak_mb(device: str) -> float:
    if torch.device(device).type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 1e6
        torch.cuda.reset_peak_memory_stats()
        return peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def tell_learning(args: argparse.Namespace) -> None:
    print("| learned | precision | rows/s | not the network | memory, MB | AUC | AUC, CPU |")
    print("|---|---|---|---|---|---|---|")
    for name in [name for name in TASKS if name in args.only]:
        try:
            task = TASKS[name](args.quick)
        except AsfusionError as error:
            print(f"| {name} | left out: {str(error).split('.')[0]} | | | | | |")
            continue
        usual = settings_of(task, "cpu", "float32", False)
        there = auc_of(task, learned(task, usual)[0], "cpu") if args.compare else float("nan")
        for precision in args.precision:
            settings = settings_of(task, args.device, precision, args.compile)
            network, speed = learned(task, settings)
            bare = bare_rows_a_second(task, settings, 3 if args.quick else 30)
            share = max(0.0, 1.0 - speed / bare)
            print(
                f"| {task.name} | {precision} | {speed:.0f} | {share:.0%} | "
                f"{peak_mb(args.device):.0f} | {auc_of(task, network, args.device):.3f} | "
                f"{there:.3f} |",
                flush=True,
            )


# -- a frozen backbone -----------------------------------------------------------------


def tell_embedding(args: argparse.Namespace) -> None:
    n_films, side = (32, 64) if args.quick else (20_000, 224)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{i}.png") for i in range(n_films)]
        for path in paths:
            Image.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).save(path)
        X, store = pd.DataFrame({"film": paths}), Path(folder) / "store"
        options: dict[str, Any] = {"size": side, "store": store}
        try:
            encoder = af.ImageEncoder("film", backbone="efficientnet_lite0", **options).fit(X)
        except AsfusionError as error:
            print(f"\nembedding is left out: {str(error).split('.')[0]}")
            return
        encoder.prepare(X)  # into the store
        encoder.embed(X.head(4), device=args.device)
        speeds = []
        for device in [args.device, *(["cpu"] if args.compare else [])]:
            EMBEDDINGS.clear()
            begun = time.perf_counter()
            found = encoder.embed(X, device=device).tensors["values"]
            speeds.append((n_films / (time.perf_counter() - begun), found))
        apart = float((speeds[0][1] - speeds[-1][1]).abs().max())
        print("\n| embedded from the store | images/s | images/s, CPU | memory, MB | apart |")
        print("|---|---|---|---|---|")
        print(
            f"| EfficientNet-Lite0, {n_films:,} x {side} px | {speeds[0][0]:.0f} | "
            f"{speeds[-1][0]:.0f} | {peak_mb(args.device):.0f} | {apart:.1e} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", default=[*TASKS, "embedding"])
    parser.add_argument("--precision", nargs="+", default=["auto"])
    parser.add_argument("--compile", action="store_true", help="let torch compile backbones")
    parser.add_argument("--compare", action="store_true", help="learn and embed on the CPU, too")
    parser.add_argument("--quick", action="store_true", help="a check that it runs, no measurement")
    parser.add_argument("--threads", type=int, help="of the CPU")
    args = parser.parse_args()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    name = torch.cuda.get_device_name() if args.device.startswith("cuda") else "a CPU"
    print(f"{name}, torch {torch.__version__}\n")
    with progress_shown(False):
        tell_learning(args)
        if "embedding" in args.only:
            tell_embedding(args)


if __name__ == "__main__":
    main()
