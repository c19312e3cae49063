# %% [markdown]
# # Genome
#
# From PLINK files to a fused model: read, bring alleles into line, score, explain.
#
# The files are written here from synthetic patients; yours take their place.

# %%
import tempfile

import numpy as np
from sklearn.metrics import roc_auc_score

import asfusion as af
from asfusion import genomics

cohort = af.datasets.make_axspa_cohort(400, random_state=0, modalities=["labs", "genes"])
folder = tempfile.mkdtemp()
cohort.write_plink(f"{folder}/cohort")
genotypes = genomics.read_plink(f"{folder}/cohort.bed")
genotypes

# %% [markdown]
# HLA-B27 from its tag SNP, with how far that can be trusted, and a risk score with the weights of
# the published loci. The score says how many variants it found, flipped and left out.

# %%
carriers = genomics.hla_b27_from_tag(genotypes)
print(carriers)
score = genomics.risk_score(
    genotypes, hla_b27=carriers.carriers, missing="reference", ancestry="EUR"
)
print(score)
print(f"AUC of the score alone {roc_auc_score(cohort.y, score.scores):.3f}")

# %% [markdown]
# Dosages become columns of X, named by variant and counted allele, and stand beside the labs.

# %%
genes = genotypes.to_frame(with_allele=True)
samples = [f"P{patient + 1:05d}" for patient in cohort.groups]
X = cohort.X[["crp", "esr", "hla_b27"]].assign(sample=samples).join(genes, on="sample")
weights = genomics.published_weights()
weights = weights[weights["id"] != "rs6759298"]  # C/G: the letters do not tell its strand
encoders = {
    "labs": af.TabularEncoder(["crp", "esr"]),
    "genes": af.GenotypeEncoder(hla_b27="hla_b27", weights=weights, annotation="published"),
}
model = af.JointFusionClassifier(encoders, verbose=0, random_state=0)
model.fit(X[:320], cohort.y[:320])
probability = model.predict_proba(X[320:])[:, 1]
print(f"AUC on 80 unseen patients {roc_auc_score(cohort.y[320:], probability):.3f}")

# %% [markdown]
# Variants that are inherited together share what they tell. By locus, HLA-B27 and its tag SNPs
# are one.

# %%
e = af.explain(model, X[320:324], background=X[:320], n_background=8, verbose=0)
loci = e["genes"].by_locus()
size = np.abs(loci.values).mean(axis=0)
for place in np.argsort(-size)[:4]:
    print(f"{loci.feature_names[place]:<20} {size[place]:.3f}")
