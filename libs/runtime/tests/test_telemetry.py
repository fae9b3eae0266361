"""Spans and logs of a real process: one trace, structured lines."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

PROGRAM = """
import asyncio, sys, structlog
from understudy_runtime.configuration import ProcessSettings
from understudy_runtime.process import run_service
from understudy_runtime.telemetry import span, current_traceparent
async def main(settings, stopping):
    with span("failover", failover="f-1"):
        kept = current_traceparent()
    structlog.contextvars.bind_contextvars(failover="f-1")
    with span("step", traceparent=kept, step=3):
        structlog.get_logger().info("done", camera="cam-1")
sys.exit(run_service("probe", ProcessSettings, main))
"""


def test_a_step_joins_the_trace_that_its_failover_keeps(tmp_path):
    trace_file = tmp_path / "trace.jsonl"
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={"UNDERSTUDY_TRACE_FILE": str(trace_file)},
    )
    first, second = [json.loads(line) for line in trace_file.read_text().splitlines()]
    assert (first["name"], second["name"]) == ("failover", "step")
    assert second["context"]["trace_id"] == first["context"]["trace_id"]
    assert second["parent_id"] == first["context"]["span_id"]
    assert second["attributes"] == {"step": 3}
    assert second["resource"]["attributes"]["service.name"] == "understudy-probe"
    line = json.loads(result.stderr)
    assert (line["event"], line["service"], line["failover"], line["camera"]) == (
        "done",
        "probe",
        "f-1",
        "cam-1",
    )


def test_spans_go_to_an_otlp_endpoint():
    received = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, b"understudy-probe" in body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Not on the tests' standard error."""

    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        answering = threading.Thread(target=server.serve_forever)
        answering.start()
        try:
            subprocess.run(
                [sys.executable, "-c", PROGRAM],
                capture_output=True,
                timeout=30,
                check=True,
                env={"UNDERSTUDY_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}"},
            )
        finally:
            server.shutdown()
            answering.join()
    assert received == [("/v1/traces", True)]
