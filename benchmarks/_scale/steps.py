"""What a step of training costs beside the bare one, and a joint fit beside its data.

The rival is a loop by hand of the same layers, loss, clipping and fused AdamW, with a schedule, on
tensors in memory: what is left is what the library adds (absent rows, masks, modalities, records).
Processor time of whole epochs, in turns. The joint fit of a large table is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asfusion._tokens import Prepared
from asfusion.fusion._resolve import resolve_head
from asfusion.nn.image import build_image_backbone, describe_image_backbone
from asfusion.nn.network import Backbone, EncoderNetwork, FusionNetwork
from asfusion.training.loop import train
from asfusion.training.losses import cross_entropy
from asfusion.training.rows import Rows
from asfusion.training.settings import TrainingSettings

LIMIT, MEMORY_LIMIT = 1.1, 6.0
WIDTH, HIDDEN = 512, 64


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    wanted = args.only or ["embeddings", "resnet18", "table"]
    rounds = args.rounds or (2 if args.quick else 7)
    print("| step of | rows a step | bare, ms | asfusion, ms | times | limit |")
    print("|---|---|---|---|---|---|")
    if "embeddings" in wanted:
        for batch in (32, 128):
            tell("frozen embeddings", batch, embeddings(512 if args.quick else 8192), rounds)
    if "resnet18" in wanted:
        tell("ResNet-18, 64 pixels", 32, films(64 if args.quick else 128), rounds)
    if "table" in wanted:
        tell_table(*((20_000, 20) if args.quick else sized(args.sizes or ["1000000x50"])))


def sized(sizes: list[str]) -> tuple[int, int]:
    n_rows, _, n_columns = sizes[0].partition("x")
    return int(n_rows), int(n_columns)


# -- steps -----------------------------------------------------------------------------


class Contents:
    """What is learned from, and the layers that read it, for both sides."""

    def __init__(self, name: str, tensors: dict[str, Tensor], make: Callable[[], Backbone]) -> None:
        self.name, self.tensors, self.make = name, tensors, make
        self.n_rows = len(next(iter(tensors.values())))
        torch.manual_seed(0)
        self.y = torch.randint(0, 2, (self.n_rows,))

    def body(self) -> Backbone:
        """Return the layers before the adapter, always from the same weights."""
        torch.manual_seed(1)
        return self.make()


class Embedded(Backbone):
    """A backbone that was asked before."""

    d_out = WIDTH

    def forward(self, inputs: Any) -> Any:
        """Raise: nobody is to ask."""
        raise RuntimeError("frozen embeddings are not computed again")


def embeddings(n_rows: int) -> Contents:
    tensors = {"values": torch.randn(n_rows, 1, WIDTH), "mask": torch.ones(n_rows, 1).bool()}
    return Contents("values", tensors, Embedded)


def films(n_rows: int) -> Contents:
    plan = describe_image_backbone("resnet18", size=64)
    pixels = torch.randint(0, 256, (n_rows, 1, 64, 64), dtype=torch.uint8)
    return Contents("pixels", {"pixels": pixels}, lambda: build_image_backbone(plan))


def tell(what: str, batch: int, contents: Contents, rounds: int) -> None:
    bare, ours = Bare(contents, batch), Ours(contents, batch)
    bare.epoch(), ours.epoch()
    times = [(bare.epoch(), ours.epoch()) for _ in range(rounds)]
    ratio = statistics.median(own / other for other, own in times)
    first, second = (1e3 * statistics.median(part) for part in zip(*times, strict=True))
    print(f"| {what} | {batch} | {first:.3f} | {second:.3f} | {ratio:.2f} | {LIMIT} |", flush=True)


class Bare:
    """The same step, by hand."""

    def __init__(self, contents: Contents, batch: int) -> None:
        self.contents, self.batch = contents, batch
        body = contents.body()
        self.read = body.body if hasattr(body, "body") else None
        self.network = nn.Sequential(
            nn.LayerNorm(body.d_out), nn.Dropout(0.1), nn.Linear(body.d_out, HIDDEN),
            nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 2),
        )  # fmt: skip
        self.all = nn.ModuleList([self.network, *([] if self.read is None else [self.read])])
        weights = list(self.all.parameters())
        groups = [
            {"params": [w for w in weights if w.dim() > 1], "weight_decay": 1e-2},
            {"params": [w for w in weights if w.dim() < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 10_000)

    def epoch(self) -> float:
        """Return the seconds of a step, the mean of an epoch."""
        begun, contents = time.process_time(), self.contents
        self.all.train()
        total, steps = torch.zeros(()), 0
        for rows in torch.randperm(contents.n_rows).split(self.batch):
            loss = nn.functional.cross_entropy(self.network(self.vectors(rows)), contents.y[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.all.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            total, steps = total + loss.detach(), steps + 1
        return (time.process_time() - begun) / steps

    def vectors(self, rows: Tensor) -> Tensor:
        """Return one vector for each row (B, D)."""
        if self.read is None:
            return self.contents.tensors["values"][rows, 0]
        pixels = self.contents.tensors["pixels"][rows].to(torch.float32) / 255.0
        return self.read((pixels - 0.5) / 0.25).flatten(2).mean(dim=2)


class Ours:
    """The step of the library, with what bare training has of its options."""

    def __init__(self, contents: Contents, batch: int) -> None:
        self.batch, mode = batch, "frozen" if contents.name == "values" else "full"
        encoder = EncoderNetwork(contents.body(), d_out=HIDDEN, dropout=0.1, training_mode=mode)
        head = resolve_head("concat").build({"one": HIDDEN}, n_outputs=2)
        self.network = FusionNetwork({"one": encoder}, head, d_fused=head.d_out, n_outputs=2)
        present = torch.ones(contents.n_rows, dtype=torch.bool)
        parts = {"one": Prepared(contents.tensors, present)}
        self.rows = Rows(parts, contents.y, torch.ones(contents.n_rows))
        self.n_steps = -(-contents.n_rows // batch)

    def epoch(self) -> float:
        """Return the seconds of a step, the mean of an epoch."""
        settings = TrainingSettings(max_epochs=1, batch_size=self.batch, device="cpu")
        begun = time.process_time()
        train(self.network, self.rows, None, loss=cross_entropy, settings=settings)
        return (time.process_time() - begun) / self.n_steps


# -- a large table ---------------------------------------------------------------------


def tell_table(n_rows: int, n_columns: int) -> None:
    """Fit a table as joint fusion, once, in a process of its own, and tell its peak of memory."""
    command = [sys.executable, __file__, str(n_rows), str(n_columns)]
    found = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    megabytes = n_rows * n_columns * 8 / 1e6
    times = found["peak_mb"] / megabytes
    print("\n| joint fit of | data, MB | peak over start, MB | times | limit | s an epoch |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {n_rows:,} x {n_columns} float64 | {megabytes:.0f} | {found['peak_mb']:.0f} | "
        f"{times:.1f} | {MEMORY_LIMIT} | {found['s_epoch']:.1f} |"
    )


def fit_table(n_rows: int, n_columns: int) -> None:
    import pandas as pd

    import asfusion as af

    torch.set_num_threads(1)
    small = pd.DataFrame(np.random.default_rng(0).normal(size=(200, n_columns)))
    small.columns = [f"c{i}" for i in range(n_columns)]
    options = {"max_epochs": 1, "early_stopping": True, "verbose": 0, "random_state": 0}
    labels = np.arange(200) % 2
    af.JointFusionClassifier({"t": af.TabularEncoder(list(small))}, **options).fit(small, labels)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n_rows, n_columns)), columns=list(small), copy=False)
    y = (rng.random(n_rows) < 0.5).astype(int)
    model = af.JointFusionClassifier({"t": af.TabularEncoder(list(small))}, **options)
    begun = time.process_time()
    model.fit(X, y)
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before
    print(json.dumps({"peak_mb": peak, "s_epoch": seconds}))


if __name__ == "__main__":
    fit_table(int(sys.argv[1]), int(sys.argv[2]))
