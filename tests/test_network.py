"""Without ``download=True`` nothing asks for a network: in a process that may have one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nibabel")

ROOT = Path(__file__).resolve().parents[1]
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")

# What looks for weights or tokenizers, by name; each ends in a fit or in one of our errors.
CASES = """
labs = {"labs": af.TabularEncoder(["crp"])}

def image(backbone, **params):
    encoder = af.ImageEncoder("xray", backbone=backbone, size=32, **params).fit(X)
    return encoder.transform(X) if encoder.is_frozen else encoder.build()

def note(backbone):
    return af.TextEncoder("note", backbone=backbone).fit(X).transform(X)

cases = {
    "image": lambda: image("org/model"),
    "image, weights": lambda: image("resnet18", weights="org/model"),
    "image, in the cache": lambda: image("org/vit"),
    "image, a folder": lambda: image(str(home / "vit")),
    "image, installed": lambda: image("efficientnet_lite0"),
    "image, MONAI": lambda: image("densenet121"),
    "slices": lambda: af.SliceEncoder("mri", backbone="org/model").fit(X),
    "volume, weights": lambda: af.VolumeEncoder("mri", weights="org/model").fit(X).build(),
    "volume, MONAI": lambda: af.VolumeEncoder("mri", backbone="resnet18_3d").fit(X).build(),
    "text": lambda: note("org/model"),
    "text, weights in an old format": lambda: note("org/old"),
    "text, in the cache": lambda: note("org/bert"),
    "text, a folder": lambda: note(str(home / "bert")),
    "minilm": lambda: note("minilm"),
    "tokenizer": lambda: read_tokenizer("org/model"),
    "text model": lambda: load_text_model("org/old"),
    "auto": lambda: af.EarlyFusionClassifier(verbose=0).fit(X, y),
    "compare": lambda: af.compare(
        X, y, encoders={**labs, "note": af.TextEncoder("note", backbone="org/model")}, cv=2
    ),
}
"""

SCRIPT = f"""
import json, socket, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
seen = []

def watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if args[0].family != getattr(socket, "AF_UNIX", None):
            seen.append(event)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr",
                   "urllib.Request", "http.client.connect"):
        seen.append(event)
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn") and LISTENS:
        seen.append(event + " " + str(args[0]))

LISTENS = False
sys.addaudithook(watch)

import nibabel, numpy as np, pandas as pd, torch
from PIL import Image
from transformers import BertConfig, BertModel, BertTokenizerFast, ViTConfig, ViTModel
import asfusion as af
from asfusion.notes.tokenizer import read_tokenizer
from asfusion.nn.pretrained_text import load_text_model

home = Path(sys.argv[1])

def snapshot(name, **kept):
    repository = home / "hub" / f"models--org--{{name}}"
    folder = repository / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    return folder

words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "back", "pain", "at", "night", "no"]
(home / "vocab.txt").write_text("\\n".join(words))
small = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
bert = BertModel(BertConfig(vocab_size=len(words), **small))
vit = ViTModel(ViTConfig(image_size=32, patch_size=16, num_channels=1, **small))
for folder in (home / "bert", snapshot("bert"), snapshot("old")):
    BertTokenizerFast(vocab=str(home / "vocab.txt")).save_pretrained(folder)
    bert.save_pretrained(folder)
old = home / "hub" / "models--org--old" / "snapshots" / ("0" * 40)
torch.save(bert.state_dict(), old / "pytorch_model.bin")
(old / "model.safetensors").unlink()
for folder in (home / "vit", snapshot("vit")):
    vit.save_pretrained(folder)

rng = np.random.default_rng(0)
for row in range(8):
    Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(home / f"{{row}}.png")
X = pd.DataFrame({{
    "xray": [str(home / f"{{row}}.png") for row in range(8)],
    "note": ["back pain at night", "no pain"] * 4,
    "crp": rng.normal(size=8),
    "mri": [str(home / f"{{row}}.nii") for row in range(8)],
}})
for row in range(8):
    voxels = rng.normal(size=(16, 16, 4)).astype("float32")
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), home / f"{{row}}.nii")
y = np.arange(8) % 2
{CASES}
told = {{"before": seen.copy()}}
LISTENS = True
for name, case in cases.items():
    seen.clear()
    try:
        case()
        end = "done"
    except af.exceptions.AsfusionError as error:
        end = type(error).__name__ + ": " + str(error)
    except Exception as error:
        end = "FOREIGN " + repr(error)
    told[name] = [end, *seen]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return how each case ended, and what it asked of the network."""
    home = tmp_path_factory.mktemp("hub")
    environment = {k: v for k, v in os.environ.items() if k not in _OFFLINE}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(home)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**environment, "HF_HOME": str(home), "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


def test_no_look_up_asks_a_network(told: dict[str, Any]) -> None:
    asked = {name: found[1:] for name, found in told.items() if name != "before" and found[1:]}
    assert not asked


def test_each_look_up_ends_in_a_model_or_in_one_of_our_errors(told: dict[str, Any]) -> None:
    ends = {name: found[0] for name, found in told.items() if name not in ("before", "tokenizer")}
    assert not [name for name, end in ends.items() if end.startswith("FOREIGN")]
    missing = {name for name, end in ends.items() if "got none of them" in end}
    assert {"image", "slices", "text", "text, weights in an old format"} <= missing
    found = {name for name, end in ends.items() if end == "done"}
    assert {"image, in the cache", "image, a folder", "text, in the cache", "auto"} <= found
