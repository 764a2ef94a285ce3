"""What a network may be called, and what a wrong name gets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.network_names import (
    CIFAR_BOTTLENECKS,
    IMAGENET_DEPTHS,
    NetworkName,
    parse_network,
)

OPTIONS = ("A", "B", "C")


def cifar_names(depth: int) -> list[NetworkName]:
    residual = [NetworkName("resnet", depth, "cifar", option) for option in OPTIONS]
    return [NetworkName("plain", depth, "cifar"), *residual]


def imagenet_names(depth: int) -> list[NetworkName]:
    strides = (False,) if depth in (18, 34) else (False, True)
    return [
        NetworkName("resnet" if option else "plain", depth, "imagenet", option, stride)
        for option in (None, *OPTIONS)
        for stride in strides
    ]


EVERY_NAME = [name for n in range(1, 301) for name in cifar_names(6 * n + 2)] + [
    name for depth in IMAGENET_DEPTHS for name in imagenet_names(depth)
]
EVERY_NAME.append(NetworkName("compared", 16, "imagenet", label="vgg-16"))


def test_every_network_is_read_back_from_its_own_name() -> None:
    texts = [str(name) for name in EVERY_NAME]
    assert [parse_network(text) for text in texts] == EVERY_NAME
    assert len(set(texts)) == len(EVERY_NAME)  # no two networks share a name


@pytest.mark.parametrize(
    ("text", "canonical", "family", "option", "residual"),
    [
        ("plain-20", "plain-20", "cifar", None, False),
        ("resnet-20", "resnet-20", "cifar", "A", True),
        ("resnet-20-a", "resnet-20", "cifar", "A", True),
        ("resnet-56-b", "resnet-56-b", "cifar", "B", True),
        ("resnet-1202", "resnet-1202", "cifar", "A", True),
        ("plain-34", "plain-34", "imagenet", None, False),
        ("resnet-34-a", "resnet-34-a", "imagenet", "A", True),
        ("resnet-34-c", "resnet-34-c", "imagenet", "C", True),
        ("resnet-50", "resnet-50", "imagenet", "B", True),
        ("resnet-50-b", "resnet-50", "imagenet", "B", True),
        ("resnet-101-a", "resnet-101-a", "imagenet", "A", True),
        ("VGG-16", "vgg-16", "imagenet", None, False),
        (" ResNet-20 ", "resnet-20", "cifar", "A", True),
    ],
)
def test_default_options_and_families(
    text: str, canonical: str, family: str, option: str | None, residual: bool
) -> None:
    name = parse_network(text)
    assert (str(name), name.family, name.option, name.residual) == (
        canonical,
        family,
        option,
        residual,
    )


@pytest.mark.parametrize("depth", [50, 152])
def test_depths_that_both_families_have_mean_imagenet_unless_they_say_cifar(depth: int) -> None:
    imagenet, cifar = parse_network(f"resnet-{depth}"), parse_network(f"resnet-{depth}-cifar")
    assert (imagenet.family, imagenet.option, imagenet.bottleneck) == ("imagenet", "B", True)
    assert (cifar.family, cifar.option, cifar.bottleneck) == ("cifar", "A", False)
    assert str(parse_network(f"resnet-{depth}-cifar-c")) == f"resnet-{depth}-cifar-c"
    assert str(parse_network(f"plain-{depth}-cifar")) == f"plain-{depth}-cifar"


def test_the_cifar_suffix_is_dropped_where_nothing_is_ambiguous() -> None:
    assert str(parse_network("resnet-20-cifar")) == "resnet-20"


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_v1_5_is_another_network_of_the_bottleneck_depths(depth: int) -> None:
    paper, later = parse_network(f"resnet-{depth}"), parse_network(f"resnet-{depth}-v1.5")
    assert not paper.stride_in_3x3
    assert later.stride_in_3x3
    assert later.option == "B"
    assert str(parse_network(f"resnet-{depth}-a-v1.5")) == f"resnet-{depth}-a-v1.5"


@settings(deadline=None, database=None)
@given(st.integers(min_value=1, max_value=1666), st.sampled_from(["plain", "resnet"]))
def test_any_6n_plus_2_is_a_network(n: int, kind: str) -> None:
    name = parse_network(f"{kind}-{6 * n + 2}-cifar")
    assert (name.depth, name.family, name.residual) == (6 * n + 2, "cifar", kind == "resnet")


@settings(deadline=None, database=None)
@given(st.integers(min_value=9, max_value=9_990), st.sampled_from(["plain", "resnet"]))
def test_any_other_depth_is_refused_with_its_neighbours(depth: int, kind: str) -> None:
    below = (depth - 2) // 6 * 6 + 2
    if depth in (below, *IMAGENET_DEPTHS) or (kind == "resnet" and depth in CIFAR_BOTTLENECKS):
        return
    with pytest.raises(ConfigError, match=rf"6n\+2 layers.*\b{below}, {below + 6}\b"):
        parse_network(f"{kind}-{depth}")


@pytest.mark.parametrize("depth", [2, 3, 7])
def test_the_shallowest_suggestion_is_8_layers(depth: int) -> None:
    with pytest.raises(ConfigError, match=r"\(nearest: 8\)"):
        parse_network(f"plain-{depth}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("resnet-18", "resnet-18-a, resnet-18-b, resnet-18-c"),
        ("resnet-34", "resnet-34-a, resnet-34-b, resnet-34-c"),
        ("plain-20-a", "no option"),
        ("plain-34-b", "no option"),
        ("resnet-20-v1.5", "only 50, 101 and 152"),
        ("resnet-34-a-v1.5", "only 50, 101 and 152"),
        ("resnet-50-cifar-v1.5", "only 50, 101 and 152"),
        ("resnet-101-cifar", r"6n\+2 layers .*98, 104"),
        ("resnet-34-d", "resnet-34-a"),
        ("vgg-13", "vgg-16"),
        ("vgg-16-b", "vgg-16"),
        ("resnet-020", "unknown network"),
        ("resnet-٢٠", "unknown network"),
        ("resnet--20", "unknown network"),
        ("resnet-20-a-b", "unknown network"),
        ("", "unknown network"),
    ],
)
def test_a_wrong_name_gets_one_plain_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse_network(text)
    assert "\n" not in str(caught.value)


def test_absurd_depths_are_refused_before_anything_is_built() -> None:
    assert parse_network("plain-9998").depth == 9_998
    for depth in (10_004, 99_998, 600_002):
        with pytest.raises(ConfigError, match="unknown network"):
            parse_network(f"plain-{depth}")


def test_a_name_of_absurd_length_does_not_fill_the_screen() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_network("resnet-" + "9" * 5_000)
    assert len(str(caught.value)) < 200


def test_suggested_depths_exist() -> None:
    with pytest.raises(ConfigError, match=r"\(nearest: 8\)"):
        parse_network("plain-1")


@pytest.mark.parametrize(
    ("text", "near"),
    [("resnet20", "resnet-20"), ("rsenet-56", "resnet-56"), ("plian-44", "plain-44")],
)
def test_a_misspelt_name_gets_the_nearest_ones(text: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"{near}\b"):
        parse_network(text)
