"""A film as a telephone photographs it from a light box or a monitor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer
from asfusion._door import public
from asfusion.exceptions import ConfigurationError, ShapeError
from asfusion.imaging._resize import resize
from asfusion.imaging.photographs import camera, film, scene
from asfusion.imaging.photographs._draws import STRENGTHS, Draws
from asfusion.imaging.photographs.geometry import Floats, corners_of, homography_of, warp

_LARGEST = 1280  # side in pixels of what messengers send
_FOCUS = 1.3  # focal length, in longer sides of the sensor
_LUMA = np.array([0.299, 0.587, 0.114])[:, None, None]


@public
def degrade(
    pixels: NDArray[np.uint8], severity: int, seed: int, *, side: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Photograph a film, as a telephone would from a light box or a monitor.

    A seed draws the scene, the severity how bad it is: the same seed is the same scene at
    every severity. In the order of physics: creases, the light box or the monitor, cut
    edges, paper labels; perspective, before a wall; a monitor's moire, stripes and bands of
    lamps, shadow, glare and halos, fingers; vignette, exposure and white balance, defocus and
    shake, noise of the sensor, the camera's tones, and JPEG, which some messengers make twice.

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (C, H, W), uint8
        The film, of one channel or three.
    severity : {1, 2, 3, 4, 5}
        From careful to hasty.
    seed : int
        Draws the scene. Equal seeds give equal bytes.
    side : int, optional
        Longer side of the photograph, in pixels. By default twice that of the film, and
        at most 1280.

    Returns
    -------
    photograph : ndarray, uint8
        Of as many dimensions and channels as `pixels`, and of another size: 4 to 3, the longer
        side where the film has its own.
    homography : ndarray of shape (3, 3)
        From places (x, y, 1) on the film to places in the photograph, up to a factor, in pixels
        from the left upper corner (the first pixel's centre is at 0.5): see
        `asfusion.imaging.photographs.apply_homography`.

    Raises
    ------
    ShapeError
        If `pixels` are no such film.
    ConfigurationError
        If `severity`, `seed` or `side` is unusable.

    Notes
    -----
    A model, not a measurement: severities were set by eye. Lenses are free of distortion and
    films are flat, so that a homography tells all of the geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from asfusion.imaging.photographs import degrade
    >>> film = np.full((96, 80), 120, dtype=np.uint8)
    >>> photograph, homography = degrade(film, severity=3, seed=0)
    >>> photograph.shape, homography.shape
    ((192, 144), (3, 3))
    """
    planes = _check_film(pixels)
    draws = Draws(check_integer(seed, "seed", minimum=0), STRENGTHS[check_severity(severity) - 1])
    long = min(_LARGEST, 2 * max(planes.shape[1:])) if side is None else side
    check_integer(long, "side", minimum=16)
    small = round(0.75 * long)
    height, width = (long, small) if planes.shape[1] >= planes.shape[2] else (small, long)
    homography = _view(planes.shape[1:], (height, width), draws)
    photo = _shoot(planes, homography, (height, width), draws)
    if len(planes) == 1:
        photo = np.asarray(np.rint((_LUMA * photo).sum(axis=0, keepdims=True)), np.uint8)
    return (photo[0] if np.ndim(pixels) == 2 else photo), homography


def check_severity(severity: object) -> int:
    """Return a severity from 1 to 5."""
    chosen = check_integer(severity, "severity", minimum=1)
    if chosen > len(STRENGTHS):
        msg = f"severity: expected an integer from 1 to {len(STRENGTHS)}, got {chosen}."
        raise ConfigurationError(msg)
    return chosen


def _check_film(pixels: Any) -> NDArray[np.uint8]:
    """Return a film as (C, H, W)."""
    film = np.asarray(pixels)
    planes = film[None] if film.ndim == 2 else film
    is_film = planes.ndim == 3 and planes.shape[0] in (1, 3) and min(planes.shape[1:]) >= 8
    if not is_film or film.dtype != np.uint8:
        msg = (
            "degrade: expected uint8 pixels of shape (H, W), (1, H, W) or (3, H, W) with at least "
            f"8 rows and columns, got {film.dtype} of shape {film.shape}. Read files with "
            "asfusion.imaging.read_image."
        )
        raise ShapeError(msg)
    return planes


def _view(film: tuple[int, ...], photo: tuple[int, int], draws: Draws) -> Floats:
    """Return the homography of a film seen by a camera that is held aslant."""
    rng, strength = draws.stream("view"), draws.strength
    turn, tip, tilt = np.deg2rad([15.0, 30.0, 30.0]) * strength * rng.uniform(-1.0, 1.0, 3)
    fill = 0.94 - 0.4 * strength * rng.random()
    if draws.happens(rng, 0.35):
        fill = 0.98 + 0.06 * strength * rng.random()  # the film is not all on it
    shift = 0.07 * strength * rng.uniform(-1.0, 1.0, 2)
    corners = corners_of(*film)
    placed = (corners - corners.mean(axis=0)) * fill * min(photo[0] / film[0], photo[1] / film[1])
    focus = _FOCUS * max(photo)
    space = np.column_stack([placed, np.zeros(4)]) @ _rotation(turn, tip, tilt).T
    seen = space[:, :2] * (focus / (focus + space[:, 2:]))
    middle = np.array([photo[1], photo[0]]) * (0.5 + shift)
    return homography_of(corners, seen + middle)


def _rotation(turn: float, tip: float, tilt: float) -> Floats:
    """Return a rotation in the plane, then about the horizontal and the vertical axis."""
    (a, b, c), (d, e, f) = np.cos([turn, tip, tilt]), np.sin([turn, tip, tilt])
    plane = np.array([[a, -d, 0.0], [d, a, 0.0], [0.0, 0.0, 1.0]])
    across = np.array([[1.0, 0.0, 0.0], [0.0, b, -e], [0.0, e, b]])
    upright = np.array([[c, 0.0, f], [0.0, 1.0, 0.0], [-f, 0.0, c]])
    return np.asarray(upright @ across @ plane)


def _shoot(
    planes: NDArray[np.uint8], homography: Floats, photo: tuple[int, int], draws: Draws
) -> NDArray[np.uint8]:
    """Return the photograph (3, H, W)."""
    is_monitor = bool(draws.stream("kind").random() < 0.5)
    small, to_small = _no_finer(planes, homography)
    creased = film.crease(np.broadcast_to(small, (3, *small.shape[1:])), draws)
    plate, margin = film.on_plate(creased, draws, monitor=is_monitor)
    onto = np.array([[1.0, 0.0, -margin], [0.0, 1.0, -margin], [0.0, 0.0, 1.0]])
    seen = homography @ np.linalg.inv(to_small)
    light = camera.to_light(_in_room(plate, seen @ onto, photo, draws))
    if is_monitor:
        light = scene.moire(light, draws, seen, small.shape[1:], margin)
    for effect in (scene.stripes, scene.shadow, scene.glare, scene.fingers):
        light = effect(light, draws)
    for effect in (camera.vignette, camera.balance, camera.blur, camera.noise):
        light = effect(light, draws)
    return camera.jpeg(camera.develop(light, draws), draws)


def _no_finer(planes: NDArray[np.uint8], homography: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """Return a film with no more pixels than the photograph has of it, and where they lie."""
    height, width = planes.shape[1:]
    x, y = corners_of(height, width).T
    seen = homography @ np.stack([x, y, np.ones(4)])
    edges = np.hypot(*np.diff((seen[:2] / seen[2])[:, [0, 1, 2, 3, 0]]))
    share = min(1.0, float(edges.max() / max(height, width)))
    if share > 0.8:
        return planes, np.eye(3)
    tall, wide = max(8, round(share * height)), max(8, round(share * width))
    small = np.stack([np.rint(resize(plane, tall, wide)).astype(np.uint8) for plane in planes])
    return small, np.diag([wide / width, tall / height, 1.0])


def _in_room(
    plate: NDArray[np.uint8], homography: Floats, photo: tuple[int, int], draws: Draws
) -> NDArray[np.uint8]:
    """Return the plate as seen, before the wall behind it."""
    wall = scene.wall(photo, draws)
    cover = np.full((1, *plate.shape[1:]), 255, np.uint8)
    seen = warp(np.concatenate([plate, cover]), homography, *photo)
    there = seen[3:] / np.float32(255.0)
    return np.asarray(np.rint(seen[:3] * there + wall * (1.0 - there)), np.uint8)
