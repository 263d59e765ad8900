import pytest

from otoscribe.errors import UsageError
from otoscribe.registry import Registry


def test_variants_are_found_by_name_in_the_order_of_registration() -> None:
    registry: Registry[type] = Registry("adapter")

    @registry.register("mlp")
    class Perceptron: ...

    registry.register("attention")(int)
    assert registry["mlp"] is Perceptron
    assert list(registry) == ["mlp", "attention"]
    assert len(registry) == 2
    assert "mlp" in registry
    assert "lstm" not in registry


def test_a_name_is_given_once() -> None:
    registry: Registry[type] = Registry("adapter")
    registry.register("mlp")(int)
    with pytest.raises(ValueError, match="The adapter 'mlp' is registered twice"):
        registry.register("mlp")(float)
    assert registry["mlp"] is int


def test_an_unknown_name_lists_the_known() -> None:
    registry: Registry[type] = Registry("adapter")
    registry.register("mlp")(int)
    with pytest.raises(UsageError, match=r"no adapter named 'mpl'\. Did you mean 'mlp'\? Known: mlp\."):
        registry["mpl"]
