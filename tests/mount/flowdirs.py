"""A second reading of a flow's directory: puts together again what its files hold, in Python."""

import base64
import json
import re


DEFAULT_PORTS = {b"http": 80, b"https": 443}


def untag(value):
    """JSON as codec/json_text.h describes it, to Python values."""
    if isinstance(value, list):
        return [untag(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag == "bytes":
            return content.encode()
        if tag in ("base64", "text_base64"):
            return base64.b64decode(content)
        if tag == "int":
            return int(content)
        if tag == "float":
            return float(content)
        if tag == "dict":
            return {untag(key): untag(member) for key, member in content}
    return {key: untag(member) for key, member in value.items()}


def read_fields(text):
    """Name and value of each line; a colon at the start of a name ends nothing."""
    return [list(re.fullmatch(rb"(:?[^:]*): (.*)", line, re.DOTALL).groups()) for line in text.split(b"\n")[:-1]]


def read_request(folder, request):
    line, _, fields = (folder / "request.headers").read_bytes().partition(b"\n")
    method, rest = line.split(b" ", 1)
    target, version = rest.rsplit(b" ", 1)
    request.setdefault("method", method)
    request.setdefault("http_version", version)
    if method.upper() == b"CONNECT":
        assert target == request["authority"]
    elif "host" not in request:
        scheme, host, port, target = re.fullmatch(rb"(https?)://([^/?#:]+)(?::(\d+))?(/.*)", target, re.DOTALL).groups()
        request["scheme"] = scheme
        request["host"] = host.decode()
        request["port"] = int(port) if port else DEFAULT_PORTS[scheme]
        request.setdefault("authority", host + (b":" + port if port else b""))
    request.setdefault("path", target)
    request.setdefault("headers", read_fields(fields))


def read_response(folder, response):
    line, _, fields = (folder / "response.headers").read_bytes().partition(b"\n")
    version, status, reason = line.split(b" ", 2)
    response.setdefault("http_version", version)
    response.setdefault("status_code", int(status))
    response.setdefault("reason", reason)
    response.setdefault("headers", read_fields(fields))


def read_message(folder, side, message):
    (read_request if side == "request" else read_response)(folder, message)
    for name in (f"{side}.body.raw", f"{side}.body"):
        if (folder / name).exists():
            message.setdefault("content", (folder / name).read_bytes())
    trailers = folder / f"{side}.trailers"
    if trailers.exists():
        message.setdefault("trailers", read_fields(trailers.read_bytes()))


def read_messages(folder, messages, at):
    """Puts contents back into the messages, at their place in each."""
    files = sorted((folder / "messages").iterdir()) if (folder / "messages").exists() else []
    assert len(files) == len(messages)
    for number, (path, message) in enumerate(zip(files, messages), 1):
        assert re.fullmatch(rf"{number:04}-(client|server)\.(txt|bin)", path.name)
        has_content = len(message) > at and isinstance(message[at], (str, bytes))
        if not has_content:
            message.insert(at, path.read_bytes())
        assert path.name.split("-")[1].startswith("client" if message[at - 1] else "server")


def read_state(folder):
    """The flow's state at version 21, from all files of its directory but summary.json."""
    state = untag(json.loads((folder / "flow.json").read_text()))
    state.pop("flowfs", None)  # what packing must know; no part of the flow
    if state["type"] == "http":
        read_message(folder, "request", state["request"])
        if state["response"]:
            read_message(folder, "response", state["response"])
        if state["websocket"]:
            read_messages(folder, state["websocket"]["messages"], 2)
    elif state["type"] == "dns":
        for key, name in (("request", "query.json"), ("response", "answer.json")):
            if (folder / name).exists():
                state[key] = untag(json.loads((folder / name).read_text()))
    elif "messages" in state:
        read_messages(folder, state["messages"], 1)
    if state["error"] is not None:
        state["error"].setdefault("msg", (folder / "error").read_text()[:-1])
    return state


def by_number(mount):
    """The flows' directories in the order of the capture."""
    return sorted(mount.flows(), key=lambda folder: json.loads((folder / "summary.json").read_text())["number"])
