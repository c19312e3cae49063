"""The pelvis of a phantom MR stack: muscle, fat, bones, joints, nerves and vessels, in mm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asfusion.datasets._phantoms.mri_canvas import Canvas, Field, MriLabel, least, rim, soft

JOINT_TOP, JOINT_MIDDLE, JOINT_BOTTOM = -44.0, -4.0, 36.0


class Side(NamedTuple):
    """One joint on its half of the grid; distances in mm, positive inside."""

    sign: int
    columns: slice
    along: Field  # (1, Y, 1), height of the row at this joint
    there: Field  # (Z, Y, 1), 1 between the ends of the cartilaginous joint
    to_bone: tuple[Field, Field]  # (Z, Y, X), from the joint into the ilium and the sacrum
    inside: tuple[Field, Field]  # (Z, Y, X), from the nearest border of each
    gap: Field  # (Z, Y, 1), half the distance of the bones


class Body:
    """Sizes in mm, and tissue, of one patient."""

    def __init__(self, sex: str, bmi: float, age: float, rng: np.random.Generator) -> None:
        female = sex == "female"
        draws = rng.normal(size=12).tolist()
        self.wide = (1.05 if female else 1.0) * (1.0 + 0.03 * draws[0])
        self.tall = (0.93 if female else 1.0) * (1.0 + 0.03 * draws[1])
        self.tilt = 0.03 * draws[2]
        self.right = 3.0 * draws[3]
        self.down = 4.0 * draws[4]
        self.slope = 0.22 + 0.03 * draws[5]
        self.bend = rng.uniform(0.0, 2.0 * np.pi, 2).tolist()
        self.gap = 1.3 + 0.12 * draws[6]
        self.lean = 0.30 + 0.05 * draws[7]
        self.old = float(np.clip((age - 20.0) / 50.0, 0.0, 1.2))
        self.lard = float(np.clip((bmi - 20.0) / 20.0, 0.0, 1.5))
        self.marrow_t1 = 0.50 + 0.14 * self.old + 0.03 * draws[8]
        self.marrow_stir = 0.17 - 0.05 * self.old + 0.02 * draws[9]
        self.thick = 26.0 + 2.0 * draws[10] - (2.0 if female else 0.0)
        self.disc = 0.50 - 0.30 * self.old + 0.06 * draws[11]


def paint_anatomy(canvas: Canvas, body: Body, rng: np.random.Generator) -> list[Side]:
    """Paint a healthy body; return where the right and the left joint are."""
    _paint_soft_tissue(canvas, body)
    sides = [_side(canvas, body, sign) for sign in (-1, 1)]
    _paint_lumbar(canvas, body)
    for side in sides:
        _paint_bones(canvas, body, side)
    _paint_canal_and_foramina(canvas, body, rng)
    _paint_vessels(canvas, body, rng)
    return sides


def _paint_soft_tissue(canvas: Canvas, body: Body) -> None:
    """Paint fat everywhere, and muscle in bundles."""
    canvas.t1 += 0.86 + 0.04 * canvas.coarse
    canvas.stir += 0.07
    x, y, z = canvas.bent_x - body.right, canvas.bent_y - body.down, canvas.z
    across = np.abs(x)
    streaks = soft(canvas.coarse + 0.6 * canvas.fine - 1.6 + 0.8 * body.lard, 0.35)
    edge = body.wide * 78.0 - 0.20 * z + 0.08 * np.abs(y + 10.0) - 6.0
    gluteus = np.minimum(across - edge, 64.0 - y + 0.3 * (across - 60.0))
    psoas = 17.0 - np.hypot(across - 46.0, 0.35 * np.maximum(y + 72.0, 0.0)) - 0.3 * (z + 16.0)
    iliacus = np.minimum(-25.0 - z + 0.55 * np.maximum(across - 60.0, 0.0), across - 56.0)
    piriformis = np.minimum(9.0 - np.abs(y - 60.0 - 0.18 * (across - 50.0)), across - 26.0)
    multifidus = 17.0 - np.hypot(across - 17.0, 1.2 * np.minimum(z - 24.0, 0.0))
    multifidus = np.minimum(multifidus, 62.0 - y - 0.5 * across)
    muscle = np.zeros_like(canvas.t1)
    for inside in (gluteus, psoas, iliacus, piriformis, multifidus):
        np.maximum(muscle, soft(inside, 1.0), out=muscle)
    t1 = 0.30 + (0.20 + 0.25 * body.lard) * streaks
    canvas.paint(muscle, t1, 0.26 - 0.10 * streaks + 0.012 * canvas.fine)


def _paint_lumbar(canvas: Canvas, body: Body) -> None:
    """Paint the last lumbar vertebra and the disc under it."""
    across = np.abs(canvas.bent_x - body.right)
    y = (canvas.bent_y - body.down) / body.tall
    # A waist in the middle of the body, and end plates that are hollow.
    waist = 3.5 * np.exp(-(((y + 80.0) / 9.0) ** 2))
    column = np.minimum(26.0 - waist - across, 14.0 - canvas.z)
    hollow = 1.5 * np.exp(-((across / 14.0) ** 2))
    vertebra = np.minimum(column, -65.0 - hollow - y)
    marrow_t1 = body.marrow_t1 + 0.05 * canvas.coarse
    canvas.paint(soft(vertebra, 1.0), marrow_t1, body.marrow_stir)
    canvas.paint(rim(vertebra), 0.10, 0.06)
    disc = np.minimum(column, 4.0 + hollow - np.abs(y + 61.0))
    nucleus = soft(np.minimum(disc, 17.0 - across) - 1.0, 2.5)
    canvas.paint(soft(disc, 1.0), 0.22, 0.10 + body.disc * nucleus)


def _side(canvas: Canvas, body: Body, sign: int) -> Side:
    """Return where the bones of one side are."""
    half = np.flatnonzero(sign * (canvas.x.ravel() - body.right) >= 0.0)
    columns = slice(int(half[0]), int(half[-1]) + 1)
    z, x = canvas.z, canvas.bent_x[..., columns] - np.float32(body.right)
    across = sign * x
    y = (canvas.bent_y[..., columns] - body.down + body.tilt * x) / body.tall
    along = (canvas.y - body.down + body.tilt * sign * 45.0) / body.tall
    wave = 2.4 * np.sin(0.065 * along + body.bend[(sign + 1) // 2])
    place = body.wide * (49.0 - body.slope * (along + 8.0) - body.lean * z + wave)
    # Behind and above the cartilage the bones part, and ligaments hold them.
    parted = 6.0 * soft(z - 9.0, 6.0) * soft(-6.0 - along, 10.0)
    gap = body.gap + parted
    distance = across - place
    to_ilium, to_sacrum = distance - gap, -distance - gap
    hollow = 15.0 * np.exp(-(((y - 26.0) / 30.0) ** 2) - (across / 34.0) ** 2)
    sacrum = least(
        to_sacrum,
        place - 0.55 * np.maximum(along - 40.0, 0.0) - across,
        y + 56.0 - 0.25 * np.maximum(across - 24.0, 0.0),
        # These two run along the slices; unweighted, their rim would fill several.
        2.5 * (z + 29.0 - hollow),
        2.0 * (17.0 + 0.14 * across - z),
    )
    thick = body.thick * np.clip(1.0 - 0.008 * (along + 4.0), 0.5, 1.5)
    ilium = least(
        to_ilium - 0.5 * np.maximum(JOINT_TOP - along, 0.0),
        place + thick - across,
        42.0 + 0.6 * distance - y,
        z + 25.0 - 0.55 * np.maximum(across - 60.0, 0.0),
    )
    there = soft(np.minimum(along - JOINT_TOP, JOINT_BOTTOM - along), 3.0) * (1 - parted / 6.0)
    return Side(sign, columns, along, there, (to_ilium, to_sacrum), (ilium, sacrum), gap)


def _paint_bones(canvas: Canvas, body: Body, side: Side) -> None:
    """Paint marrow, cortex and the joint of one side."""
    coarse, fine = canvas.coarse[..., side.columns], canvas.fine[..., side.columns]
    marrow_t1 = body.marrow_t1 + 0.055 * coarse + 0.03 * fine
    marrow_stir = body.marrow_stir - 0.03 * coarse + 0.015 * fine
    right = side.sign < 0
    names = (MriLabel.ILIUM_RIGHT if right else MriLabel.ILIUM_LEFT, MriLabel.SACRUM)
    for inside, name, fatty in zip(side.inside, names, (0.04, 0.0), strict=True):
        bone = soft(inside, 1.0)
        canvas.paint(bone, marrow_t1 + fatty, marrow_stir - 0.3 * fatty, side.columns)
        canvas.paint(rim(inside), 0.08, 0.05, side.columns)
        canvas.mark(name, bone, side.columns)
    between = least(-side.to_bone[0], -side.to_bone[1])
    cartilage = soft(between, 0.8) * side.there
    canvas.paint(0.8 * cartilage, 0.30, 0.24, side.columns)
    ligament = soft(between, 1.0) * (1.0 - side.there) * soft(side.along + 60.0, 6.0)
    ligament *= soft(JOINT_BOTTOM - side.along, 4.0)
    canvas.paint(0.6 * ligament * soft(fine + 0.3, 0.6), 0.15, 0.10, side.columns)
    strip = soft(between + 1.0, 0.8) * side.there
    canvas.mark(MriLabel.JOINT_RIGHT if right else MriLabel.JOINT_LEFT, strip, side.columns)


def _paint_canal_and_foramina(canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
    """Paint the remains of sacral discs, the foramina with their nerves, and the canal."""
    jitter = rng.normal(0.0, 1.0, size=(4, 2, 3))
    for level, strength in ((-17.0, 1.0), (9.0, 0.5)):
        row = body.down + body.tall * level
        canvas.blob(
            (body.right, row, -4.0), (16.0, 1.6, 12.0), 0.20, 0.10 + 0.35 * body.disc * strength
        )
    for level, (row, across) in enumerate(
        ((-30.0, 24.0), (-4.0, 20.0), (20.0, 17.0), (42.0, 14.0))
    ):
        for sign in (-1, 1):
            dx, dy, dr = jitter[level, (sign + 1) // 2].tolist()
            x, y = body.right + sign * (across + dx), body.down + body.tall * row + dy
            radius = max(6.6 - 0.6 * level + 0.6 * dr, 3.0)
            # The openings run outwards on their way from back to front.
            for z in (-15.0, -5.0, 5.0, 15.0):
                at = x - sign * 0.22 * z
                canvas.blob((at, y, z), (radius, 0.8 * radius, 7.0), 0.84, 0.09)
                canvas.blob((at, y, z), (0.55 * radius, 0.45 * radius, 7.0), 0.34, 0.36)
                canvas.blob((at + sign * 2.8, y - 2.6, z), (1.7, 1.7, 7.0), 0.28, 0.62)
    end = body.down + rng.uniform(-12.0, 10.0)
    top = -100.0
    middle, half = 0.5 * (end + top), 0.5 * (end - top)
    canvas.blob((body.right, body.down, 11.0), (9.0, 55.0, 6.0), 0.82, 0.09)
    canvas.blob((body.right, middle, 11.0), (6.5, half, 4.6), 0.14, 0.85)
    for at in (-3.0, 0.5, 3.2):
        canvas.blob((body.right + at, middle, 11.5), (1.0, half, 2.5), 0.30, 0.45)


def _paint_vessels(canvas: Canvas, body: Body, rng: np.random.Generator) -> None:
    """Paint veins, which are as bright on STIR as oedema is and mean nothing."""
    for sign in (-1, 1):
        # Gluteal vessels leave the pelvis just under the joint.
        for _ in range(4):
            across, row = rng.uniform([44.0, 46.0], [74.0, 58.0])
            radius = rng.uniform(1.4, 3.0)
            centre = (body.right + sign * across, body.down + row, rng.uniform(-20.0, 14.0))
            canvas.blob(centre, (2.0 * radius, radius, 9.0), 0.20, rng.uniform(0.6, 0.95))
        # Iliac vessels cross in front of the wing of the sacrum.
        for _ in range(3):
            across, row = rng.uniform([34.0, -52.0], [52.0, 10.0])
            radius = rng.uniform(2.0, 3.6)
            centre = (body.right + sign * across, body.down + row, -26.0)
            canvas.blob(centre, (radius, 3.0 * radius, 5.0), 0.16, rng.uniform(0.5, 0.95))
        for _ in range(3):
            across, row = rng.uniform([78.0, -50.0], [92.0, 60.0])
            radius = rng.uniform(1.0, 2.0)
            centre = (body.right + sign * across, row, rng.uniform(-20.0, 20.0))
            canvas.blob(centre, (radius, 4.0 * radius, 6.0), 0.25, rng.uniform(0.4, 0.8))
        # Nutrient vessels run in the bone itself.
        for _ in range(2):
            across, row, radius = rng.uniform([28.0, -38.0, 0.9], [64.0, 30.0, 1.6])
            centre = (body.right + sign * across, body.down + row, rng.uniform(-14.0, 8.0))
            canvas.blob(centre, (2.2 * radius, radius, 3.5), 0.34, rng.uniform(0.35, 0.65))
    for _ in range(6):
        x, y, bright = rng.uniform([-24.0, 0.0, 0.4], [24.0, 50.0, 0.85])
        centre = (body.right + x, body.down + y, rng.uniform(-26.0, -16.0))
        canvas.blob(centre, (1.5, rng.uniform(1.5, 5.0), 4.0), 0.2, bright)
