"""Radiographs and MRI of the synthetic axSpA cohort, as DICOM files."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asfusion._files import write_file
from asfusion._progress import progress
from asfusion._random import derive_seed
from asfusion.clinical._msasss import CERVICAL_CORNERS, LUMBAR_CORNERS
from asfusion.datasets._axspa_patients import Bools, Patients
from asfusion.datasets._phantoms.dicom_files import write_radiograph, write_series
from asfusion.datasets._phantoms.implants import Implants
from asfusion.datasets._phantoms.mri import render_mri
from asfusion.datasets._phantoms.mri_mimics import Mimics
from asfusion.datasets._phantoms.pelvis import render_pelvis
from asfusion.datasets._phantoms.pelvis_bones import PelvisLabel
from asfusion.datasets._phantoms.spine import render_spine

_SCANNERS_PER_SITE = 2
_JOINTS = (("right_sij", PelvisLabel.RIGHT_SIJ), ("left_sij", PelvisLabel.LEFT_SIJ))
_VISIBLE = 0.02  # attenuation: the noise of a detector hides less
Paths = dict[str, list[str | None]]


class FilmRoom:
    """Draws the images of patients and writes them below a folder.

    Each file depends on the seed and the patient alone: leaving out other patients or
    modalities changes nothing.

    Parameters
    ----------
    patients : Patients
        Who is imaged.
    dates : list of date
        Index date of each; images are up to two months older.
    folder : Path
        Where files go.
    seed : int
        Seeds anatomy, exposure and noise.
    film_mm : float or None
        Edge of a pixel of fine radiographs.
    """

    def __init__(
        self,
        patients: Patients,
        dates: list[datetime.date],
        folder: Path,
        seed: int,
        film_mm: float | None = None,
    ) -> None:
        self.patients, self.dates, self.folder, self.seed = patients, dates, folder, seed
        self.film_mm = film_mm
        # Lines of annotations: film, name, and x, y of a point or two corners of a box.
        self.regions: list[tuple[str, str, float, float, float, float]] = []
        self.corner_points: list[tuple[str, str, float, float]] = []

    def write_pelvis(self, absent: Bools) -> Paths:
        """Write pelvic radiographs, their segmentations, and where lesions changed them."""
        paths: Paths = {"pelvis_xray": [], "segmentation": [], "lesions": []}
        for row in self._rows("Drawing pelvic radiographs"):
            if absent[row]:
                for column in paths.values():
                    column.append(None)
                continue
            rng = self._stream("pelvis", row)
            right, left = self.patients.grades[row].tolist()
            film = render_pelvis(
                grades=(right, left),
                **self._body(row, short=True),
                scanner=self._scanner(row),
                site=int(self.patients.site[row]),
                film_mm=self.film_mm,
                implants=self._implants(row),
                projection="ferguson" if rng.random() < 0.15 else "ap",
                exposure=float(np.exp(rng.normal(0.0, 0.25 if self.film_mm is None else 0.4))),
                anatomy=self._stream("bones", row),
                rng=rng,
            )
            name = f"{self._key(row)}.dcm"
            path = self._film(film.pixels, film.spacing_mm, row, f"pelvis/{name}", "PELVIS", "AP")
            paths["pelvis_xray"].append(path)
            self.regions += [(path, name, *_box(film.labels == label)) for name, label in _JOINTS]
            paths["segmentation"].append(self._mask("segmentation", film.labels, row))
            # A joint of grade 0 has no lesion, however it varies.
            sick = np.array([right, left])[:, None, None] > 0
            seen = ((np.abs(film.change) >= _VISIBLE) & sick).any(axis=0) & (film.labels > 0)
            paths["lesions"].append(self._mask("lesions", 255 * seen.astype(np.uint8), row))
        return paths

    def write_spine(self, absent: Bools) -> Paths:
        """Write lateral films of the cervical and the lumbar spine."""
        paths: Paths = {"cervical_xray": [], "lumbar_xray": []}
        parts: tuple[tuple[Literal["cervical", "lumbar"], Literal["CSPINE", "LSPINE"]], ...]
        parts = (("cervical", "CSPINE"), ("lumbar", "LSPINE"))
        for row in self._rows("Drawing spinal radiographs"):
            for region, body_part in parts:
                if absent[row]:
                    paths[f"{region}_xray"].append(None)
                    continue
                film = render_spine(
                    corners=self.patients.corners[row],
                    region=region,
                    film_mm=self.film_mm,
                    implants=self._implants(row),
                    **self._body(row, short=True),
                    scanner=self._scanner(row),
                    anatomy=self._stream("vertebrae", row, region),
                    rng=self._stream("spine", row, region),
                )
                name = f"{region}/{self._key(row)}.dcm"
                path = self._film(film.pixels, film.spacing_mm, row, name, body_part, "LL")
                paths[f"{region}_xray"].append(path)
                names = CERVICAL_CORNERS if region == "cervical" else LUMBAR_CORNERS
                self.corner_points += [
                    (path, corner, *place)
                    for corner, place in zip(names, film.corner_xy.tolist(), strict=True)
                ]
        return paths

    def write_mri(self, absent: Bools) -> Paths:
        """Write STIR and T1 series of the sacroiliac joints, a folder each."""
        paths: Paths = {"mri_stir": [], "mri_t1": []}
        for row in self._rows("Drawing MRI"):
            if absent[row]:
                for column in paths.values():
                    column.append(None)
                continue
            site, scanner = self._names(row)
            study = render_mri(
                oedema=self.patients.oedema[row],
                fat=self.patients.fat[row],
                erosion=np.clip((self.patients.grades[row] - 1) / 3, 0, 1),
                **self._body(row, short=False),
                site=site,
                scanner=scanner,
                mimics=self._mimics(row),
                rng=self._stream("mri", row),
            )
            sequences: tuple[tuple[Literal["STIR", "T1"], NDArray[np.uint16]], ...]
            sequences = (("STIR", study.stir), ("T1", study.t1))
            for sequence, volume in sequences:
                folder = self.folder / "mri" / f"{self._key(row)}_{sequence.lower()}"
                write_series(
                    folder,
                    volume,
                    spacing_mm=study.spacing_mm,
                    sequence=sequence,
                    **self._header(row),
                )
                paths[f"mri_{sequence.lower()}"].append(str(folder))
        return paths

    # -- parts -------------------------------------------------------------------------

    def _film(
        self,
        pixels: NDArray[np.uint16],
        spacing_mm: float,
        row: int,
        name: str,
        body_part: Literal["PELVIS", "LSPINE", "CSPINE"],
        view: Literal["AP", "LL"],
    ) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        site = int(self.patients.site[row])
        write_radiograph(
            path,
            pixels,
            spacing_mm=(spacing_mm, spacing_mm),
            photometric="MONOCHROME1" if site % 2 else "MONOCHROME2",
            modality="CR" if self._scanner(row) % 2 else "DX",
            body_part=body_part,
            view=view,
            **self._header(row),
        )
        return str(path)

    def _mask(self, kind: str, labels: NDArray[np.uint8], row: int) -> str:
        from PIL import Image

        path = self.folder / kind / f"{self._key(row)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.fromarray(labels).save(buffer, format="PNG")
        write_file(path, buffer.getvalue(), durable=False)
        return str(path)

    def _rows(self, what: str) -> Any:
        return progress(range(len(self.patients)), what, unit="patient")

    def _stream(self, *keys: object) -> np.random.Generator:
        return np.random.default_rng(derive_seed(self.seed, "axspa", *keys))

    def _key(self, row: int) -> str:
        return f"P{row + 1:05d}"

    def _scanner(self, row: int) -> int:
        site = int(self.patients.site[row])
        return _SCANNERS_PER_SITE * site + int(self._stream("scanner", row).integers(2))

    def _implants(self, row: int) -> Implants | None:
        """Return what a patient of a fine cohort carries."""
        if self.film_mm is None:
            return None
        age = float(self.patients.scores["age"][row])
        return Implants.draw(
            female=not self.patients.male[row], age=age, rng=self._stream("implants", row)
        )

    def _mimics(self, row: int) -> Mimics | None:
        """Return what looks like oedema on the MRI of a patient of a fine cohort."""
        if self.film_mm is None:
            return None
        age = float(self.patients.scores["age"][row])
        rng = self._stream("mimics", row)
        return Mimics.draw(female=not self.patients.male[row], age=age, rng=rng)

    def _names(self, row: int) -> tuple[str, str]:
        return f"site {self.patients.site[row]}", f"scanner {self._scanner(row)}"

    def _body(self, row: int, *, short: bool) -> dict[str, Any]:
        male = bool(self.patients.male[row])
        sex = ("m" if male else "f") if short else ("male" if male else "female")
        scores = self.patients.scores
        return {"sex": sex, "bmi": float(scores["bmi"][row]), "age": float(scores["age"][row])}

    def _header(self, row: int) -> dict[str, Any]:
        site, scanner = self._names(row)
        days = int(self._stream("date", row).integers(0, 60))
        return {
            "patient_key": self._key(row),
            "site": site,
            "scanner": scanner,
            "sex": "male" if self.patients.male[row] else "female",
            "age_years": float(np.floor(self.patients.scores["age"][row])),
            "date": self.dates[row] - datetime.timedelta(days=days),
            "seed": self.seed,
        }


def _box(there: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return x0, y0, x1, y1 (pixels) around a label; a pixel's centre lies at a half."""
    columns, rows = np.flatnonzero(there.any(axis=0)), np.flatnonzero(there.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
