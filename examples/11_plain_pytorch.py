# %% [markdown]
# # Plain PyTorch
#
# Take the encoders and the fusion head out of the estimators, and train them in a loop of your
# own.
#
# For a loss, a sampler or a schedule that `JointFusionClassifier` does not have. Everything
# below is ordinary `torch`; asfusion turns rows into tensors and says which are there.

# %%
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

import asfusion as af

cohort = af.datasets.make_axspa_cohort(600, random_state=0, modalities=["labs", "notes", "genes"])
X, y = cohort.X, torch.as_tensor(cohort.y)
train, test = slice(0, 400), slice(400, None)
encoders = {
    "labs": af.TabularEncoder(["age", "sex", "crp", "esr"], d_out=32),
    "notes": af.ConceptEncoder("clinical_note", d_out=32),
    "genes": af.TabularEncoder(["hla_b27"], d_out=32),
}

# %% [markdown]
# `fit` learns the preprocessing from training rows, `prepare` gives tensors and presence,
# `build` a new network.

# %%
for encoder in encoders.values():
    encoder.fit(X[train])
rows = {name: encoder.prepare(X[train]) for name, encoder in encoders.items()}
new = {name: encoder.prepare(X[test]) for name, encoder in encoders.items()}
for name, prepared in rows.items():
    shapes = {key: tuple(tensor.shape) for key, tensor in prepared.tensors.items()}
    print(f"{name:<6} {int(prepared.present.sum())} of 400 present", shapes)


# %% [markdown]
# The whole network: encode, mask what is absent, fuse, predict.


# %%
class Fused(nn.Module):
    """One network per modality, a fusion head, one output."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoders = nn.ModuleDict({name: e.build() for name, e in encoders.items()})
        self.fusion = af.fusion.CrossAttention(d_out=32).build(dict.fromkeys(encoders, 32))
        self.head = nn.Linear(32, 1)

    def forward(self, prepared):
        """Return one log-odds per row."""
        tokens = {}
        for name, network in self.encoders.items():
            inputs = {
                key: value.float() if value.is_floating_point() else value
                for key, value in prepared[name].tensors.items()
            }
            tokens[name] = network(inputs).keep(prepared[name].present)
        return self.head(self.fusion(tokens)).squeeze(1)


# %% [markdown]
# The loop. As the reason for having it, a loss that estimators do not offer: pairs of an ill
# and a healthy patient that are ranked wrongly cost, which is a smooth stand-in for the AUC.

# %%
network = Fused()
optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
target = y[train]
for epoch in range(9):
    network.train()
    for batch in torch.randperm(len(target)).split(64):
        score = network({name: prepared.take(batch) for name, prepared in rows.items()})
        ill = target[batch] == 1
        loss = nn.functional.softplus(score[~ill][None, :] - score[ill][:, None]).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    if epoch % 3 == 2:
        network.eval()
        with torch.no_grad():
            auc = roc_auc_score(y[test], network(new))
        print(f"epoch {epoch + 1:>2}  loss {loss.item():.3f}  AUC on new patients {auc:.3f}")

# %% [markdown]
# ## Nothing that is absent is seen
#
# NaN in the place of an absent modality changes neither the prediction nor a gradient. The head
# is tested to select, never to multiply.

# %%
single = af.extend.Tokens.single
nobody = torch.tensor([False, False])
tokens = {
    "labs": single(torch.randn(2, 32)),
    "genes": single(torch.full((2, 32), torch.nan), present=nobody),
}
head = af.fusion.CrossAttention(d_out=8).build({"labs": 32, "genes": 32}).eval()
print(head(tokens).isfinite().all().item())
