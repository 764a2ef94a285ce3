"""The recipe: everything that decides how a network is trained (sections 3.4 and 4.2).

Each field says whether the paper states its value (`paper`), leaves it open (`assumption`) or has
it otherwise (`deviation`), and why we chose ours. The defaults are the paper's CIFAR-10 protocol
and never change: a run's id is derived from what differs from them.
"""

from resnet_repro.recipe.choices import FIXED_CHOICES, FixedChoice
from resnet_repro.recipe.parts import Augmentation, Photographs, Plateau, Warmup
from resnet_repro.recipe.presets import (
    PRESETS,
    Preset,
    preset_label,
    preset_recipe,
    training_differences,
)
from resnet_repro.recipe.recipe import Recipe, changed_recipe, differences, merge, open_choices
from resnet_repro.recipe.schedule import learning_rate, plateau_divisions

__all__ = [
    "FIXED_CHOICES",
    "PRESETS",
    "Augmentation",
    "FixedChoice",
    "Photographs",
    "Plateau",
    "Preset",
    "Recipe",
    "Warmup",
    "changed_recipe",
    "differences",
    "learning_rate",
    "merge",
    "open_choices",
    "plateau_divisions",
    "preset_label",
    "preset_recipe",
    "training_differences",
]
