"""A model's place, held: answers the Anthropic and OpenAI protocols with one fixed text.

Runs inside the sandbox, where there is no network: `python3 model_stand_in.py PORT ANSWER LOG`.
Each request is appended to LOG as one JSON line. Standard library only.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class ModelServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, answer: str, log: Path) -> None:
        super().__init__(("127.0.0.1", port), Conversation)
        self.answer = answer
        self._log = log
        self._lock = threading.Lock()

    def record(self, entry: dict[str, Any]) -> None:
        with self._lock, self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")


class Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ModelServer

    def log_message(self, *_args: object) -> None:
        """The log is the recorded requests."""

    def do_GET(self) -> None:
        models = [{"id": "stand-in", "object": "model", "created": 0, "owned_by": "tests"}]
        self._json({"object": "list", "data": models, "has_more": False})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(raw)
        except ValueError:
            body = {"not_json": raw.decode(errors="replace")}
        path = self.path.partition("?")[0]
        self.server.record({"path": path, "headers": sorted(self.headers.keys()), "body": body})
        if path == "/v1/messages/count_tokens":
            self._json({"input_tokens": 7})
        elif path == "/v1/messages":
            self._anthropic(body)
        elif path == "/v1/chat/completions":
            self._openai(body)
        else:
            self._json({"error": {"type": "not_found", "message": path}}, status=404)

    # https://docs.anthropic.com/en/docs/build-with-claude/streaming (2026-11)
    def _anthropic(self, body: dict[str, Any]) -> None:
        message: dict[str, Any] = {
            "id": "msg_stand_in",
            "type": "message",
            "role": "assistant",
            "model": body.get("model", "stand-in"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 7, "output_tokens": 1},
        }
        text = {"type": "text", "text": self.server.answer}
        end: dict[str, Any] = {"stop_reason": "end_turn", "stop_sequence": None}
        if not body.get("stream"):
            self._json({**message, **end, "content": [text]})
            return
        delta = {"type": "text_delta", "text": self.server.answer}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": {**text, "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ]
        self._stream([f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events])

    # https://platform.openai.com/docs/api-reference/chat-streaming (2026-11)
    def _openai(self, body: dict[str, Any]) -> None:
        head = {
            "id": "chatcmpl-stand-in",
            "created": int(time.time()),
            "model": body.get("model", "stand-in"),
        }
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
        message = {"role": "assistant", "content": self.server.answer}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        chunk = {**head, "object": "chat.completion.chunk"}
        chunks = [
            {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
            {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {**chunk, "choices": [], "usage": usage},
        ]
        self._stream([*(f"data: {json.dumps(c)}\n\n" for c in chunks), "data: [DONE]\n\n"])

    def _json(self, value: Any, *, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, events: list[str]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for event in events:
            self.wfile.write(event.encode())
            self.wfile.flush()


if __name__ == "__main__":
    ModelServer(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])).serve_forever()
