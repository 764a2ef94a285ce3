"""The quantities that claims speak of: mostly one number per run, averaged over seeds by the rules.

`train_error_along` and `ap_follows_error` are one number per seed, over all networks of a claim,
`ensemble_top5_error` one per ensemble.

Errors are percent. A *signal* is the gradient in a layer's output, a *gradient* that in its
weights; *layers* are the 3x3 ones. "Vanishing" and "spread" compare the layers' norms at one moment
in powers of ten, and only of runs that were measured at every point of their curve; what is said of
the initialisation needs no more than its measurement.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from resnet_repro.base.records import member_of

__all__ = ["ALL_ALONG", "LARGEST_STEP", "QUANTITIES", "SIGNALS_ALL_ALONG", "QuantityName"]


class Quantity(NamedTuple):
    """How a quantity is called, its unit, and what an experiment must `measure` to know it."""

    title: str
    measured: str | None = None  # None: every training gives it
    unit: str = ""
    noisier: float = 1.0  # by this factor at other protocols than the paper's
    # Whose errors or precision it is: networks that hardly learned the task are not judged by it.
    task: Literal["classification", "detection"] | None = None
    infinite: str = ""  # what is said instead of an infinite number, where it may be one
    needs: str = ""  # what a number needs beside the measurement


FINE = "a curve with points as close as its preset's"
ALL_ALONG = f"this measurement at every point of {FINE}"
SIGNALS = "the outputs' gradients"
SIGNALS_ALL_ALONG = f"{SIGNALS} at every point of {FINE}"


def _norms(title: str, needs: str = "") -> Quantity:
    """A ratio of layers' norms, infinite where the smaller one is zero or not finite."""
    unit, infinite = " powers of ten", "a layer's norm is zero or not finite"
    return Quantity(title, "gradients", unit, infinite=infinite, needs=needs)


# On CIFAR-10 at `short` the standard deviation of the test error over three seeds is 0.23 for
# ResNet-20 and 1.10 for ResNet-56, 0.8 together; the paper has 0.16 for ResNet-110. Of photographs
# no two seeds were trained; Imagenette's 3,925 test images alone let two errors differ by 2 points.
# Of three seeds there the error in the first quarter has 1.17 for ResNet-20 and 0.74 for ResNet-56,
# the mean response 0.04 for ResNet-56 and 0.30 for plain-56, where margins are 1 and 0.05.
NOISIER = 5.0
# Of a loss surface. Up to it the radius of a paraboloid's contour, if 0.05 or more, is right to the
# margin of 0.04, whatever the loss at the centre from 0.0001 on; on 9 x 9 points it errs by 0.13.
LARGEST_STEP = 0.1
FEWEST_PLANES = 2  # of one nobody can tell how far another would be from it
_PLANES = f"planes of {FEWEST_PLANES} seeds of directions"
QUANTITIES = {
    "final_test_error": Quantity("final test error", noisier=NOISIER, task="classification"),
    # Over the batches since the last point of the curve but one.
    "final_train_error": Quantity(
        "final training error", noisier=NOISIER, task="classification", needs=FINE
    ),
    # Of the running training errors at the points of the curve.
    "early_error": Quantity(
        "mean training error in the first quarter of the iterations",
        noisier=3,
        task="classification",
        needs=f"points in the first quarter of {FINE}",
    ),
    # The first point of the curve that is; infinite if none is.
    "epochs_to_start": Quantity(
        "epochs until the training error is below 90% by four standard errors",
        unit=" epochs",
        infinite="never",
        needs="points of the curve close enough to tell",
    ),
    # Only a `ThroughoutRule` speaks of it.
    "train_error_along": Quantity(
        "training error along the way, seed by seed",
        task="classification",
        needs="curves of one seed with the same points, as close as their preset's",
    ),
    # Top-1, over the data set's val part.
    "ten_crop_error": Quantity(
        "top-1 error, 10-crop", "10-crop", noisier=NOISIER, task="classification"
    ),
    "multi_scale_error": Quantity(
        "top-1 error, multi-scale", "multi-scale", noisier=NOISIER, task="classification"
    ),
    "mean_response": Quantity(  # Fig. 7
        "mean std of the 3x3 layers' responses", "responses", noisier=3
    ),
    # From initialisation to the end.
    "weakest_signal": Quantity(
        "smallest std of any layer's output, at any moment", "gradients", needs=ALL_ALONG
    ),
    "gradient_vanishing": _norms(
        "last layer's gradient norm over the smallest, at the worst moment", ALL_ALONG
    ),
    # The median of all moments after the first iteration.
    "gradient_spread": _norms(
        "largest gradient norm over the smallest, median while training", ALL_ALONG
    ),
    "initial_gradient_spread": _norms("largest gradient norm over the smallest, at initialisation"),
    "signal_vanishing": _norms(
        "last layer's output-gradient norm over the smallest, at the worst moment",
        SIGNALS_ALL_ALONG,
    ),
    "signal_spread": _norms(
        "largest output-gradient norm over the smallest, median while training", SIGNALS_ALL_ALONG
    ),
    "initial_signal_spread": _norms(
        "largest output-gradient norm over the smallest, at initialisation", SIGNALS
    ),
    # Means over the seeds of directions.
    "convexity_violations": Quantity(
        "percent of the loss surface's points that violate convexity, each counted along each axis",
        "surface",
        needs=_PLANES,
    ),
    "contour_radius": Quantity(
        "mean radius of the contour 0.1 above the loss at the centre",
        "surface",
        needs=f"{_PLANES} that hold the contour, in steps of at most {LARGEST_STEP:g}",
    ),
    # Mean over the classes, PASCAL VOC 2007's form.
    "voc_ap": Quantity("mAP of the detector", "average-precision", task="detection"),
    # Only a `FollowsRule` speaks of it.
    "ap_follows_error": Quantity(
        "average precision against the backbone's classification error, seed by seed",
        "average-precision",
        task="detection",
    ),
    # At the trained weights.
    "eigenvalue_ratio": Quantity("|smallest / largest eigenvalue| of the Hessian", "curvature"),
    # Only an `EnsembleRule` speaks of it.
    "ensemble_top5_error": Quantity("top-5 error of the ensemble"),
}
QuantityName = Annotated[str, member_of(QUANTITIES, "no such quantity: {}")]
