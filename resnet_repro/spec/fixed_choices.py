"""Choices that the paper leaves open and that are not fields of a recipe."""

from __future__ import annotations

from resnet_repro.spec.network_names import Family

__all__ = ["FIXED_CHOICES"]

# By the family of the networks whose results they affect: what, and how it is always done here.
FIXED_CHOICES: dict[Family, dict[str, str]] = {
    "cifar": {
        "He et al. 2016: length": (
            "64,000 iterations and the rate's divisions of the first paper, which this one does "
            "not repeat for CIFAR; single runs, where it prints medians of five"
        ),
        "He et al. 2016: impeded shortcuts": (
            "where dimensions change, scales, gates and dropout act on option A's output, which "
            "is not stated; the 1x1 convolution on every shortcut is option C, with BN"
        ),
        "He et al. 2016: responses": (
            "where BN does not follow a 3x3 convolution, its own output stands for its response; "
            "that paper shows none"
        ),
    },
    "imagenet": {
        "resizing": (
            "bilinear with antialiasing, rounded to whole pixel values; the paper says only to "
            "which shorter side"
        ),
        "mean and colours": (
            "computed over the centre crops of the training photographs at `test_shorter_side`; "
            "the paper subtracts the per-pixel mean without saying of which crops"
        ),
        "colour augmentation": (
            "AlexNet's formula with values of 0 to 1, a scale that neither paper states: the "
            "known reimplementations' constants for ImageNet are the eigenvalues on that scale"
        ),
        "plateau": (
            "judged by the running training error of the curve's points, never by the test set"
        ),
        "mean at other sizes": (
            "for inputs of another size than the crop the mean image is resized, bilinear"
        ),
        "multi-scale scores": (
            "softmax at every place, averaged over places, then over the mirror image and over "
            "the shorter sides, each of which counts the same"
        ),
        "ensembles": (
            "the members' averaged scores are averaged again, each counting the same; measured on "
            "the validation set, as the test set's labels are not public"
        ),
        "top-5 of few classes": (
            "of fewer than six classes, an error counts as in the top as many as there are"
        ),
    },
    "detection": {
        "joint training": (
            "proposals and detection are learned together, where Faster R-CNN alternates in four "
            "steps (a deviation, of torchvision's detector as the next six): each image is used "
            "for both"
        ),
        "losses of proposals": (
            "cross-entropy of one score (sigmoid) and smooth L1 that turns at 1/9, their sum; the "
            "paper's detector has two scores (softmax). Its weight of 10 for the boxes goes with a "
            "division by some 2,400 anchors' places, about the division by 256 here"
        ),
        "loss of regions' boxes": "smooth L1 that turns at 1/9; Fast R-CNN's turns at 1",
        "images of a batch": (
            "are filled up with zeros to one size, as in Fast R-CNN; anchors that lie there count "
            "as background"
        ),
        "anchors across the border": (
            "are trained on; the paper's detector ignores them in training"
        ),
        "background regions": (
            "have overlaps from 0 on, as the paper has it on COCO; Fast R-CNN's begin at 0.1. The "
            "objects themselves are among the regions in training"
        ),
        "width of the proposal network": (
            "as many channels as the shared map; the paper states 512 for VGG-16 and nothing for "
            "ResNets"
        ),
        "weight decay of detectors": (
            "0.0005, Faster R-CNN's, for ResNets as well; the paper says only that its settings "
            "follow that detector's"
        ),
        "classification training of VGG-16": (
            "as the ImageNet networks here, at a tenth of their rate and with its own paper's "
            "weight decay (0.0005); the paper starts from published weights"
        ),
        "rate of biases": "that of weights; Fast R-CNN's biases have twice the rate",
        "colours of detectors": (
            "the channel averages of the classification training are subtracted (of a file of "
            "weights, torchvision's means and deviations), where a classifier has a mean image of "
            "its own size"
        ),
        "resizing for detectors": "bilinear without antialiasing",
    },
}
