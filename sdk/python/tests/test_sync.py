"""The mesh without an event loop: it has all of the other, and all of it works."""

from __future__ import annotations

import inspect
import threading
import unittest
from typing import Any, Callable, Dict, List, Set

from support import PATIENCE
from mesh_gateway import (
    MeshNetworkManager, Message, MessageType, NoAnswerError, NotStartedError, Outcome, Receipt, SyncMesh, SyncReceipt, UnknownReceiverError,
)  # fmt: skip

#: What both have to iterate with and to be entered by; and what is only for the package.
WAYS_IN = {"__aenter__": "__enter__", "__aexit__": "__exit__", "__aiter__": "__iter__"}
FOR_SENDS = {"take_accepted", "take_receipt", "take_processed", "fail", "give_up_processed", "line", "session", "answer", "disputed"}


def names(kind: type) -> Set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def parameters(call: Callable[..., Any]) -> List[Any]:
    """Their names, kinds and what they are if left out."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(call).parameters.values()]


class Whole(unittest.TestCase):
    def test_every_method_of_the_asynchronous_class_is_there_with_the_same_arguments(self) -> None:
        self.assertEqual(names(MeshNetworkManager) - names(SyncMesh), set())
        for there, here in WAYS_IN.items():
            self.assertTrue(hasattr(MeshNetworkManager, there) and hasattr(SyncMesh, here))
        for name in names(MeshNetworkManager):
            told, own = inspect.getattr_static(MeshNetworkManager, name), inspect.getattr_static(SyncMesh, name)
            if isinstance(told, property):
                self.assertIsInstance(own, property, name)
                continue
            self.assertEqual(parameters(own), parameters(told), name)
            self.assertFalse(inspect.iscoroutinefunction(own) or inspect.isasyncgenfunction(own), name)
        # What is set in the constructor, too.
        self.assertLessEqual({name for name in vars(MeshNetworkManager("alice")) if name[0] != "_"}, names(SyncMesh))

    def test_every_part_of_a_receipt_is_there(self) -> None:
        self.assertEqual(names(Receipt) - FOR_SENDS - names(SyncReceipt), set())
        for name in names(Receipt) - FOR_SENDS:
            told = inspect.getattr_static(Receipt, name)
            if inspect.isfunction(told):
                self.assertEqual(parameters(getattr(SyncReceipt, name)), parameters(told), name)


class WithoutEventLoop(unittest.TestCase):
    def test_a_program_without_an_event_loop_does_all_that_others_do(self) -> None:
        with SyncMesh("alice", simulate=True) as alice, SyncMesh("bob", gateway=alice.gateway) as bob:
            self.assertTrue(alice.connected and alice.running)
            bob.subscribe("QUERY", lambda message: bob.mesh.reply(message, message.content + 1))
            receipt = alice.send_message(Message("TASK", receiver="bob", content={"n": 1}))
            self.assertIs(receipt.accepted(PATIENCE), receipt)
            self.assertEqual(receipt.outcome(timeout=PATIENCE), Outcome.DELIVERED)
            self.assertEqual((receipt.where, receipt.hops, receipt.state, receipt.error), (alice.node, 0, "delivered", None))
            self.assertEqual(bob.receive_message(PATIENCE).content, {"n": 1})
            self.assertEqual(alice.query("bob", 41), 42)
            bob.unsubscribe("QUERY")
            self.assertEqual(bob.join_group("kitchen", types=[MessageType.NOTIFICATION]), ["kitchen"])
            self.assertEqual(alice.broadcast("dinner", group="kitchen").outcome(PATIENCE), Outcome.SENT)
            heard = bob.receive_message(PATIENCE, auto_ack=False)
            self.assertEqual(heard.content, "dinner")
            bob.acknowledge(heard)
            self.assertEqual(bob.leave_group("kitchen"), [])
            alice.submit(Message("TASK", receiver="bob", content=2, processed=True)).accepted(PATIENCE)
            self.assertEqual(next(bob.messages()).content, 2)
            with self.assertRaises(NoAnswerError):
                bob.receive_message(timeout=0)
            with self.assertRaises(UnknownReceiverError):
                alice.send_message(Message("TASK", receiver=f"nobody@{alice.node}"))
            self.assertEqual({agent["name"] for agent in alice.get_agents() if agent["connected"] and agent["local"]}, {"alice", "bob"})
            self.assertIn("peers", alice.get_peers())
            told: Dict[str, Any] = alice.fetch_network_statistics()
            self.assertEqual(set(alice.get_network_statistics()), set(told))
            self.assertIsInstance(alice.get_healthy_peers() + alice.fetch_healthy_peers(threshold=0.5), list)
        with self.assertRaisesRegex(NotStartedError, "call start"):
            alice.query("bob", 1)
        for mesh in (alice, SyncMesh("carol", gateway="unix:/nowhere/mesh.sock")):
            with self.assertRaisesRegex(NotStartedError, "call start"):
                next(iter(mesh))
        self.assertNotIn("mesh_gateway", [thread.name for thread in threading.enumerate()])

    def test_a_loop_over_messages_ends_when_another_thread_stops_the_mesh(self) -> None:
        mesh = SyncMesh("alice", simulate=True)
        mesh.start()
        got: List[Any] = []
        loop = threading.Thread(target=lambda: got.extend(message.content for message in mesh))
        loop.start()
        mesh.send_message(Message("TASK", receiver="alice", content=1)).outcome(PATIENCE)
        mesh.stop()
        loop.join(PATIENCE)
        self.assertFalse(loop.is_alive())
        self.assertIn(got, ([], [1]))


if __name__ == "__main__":
    unittest.main()
