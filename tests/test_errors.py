"""How problems are worded."""

from dacapo_hd.errors import said_once


def test_what_is_wrong_in_many_places_is_said_once_in_the_order_met():
    problems = [
        ("crop 'a'", "dark"),
        ("crop 'b'", "flat"),
        ("crop 'b'", "dark"),
        ("crop 'c'", "dark"),
        ("crop 'c'", "dark"),
    ]
    assert said_once(problems) == ["crop 'a' and 2 more: dark", "crop 'b': flat"]
    assert said_once([]) == []
