import inspect
import re

import pytest

from otoscribe import errors
from otoscribe.errors import OtoscribeError, UsageError, unknown_name

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, OtoscribeError)]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    error = unknown_name("adapter", "identiti", ["mlp", "identity"])
    assert (
        str(error) == "There is no adapter named 'identiti'. Did you mean 'identity'? Known: identity, mlp."
    )
    assert isinstance(error, UsageError)


@pytest.mark.parametrize(
    ("name", "allowed", "message"),
    [
        (
            "YAMNET",
            ["vggish", "yamnet"],
            "There is no x named 'YAMNET'. Did you mean 'yamnet'? Known: vggish, yamnet.",
        ),
        ("yamnet", ["YAMNet"], "There is no x named 'yamnet'. Did you mean 'YAMNet'? Known: YAMNet."),
        ("zzz", ["mlp"], "There is no x named 'zzz'. Known: mlp."),
        ("", [], "There is no x named ''. Known: none."),
    ],
)
def test_hints(name: str, allowed: list[str], message: str) -> None:
    assert str(unknown_name("x", name, allowed)) == message


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = re.findall(r"^ *[│ ]*(?:[├└]── )?(\w+Error)\b", errors.__doc__ or "", flags=re.MULTILINE)
    assert sorted(drawn) == sorted(cls.__name__ for cls in CLASSES)


def test_misuse_exits_with_2_and_all_else_with_1() -> None:
    codes = {cls.__name__: cls.exit_code for cls in CLASSES}
    assert {name for name, code in codes.items() if code == 2} == {"UsageError", "SettingsError"}
    assert set(codes.values()) == {1, 2}
