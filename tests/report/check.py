"""Opens report.html and report.svg of a folder in headless Chromium and looks at what it says and draws.

usage: check.py DIRECTORY PROFILE

The page is served with a policy that allows nothing but its own styles: whatever it asks for is refused and told on the
console, and what is asked of its own server is noted there. That both would be noticed is checked with a page that does ask.
"""

import http.server
import pathlib
import re
import subprocess
import sys
import threading
import xml.etree.ElementTree
import zlib

PLOTS = ["closeup-throughput", "closeup-latency", "throughput", "latency", "percentiles"]
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
LIGHT = "--blink-settings=preferredColorScheme=1"
TIME_OUT = 120  # seconds for one start of the browser
ASKING = """<!DOCTYPE html><html><head><title>asks</title><link rel="icon" href="data:,"/></head>
<body><img src="http://127.0.0.1:1/far.png"/><img src="near.png"/><script>nothing.there()</script></body></html>"""


class Site:
    """Serves some pages on loopback and remembers what it was asked for."""

    def __init__(self, pages, policy):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                body = pages.get(self.path)
                self.send_response(200 if body is not None else 404)
                if policy:
                    self.send_header("Content-Security-Policy", policy)
                kind = "image/svg+xml" if self.path.endswith(".svg") else "text/html"
                self.send_header("Content-Type", kind + "; charset=utf-8")
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = "http://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def browse(url, profile, *options):
    """What the browser prints, and the lines of its console."""
    command = [
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--no-first-run", "--enable-logging=stderr",
        "--user-data-dir=%s" % profile, *options, url,
    ]
    done = subprocess.run(command, capture_output=True, timeout=TIME_OUT, check=True)
    return done.stdout.decode(), [line for line in done.stderr.decode().splitlines() if "CONSOLE" in line]


def pixels(path):
    """Width, height and rows of a PNG of 8 bits a channel without interlace, as (r, g, b)."""
    data, at, chunks = path.read_bytes(), 8, {}
    while at < len(data):
        length, kind = int.from_bytes(data[at:at + 4]), data[at + 4:at + 8]
        chunks[kind] = chunks.get(kind, b"") + data[at + 8:at + 8 + length]
        at += length + 12
    header = chunks[b"IHDR"]
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    step = {2: 3, 6: 4}[header[9]]
    raw, before, rows = zlib.decompress(chunks[b"IDAT"]), bytearray(width * step), []
    for y in range(height):
        start = y * (width * step + 1)
        rule, row = raw[start], bytearray(raw[start + 1:start + 1 + width * step])
        for x in range(len(row)):
            left = row[x - step] if x >= step else 0
            up, corner = before[x], before[x - step] if x >= step else 0
            row[x] = (row[x] + predict(rule, left, up, corner)) & 255
        rows.append([tuple(row[x:x + 3]) for x in range(0, len(row), step)])
        before = row
    return width, height, rows


def predict(rule, left, up, corner):
    """The filters of the PNG specification, section 9."""
    if rule < 4:
        return (0, left, up, (left + up) // 2)[rule]
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, what, holds, seen=""):
        self.passed, self.failed = self.passed + bool(holds), self.failed + (not holds)
        print("%s %s" % ("ok  " if holds else "FAIL", what), *([seen] if not holds else []), flush=True)


def picture(checks, name, url, folder, profile, size):
    path = folder / (name + ".png")
    browse(url, profile, "--screenshot=%s" % path, "--window-size=%d,%d" % size, LIGHT)
    width, height, rows = pixels(path)
    colours = {}
    for row in rows:
        for colour in row:
            colours[colour] = colours.get(colour, 0) + 1
    checks.check("%s: a picture of %d x %d" % (name, *size), (width, height) == size, (width, height))
    most = max(colours.values()) / (width * height)
    checks.check("%s: it is not blank" % name, len(colours) > 50 and most < 0.97, (len(colours), most))
    # blue is the line of answers, teal that of gets and of medians
    for line, colour in (("answers", (0x25, 0x63, 0xEB)), ("gets", (0x0D, 0x94, 0x88))):
        checks.check("%s: the line of %s is drawn" % (name, line), colours.get(colour, 0) > 100, colours.get(colour, 0))


def main():
    folder, profile = pathlib.Path(sys.argv[1]), sys.argv[2]
    checks = Checks()
    pages = {"/report." + kind: (folder / ("report." + kind)).read_bytes() for kind in ("html", "svg")}

    for name, body in pages.items():
        text = body.decode().removeprefix("<!DOCTYPE html>")
        try:
            xml.etree.ElementTree.fromstring(text)
            checks.check("%s is well-formed" % name, True)
        except xml.etree.ElementTree.ParseError as error:
            checks.check("%s is well-formed" % name, False, error)

    site = Site(pages, POLICY)
    dom, console = browse(site.address + "/report.html", profile, "--dump-dom", LIGHT)
    checks.check("nothing is said on the console", not console, console)
    checks.check("one page is asked for and nothing else", site.asked == ["/report.html"], site.asked)
    for plot in PLOTS:
        drawn = re.search(r'<svg [^>]*id="%s".*?</svg>' % plot, dom, re.DOTALL)
        lines = re.findall(r'class="line [^"]*" d="(M[^"]{20,})"', drawn.group(0)) if drawn else []
        checks.check("the chart %s is there and has a line" % plot, lines)
    checks.check("the audit is told", "lost" in dom and "stale" in dom)
    picture(checks, "page", site.address + "/report.html", folder, profile, (1100, 1400))
    picture(checks, "drawing", site.address + "/report.svg", folder, profile, (960, 620))

    asking = Site({"/asks.html": ASKING.encode()}, POLICY.replace("style-src", "script-src 'unsafe-inline'; style-src"))
    _, console = browse(asking.address + "/asks.html", profile, "--dump-dom")
    told = "\n".join(console)
    noticed = "nothing is not defined" in told and "far.png" in told and "near.png" in told
    checks.check("a page that asks, and whose script fails, is noticed", noticed, console)
    unguarded = Site({"/asks.html": ASKING.encode()}, None)
    browse(unguarded.address + "/asks.html", profile, "--dump-dom")
    checks.check("what is asked of its own server is noticed", "/near.png" in unguarded.asked, unguarded.asked)

    print("report: %d passed, %d failed" % (checks.passed, checks.failed))
    sys.exit(checks.failed > 0)


main()
