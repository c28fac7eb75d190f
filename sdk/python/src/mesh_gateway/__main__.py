"""``python -m mesh_gateway``: send, listen, query and status from a shell.

Owns words, arguments and exit codes, which are those of the ``mesh-gateway`` commands: 0 done, 1 it did not work, 2
wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import json
import os
import re
import sys
from typing import Any, Awaitable, Callable, Dict, List, NoReturn, Optional, TextIO, Tuple, Type

from .content import read_text
from .endpoint import find_endpoint, find_token
from .errors import (
    ConnectionLostError, GatewayAwayError, KnownGatewaysError, MeshError, NoAnswerError, ProtocolError, TokenError, UndeliveredError, WrongCertificateError,
)  # fmt: skip
from .manager import MeshNetworkManager
from .message import PRIORITIES, TYPES, Message, MessageType, Outcome, check_name
from .printable import printable
from .receipt import LONGEST_DEADLINE_MS, Receipt

_EXIT_CODES = "Exit codes: 0 done; 1 it did not work, standard error says why; 2 wrong usage."
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_ADVICE = {
    Outcome.EXPIRED: "give it more time, or see `mesh-gateway agents` for who is there",
    Outcome.REJECTED: "see `mesh-gateway agents` for who is there",
    Outcome.UNKNOWN: "it may have arrived: send it again only if twice does no harm",
}


class CommandError(MeshError):
    """A command did what it could, and it was not enough."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


#: The words for errors that are not the gateway's, as `mesh-gateway` has them; the first that fits.
_CODES: Tuple[Tuple[Type[Exception], str], ...] = (
    (ConnectionLostError, "connection_lost"), (GatewayAwayError, "no_gateway"), (ProtocolError, "not_a_gateway"),
    (WrongCertificateError, "wrong_gateway"), (KnownGatewaysError, "io"), (NoAnswerError, "no_answer"),
    (TokenError, "token"), (OSError, "io"),
)  # fmt: skip


# ---- arguments ----


class _Parser(argparse.ArgumentParser):
    """One that complains as JSON where that is wanted."""

    def error(self, message: str) -> NoReturn:
        if _as_json:
            _tell(True, "usage", f"{message}; {self.prog} --help says what can be written")
            self.exit(2)
        super().error(message)


# Whether errors of the command line itself are to be JSON too.
_as_json = False


def span(text: str) -> float:
    """Seconds, of a number and ms, s, m or h; no longer than a gateway takes as a deadline."""
    found = re.match(r"(\d+(?:\.\d+)?)(ms|s|m|h)\Z", text)
    seconds = 0.0 if found is None else float(found[1]) * _UNITS[found[2]]
    if not 0 < seconds * 1000 <= LONGEST_DEADLINE_MS:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write a number and ms, s, m or h, as in 30s, at most 24h")
    return seconds


def _examples(*lines: str) -> Dict[str, Any]:
    listed = "".join(f"  python -m mesh_gateway {line}\n" for line in lines)
    return dict(
        epilog=f"Examples:\n{listed}\n{_EXIT_CODES}", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = _Parser(
        prog="python -m mesh_gateway",
        description="Talk to a mesh-gateway that is running.",
        **_examples("status", "listen --as bob", "send --to bob --wait 'the pump is on'", "query --to echo hello"),
    )
    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print results as JSON, and errors too, on standard error")
    common.add_argument("--gateway", metavar="ADDR", help="HOST:PORT, tls:HOST:PORT or unix:PATH [env: MESH_GATEWAY] [default: 127.0.0.1:7700]")
    common.add_argument("--token-file", metavar="FILE", help="a file with the access token [env: MESH_GATEWAY_TOKEN_FILE]")
    common.add_argument(
        "--fingerprint", metavar="SHA256",
        help="speak TLS, and only to the gateway whose certificate has this fingerprint; `mesh-gateway peers` there prints it "
        "[env: MESH_GATEWAY_FINGERPRINT]",
    )  # fmt: skip
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    send = commands.add_parser(
        "send", parents=[common], help="send a message", description="Send a message.",
        **_examples(
            "send --to bob 'the pump is on'",
            "send --to bob@0x0003 --type TASK --priority HIGH --deadline 30s --wait 'open the valve'",
            "send --to group:kitchen --type PARAMETER_UPDATE - < table.bin",
        ),
    )  # fmt: skip
    send.add_argument("--to", required=True, metavar="NAME", help="bob, bob@0x0003, node:0x0003, group:kitchen or everyone")
    send.add_argument("--as", dest="name", metavar="NAME", help="who sends it; a name has one session at a time [default: a session without a name]")
    send.add_argument("--type", type=str.upper, choices=list(TYPES), default="NOTIFICATION", help="[default: NOTIFICATION]")
    send.add_argument("--priority", type=str.upper, choices=list(PRIORITIES), default="MEDIUM", help="[default: MEDIUM]")
    send.add_argument("--deadline", type=span, metavar="TIME", help="after this it is worth nothing: a number and ms, s, m or h, at most 24h")
    send.add_argument("--no-durable", action="store_true", help="do not write it to disk first")
    send.add_argument("--reply-to", metavar="MESSAGE", help="the message it answers, as in 0x0001/17")
    send.add_argument("--wait", action="store_true", help="wait until it is known what became of it")
    send.add_argument("body", metavar="BODY", help="what it says; - reads standard input")

    listen = commands.add_parser(
        "listen", parents=[common], help="print what is sent to an agent",
        description="Print what is sent to an agent, one message a line, each acknowledged when it is printed. What a terminal would "
        "obey is written out, as in \\x1b; --json has it exactly.",
        **_examples("listen --as bob", "listen --as cook --group kitchen --json", "listen --as bob --count 1"),
    )  # fmt: skip
    listen.add_argument("--as", dest="name", required=True, metavar="NAME", help="whose messages: the name others send to")
    listen.add_argument("--group", action="append", default=[], metavar="GROUP", help="also hear this group; several times")
    listen.add_argument("--count", type=int, metavar="N", help="end after so many messages")

    query = commands.add_parser(
        "query", parents=[common], help="ask an agent and print its answer",
        description="Ask an agent and print its answer.",
        **_examples(
            "query --to echo 'are you there?'", "query --to sensor@0x0003 --timeout 5s temperature",
            "query --to archive --raw - < question.bin > answer.bin",
        ),
    )  # fmt: skip
    query.add_argument("--to", required=True, metavar="NAME", help="whom to ask: bob, bob@0x0003 or node:0x0003")
    query.add_argument("--as", dest="name", metavar="NAME", help="who asks [default: a session without a name]")
    query.add_argument("--priority", type=str.upper, choices=list(PRIORITIES), default="MEDIUM", help="[default: MEDIUM]")
    query.add_argument("--timeout", type=span, default=30.0, metavar="TIME", help="how long to wait, at most 24h [default: 30s]")
    query.add_argument(
        "--raw", action="store_true",
        help="print the bytes of the answer as they are; without it, what would drive a terminal is written out, and what is no text is "
        "shown as base64",
    )  # fmt: skip
    query.add_argument("--durable", action="store_true", help="have the gateway write the question to disk first")
    query.add_argument("body", metavar="BODY", help="the question; - reads standard input")

    status = commands.add_parser(
        "status", parents=[common], help="show how the gateway and the network are",
        description="Show how the gateway and the network are; exit code 0 if all is well.",
        **_examples("status", "status --json --gateway unix:/run/mesh.sock"),
    )  # fmt: skip
    status.add_argument("--as", dest="name", metavar="NAME", help="who asks [default: a session without a name]")
    return top


# ---- commands ----


def _body(text: str) -> Any:
    if text != "-":
        return text
    raw = sys.stdin.buffer.read()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _mesh(args: argparse.Namespace) -> MeshNetworkManager:
    """The session of a command. Without ``--as`` it has no name, and leaves nothing behind."""
    mesh = MeshNetworkManager(
        args.name, gateway=args.gateway, token_file=args.token_file, fingerprint=args.fingerprint, live=False
    )
    if args.name is None:
        # What comes to it besides an answer is of no use to anyone, and must not stand before the answer.
        for kind in MessageType:
            mesh.subscribe(kind, lambda message: None)
    return mesh


def _content(content: Any) -> str:
    if isinstance(content, bytes):
        return f"data:{base64.b64encode(content).decode()}"
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _message(message: Message) -> Dict[str, Any]:
    body = (
        {"data": base64.b64encode(message.content).decode()}
        if isinstance(message.content, bytes)
        else {"content": message.content}
    )
    fields = {
        "id": message.id, "from": message.source, "to": message.receiver, "type": str(message.type),
        "priority": str(message.priority), "reply_to": message.reply_to, "hops": message.hops,
    }  # fmt: skip
    return {**{key: value for key, value in fields.items() if value is not None}, **body}


def _receipt(receipt: Receipt) -> Dict[str, Any]:
    fields = {
        "id": receipt.id, "outcome": receipt.state, "where": receipt.where, "why": receipt.why, "hops": receipt.hops,
        "reached": receipt.reached, "known": receipt.known, "latency_ms": receipt.latency_ms,
    }  # fmt: skip
    return {key: value for key, value in fields.items() if value is not None}


def _show(args: argparse.Namespace, shown: Dict[str, Any], *lines: Callable[[], str]) -> None:
    """Prints it as JSON or as lines. Whatever is in it can be shown: a message that cannot would come again for ever."""
    try:
        # Only ASCII: that drives no terminal and fits every encoding.
        text = json.dumps(shown, allow_nan=False) if args.json else "\n".join(_line(line(), sys.stdout) for line in lines)
    except (ValueError, RecursionError) as why:
        named = {key: shown[key] for key in ("id", "from", "to", "type", "priority") if key in shown}
        text = json.dumps({**named, "unshown": str(why)}) if args.json else f"{' '.join(named.values())} cannot be shown: {why}"
    print(text, flush=True)


def _line(text: str, stream: TextIO) -> str:
    return printable(text, getattr(stream, "encoding", None) or "ascii")


async def _send(args: argparse.Namespace) -> None:
    # With the text of a shell, JSON is JSON: a body of 42 is the number, as other agents see it anyway.
    content = _body(args.body)
    message = Message(
        args.type, receiver=args.to, content=read_text(content) if isinstance(content, str) else content,
        priority=args.priority, reply_to=args.reply_to, durable=not args.no_durable,
        deadline_ms=None if args.deadline is None else max(1, int(args.deadline * 1000)),
    )  # fmt: skip
    async with _mesh(args) as mesh:
        receipt = await mesh.send_message(message)
        if not args.wait:
            _show(args, {"id": receipt.id, "durable": receipt.durable}, lambda: receipt.id)
            return
        outcome = await receipt.outcome()
    where = f" at {receipt.where}" if receipt.where else ""
    why = f": {receipt.why}" if receipt.why else ""
    hops = "" if receipt.hops is None else f" after {receipt.hops} hop" + ("" if receipt.hops == 1 else "s")
    reached = f"; {receipt.reached_text}" if receipt.reached_text else ""
    text = f"{receipt.id} {outcome}{where}{hops}{why}{reached}"
    _show(args, _receipt(receipt), lambda: text)
    if not outcome.good:
        raise CommandError("not_delivered", f"{text}; {_ADVICE[outcome]}")


async def _listen(args: argparse.Namespace) -> None:
    left = args.count
    async with _mesh(args) as mesh:
        if args.group:
            await mesh.join_group(*args.group)
        while left is None or left > 0:
            message = await mesh.receive_message()
            head = f"{message.source} {message.type} {message.priority}"
            _show(args, _message(message), lambda: f"{head} {_content(message.content)}")
            mesh.acknowledge(message)
            left = None if left is None else left - 1


async def _query(args: argparse.Namespace) -> None:
    async with _mesh(args) as mesh:
        content = _body(args.body)
        question = Message(
            "QUERY", receiver=args.to, content=read_text(content) if isinstance(content, str) else content,
            priority=args.priority, durable=args.durable,
        )  # fmt: skip
        try:
            answer = await mesh.send_and_wait(question, args.timeout)
        except UndeliveredError as why:
            # For a question it makes no difference whether it expired in the mesh or here, a moment earlier or later.
            text = str(why).rpartition("; ")[0]
            raise CommandError("no_answer", f"{text}; {_ADVICE[Outcome(why.outcome)]}") from why
    if args.raw and not args.json:
        sys.stdout.buffer.write(answer.content if answer.text is None else answer.text.encode("utf-8", "surrogatepass"))
        sys.stdout.buffer.flush()
    else:
        _show(args, _message(answer), lambda: _content(answer.content))


async def _status(args: argparse.Namespace) -> None:
    async with _mesh(args) as mesh:
        network = await mesh.fetch_network_statistics()
    health, figures = network["gateway_health"], network["network_health"]
    rate, latency = figures["success_rate"], figures["average_latency_ms"]
    lines = [
        f"gateway {network['gateway']} at {network['node']}: {health if isinstance(health, str) else '; '.join(health)}",
        f"peers   {network['active_peers']} active, {figures['healthy_peers']} healthy; {len(network['routing_table'])} routes",
    ]
    if rate is not None:
        lines.append(f"arrived {rate:.1%}" + ("" if latency is None else f", {latency:.0f} ms on average"))
    _show(args, network, *(functools.partial(str, line) for line in lines))
    if health != "ok":
        raise CommandError("unwell", "the gateway is not well; see above")


_COMMANDS: Dict[str, Callable[[argparse.Namespace], Awaitable[None]]] = {
    "send": _send,
    "listen": _listen,
    "query": _query,
    "status": _status,
}


async def _run(args: argparse.Namespace) -> None:
    await _COMMANDS[args.command](args)


def main(argv: Optional[List[str]] = None) -> int:
    """Runs a command and returns its exit code."""
    global _as_json
    words = sys.argv[1:] if argv is None else argv
    _as_json = "--json" in words[: words.index("--")] if "--" in words else "--json" in words
    args = parser().parse_args(argv)
    try:
        find_endpoint(args.gateway, fingerprint=args.fingerprint)
        if args.name is not None:
            check_name(args.name)
    except ValueError as why:
        return _complain(args, why, 2)
    try:
        find_token(None, args.token_file)
        asyncio.run(_run(args))
    except BrokenPipeError:
        # Whoever read has gone, and what was not read was not taken. What is left to write must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _complain(args, OSError("standard output was closed by its reader"), 1)
    except (MeshError, OSError) as why:
        return _complain(args, why, 1)
    except ValueError as why:
        return _complain(args, why, 2)
    except KeyboardInterrupt:
        return 0 if args.command == "listen" else 130
    return 0


def _complain(args: argparse.Namespace, why: Exception, code: int) -> int:
    _tell(args.json, "usage" if code == 2 else _code(why), str(why), getattr(why, "hint", ""), getattr(why, "field", ""))
    return code


def _code(why: Exception) -> str:
    code = str(getattr(why, "code", ""))
    return code or next((word for kind, word in _CODES if isinstance(why, kind)), "failed")


def _tell(as_json: bool, code: str, text: str, hint: str = "", field: str = "") -> None:
    """Says on standard error what is wrong: in one line, or as the object of the ``mesh-gateway`` commands."""
    if not as_json:
        print(_line(f"error: {text}", sys.stderr), file=sys.stderr)
        return
    # Errors are written as "what is wrong; what to do".
    message, found, rest = text.rpartition("; ")
    hint = hint or (rest if found else "")
    error: Dict[str, Any] = {"code": code, "message": message if found and rest == hint else text, "hint": hint or None}
    if field:
        error["field"] = field
    print(json.dumps({"error": error}), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
