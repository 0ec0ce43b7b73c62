"""Fault matrix, rows 16, 18 and 82: servers that fail, against a server of this process on 127.0.0.1."""

import http.server
import re
import socket
import threading
from typing import ClassVar
from urllib.parse import unquote

import pytest
import rasterio
from fault_runs import change, detect, fails
from rasterio.env import getenv

from cdengine.errors import ResumeMismatchError
from cdengine.inference.run import Runner
from cdengine.raster.source import gdal_env

SECRET = "TOKEN-5f3a"


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `files` with ranges; a path's first part says how it fails."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []
    over: ClassVar[threading.Event] = threading.Event()  # ends the requests that hang
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.asked.append(self.path)
        _, how, name = unquote(self.path.split("?")[0]).split("/")
        data = self.files.get(name)
        if how in ("404", "403", "500") or data is None:
            self.send_response(404 if data is None else int(how))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if how == "silent":
            self.hang()
            return
        span = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if how == "busy" and len(self.asked) % 2:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        span = None if how == "plain" else span
        late = span is not None and int(span[2]) > 20_000  # the head of the file comes as it should
        if how == "silent later" and late:
            self.hang()
            return
        start, stop = (0, len(data)) if span is None else (int(span[1]), min(int(span[2]) + 1, len(data)))
        self.send_response(200 if span is None else 206)
        self.send_header("Content-Length", str(stop - start))
        if how != "plain":
            self.send_header("Accept-Ranges", "bytes")
        if span is not None:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        if not body:
            return
        # "cut" hangs up in the middle of the rest, "stuck" stops sending there
        broken = how in ("cut", "stuck") and late
        self.wfile.write(data[start : start + (stop - start) // 3] if broken else data[start:stop])
        if how == "stuck" and broken:
            self.hang()
        self.close_connection = self.close_connection or broken

    def hang(self):
        self.wfile.flush()
        self.over.wait(60)
        self.close_connection = True


@pytest.fixture
def server(folder, monkeypatch):
    """Address of a server that has the pair's files; proxies of the environment are left out."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.1")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "1")
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    Server.files = {path.name: path.read_bytes() for path in folder.glob("*.tif")}
    Server.asked = []
    Server.over.clear()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    Server.over.set()
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.mark.parametrize("how", ["404", "403", "500", "cut", "stuck", "silent", "silent%20later"])
def test_row_18_servers_that_fail(folder, server, how):
    """By an answer, by hanging up, by silence at once or in the middle: it ends soon and names the file."""
    assert fails(folder, "remote", 3, None, f"{server}/{how}/after.tif?sig={SECRET}", says="after.tif") < 15
    assert Server.asked


def test_row_18_nobody_answers(folder, server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert fails(folder, "remote", 3, None, f"http://127.0.0.1:{port}/a.tif", says=f"127.0.0.1:{port}/a.tif") < 15


def test_row_18_patience_has_an_end_that_users_may_move(monkeypatch):
    names = ("GDAL_HTTP_CONNECTTIMEOUT", "GDAL_HTTP_LOW_SPEED_TIME", "GDAL_HTTP_LOW_SPEED_LIMIT", "GDAL_HTTP_TIMEOUT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    with gdal_env():
        set_by_us = {name: float(getenv()[name]) for name in names}
    assert all(set_by_us.values()) and set_by_us["GDAL_HTTP_LOW_SPEED_TIME"] <= 30
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "7")
    with gdal_env():
        assert float(getenv()["GDAL_HTTP_TIMEOUT"]) == 7


@pytest.mark.parametrize("how", ["good", "busy", "plain"])
def test_row_18_a_server_that_answers_in_the_end(folder, server, how):
    detect(folder)
    expected = change(folder)
    detect(folder, None, f"/vsicurl/{server}/{how}/after.tif", "--overwrite")
    assert (change(folder) == expected).all()


def test_row_16_no_packet_is_sent(folder, server):
    path = folder / "remote.vrt"
    path.write_text(
        "<VRTDataset rasterXSize='160' rasterYSize='128'><VRTRasterBand dataType='Byte' band='1'><SimpleSource>"
        f"<SourceFilename relativeToVRT='0'>/vsicurl/{server}/good/after.tif</SourceFilename><SourceBand>1</SourceBand>"
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    fails(folder, "remote", 3, None, path, says="--allow-remote")
    assert Server.asked == []


def test_row_82_a_token_is_nowhere(folder, server, monkeypatch):
    """In no tag, log line, report, polygon or journal; the run works all the same."""
    url = f"{server.replace('http://', 'http://user:PASS-77@')}/good/after.tif?sig={SECRET}"
    out = folder / "out"
    options = ("--report", out / "r.html", "--polygons", out / "c.geojson", "--quicklook", out / "q.png", "--resume")

    def dies(*_):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "run", dies)
        with pytest.raises(RuntimeError):
            detect(folder, None, url, *options)
    journal = (out / ".c.tif.cdengine" / "journal.jsonl").read_text(encoding="utf-8")
    with pytest.raises(ResumeMismatchError) as refused:
        detect(folder, None, url, *options, "--min-area", "7")
    _, events = detect(folder, None, url, *options)
    with rasterio.open(out / "c.tif") as file:
        tags = file.tags()
    texts = [journal, str(refused.value), str(events), str(tags)]
    texts += [(out / name).read_bytes().decode("latin-1") for name in ("r.html", "c.geojson", "c.tif", "q.png")]
    for text in texts:
        assert SECRET not in text and "PASS-77" not in text
    assert "after.tif" in tags["CDENGINE_AFTER"]
