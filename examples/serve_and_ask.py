"""Promote the newest version, serve it on this machine, ask it, and end the server.

    python examples/serve_and_ask.py

Run it after a sweep, such as `examples/first_sweep.py`, in the same folder.
"""

import json
import subprocess
import sys
import urllib.request

PORT = 8017

if __name__ == "__main__":
    subprocess.run([sys.executable, "-m", "sweeps.promote", "--yes"], check=True)
    server = subprocess.Popen(
        [sys.executable, "-m", "sweeps.serve", "--port", str(PORT)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        print(server.stdout.readline().strip())  # printed once it answers
        request = urllib.request.Request(
            f"http://127.0.0.1:{PORT}/invocations",
            json.dumps({"inputs": ["This film is great", "A dull, endless mess"]}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            print(json.loads(answer.read())["predictions"])
    finally:
        server.terminate()
        server.wait()
