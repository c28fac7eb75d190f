"""Content comes back as it was, and is readable to agents in other languages."""

from __future__ import annotations

import json
import random
import unittest
from typing import Any

import support  # noqa: F401  (finds the package)
from mesh_gateway import ContentError, TooLargeError
from mesh_gateway.content import read_body, write_body

LIMIT = 65_536


def round_trip(content: Any) -> Any:
    field, value = write_body(content, LIMIT)
    return read_body(json.loads(json.dumps({field: value})))


class Content(unittest.TestCase):
    def test_plain_text_is_sent_as_it_is(self) -> None:
        for text in ["", "hello", "21.5 C", "NaN", "Infinity", "-Infinity", "true story", "{oops", "grüße 🌍", "nul", "1,2"]:
            self.assertEqual(write_body(text, LIMIT), ("text", text))
            self.assertEqual(round_trip(text), text)

    def test_text_that_looks_like_json_stays_text(self) -> None:
        looks = ["42", " 42", "1e999", "true", "null", '"quoted"', "[]", '{"a": 1}', '"\\u0041"', "[" * 1000 + "]" * 1000]
        for text in [*looks, "1" * 5000, "-" + "1" * 5000]:
            back = round_trip(text)
            self.assertIs(type(back), str)
            self.assertEqual(back, text)

    def test_what_agents_in_other_languages_send_is_read_as_json_where_it_is_json(self) -> None:
        told = {"text": "21.5"}, {"text": '{"t": 21.5}'}, {"text": "21.5 C"}, {"data": "AAH/"}
        self.assertEqual([read_body(body) for body in told], [21.5, {"t": 21.5}, "21.5 C", b"\x00\x01\xff"])

    def test_any_json_value_and_bytes_come_back(self) -> None:
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        dice = random.Random(seed)
        for _ in range(3000):
            value = anything(dice, 3)
            self.assertEqual(repr(round_trip(value)), repr(value))

    def test_what_cannot_be_sent_is_said_with_what_to_do(self) -> None:
        for content, told in [
            (object(), "send what JSON can hold"),
            (float("nan"), "send what JSON can hold"),
            ("\ud800", "send it as bytes"),
            ({"a": b""}, "send what JSON can hold"),
        ]:
            with self.assertRaises(ContentError) as caught:
                write_body(content, LIMIT)
            self.assertIn(told, str(caught.exception))

    def test_the_longest_body_is_the_gateways(self) -> None:
        for longest in ["x" * LIMIT, "ü" * (LIMIT // 2), b"\0" * LIMIT]:
            write_body(longest, LIMIT)
            with self.assertRaises(TooLargeError) as caught:
                write_body(longest + longest[:1], LIMIT)  # type: ignore[operator]
            self.assertIn("send it in parts", str(caught.exception))


def anything(dice: random.Random, depth: int) -> Any:
    kind = dice.randrange(8 if depth else 6)
    if kind == 0:
        return dice.choice([None, True, False])
    if kind == 1:
        return dice.randrange(-(1 << 70), 1 << 70)
    if kind == 2:
        return dice.uniform(-1e9, 1e9)
    if kind in (3, 4):
        text = "".join(dice.choice('{}[]",:0123456789truefalsn \n\té\u2028🌍') for _ in range(dice.randrange(12)))
        return json.dumps(text) if dice.random() < 0.2 else text
    if kind == 5:
        return bytes(dice.randrange(256) for _ in range(dice.randrange(20))) if depth == 3 else "x"
    if kind == 6:
        return [anything(dice, depth - 1) for _ in range(dice.randrange(4))]
    return {str(n): anything(dice, depth - 1) for n in range(dice.randrange(4))}


if __name__ == "__main__":
    unittest.main()
