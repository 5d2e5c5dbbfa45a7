"""Asks a server from many clients at once; a process of its own: python load_generator.py URL ...

Prints one JSON object: requests, statuses, requests per second, percentiles in milliseconds, and
the processor time per request that this process itself took, which the server did not have.
"""

import argparse
import asyncio
import itertools
import json
import random
import time
from collections import Counter
from urllib.parse import quote, urlsplit


class Client:
    """One connection that is kept; asks, waits for the whole answer, asks again."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)

    async def ask(self, method: str, path: str, body: bytes = b"") -> int:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        head_bytes = await self._reader.readuntil(b"\r\n\r\n")
        lines = head_bytes.decode("latin-1").split("\r\n")
        lengths = [line for line in lines if line.lower().startswith("content-length:")]
        await self._reader.readexactly(int(lengths[0].split(":")[1]))
        if "connection: close" in head_bytes.decode("latin-1").lower():
            self.close()
            await self.open()  # as a browser does, after a request that took too long
        return int(lines[0].split(" ")[1])

    def close(self) -> None:
        self._writer.close()


async def load(args: argparse.Namespace) -> dict[str, object]:
    """Keep `clients` clients asking for some seconds."""
    where = urlsplit(args.url)
    queries = json.loads(args.queries)
    statuses: Counter[int] = Counter()
    times: list[float] = []
    numbers = itertools.count(time.monotonic_ns() % 10**9)
    ends = time.monotonic() + args.seconds

    async def one(number: int) -> None:
        rng = random.Random(number)
        client = Client(str(where.hostname), int(where.port or 80))
        await client.open()
        while time.monotonic() < ends and len(times) < args.requests:
            text = rng.choice(queries)
            if args.fresh:
                text += f" ({next(numbers)})"  # a sentence that nobody asked for before
            started = time.perf_counter()
            if args.kind == "embed":
                plain = text.replace("[", "").replace("]", "")
                status = await client.ask("POST", "/embed", json.dumps({"inputs": plain}).encode())
            else:
                status = await client.ask("GET", args.path.format(quote(text)))
            times.append(1000 * (time.perf_counter() - started))
            statuses[status] += 1
        client.close()

    started = time.monotonic()
    await asyncio.gather(*(one(number) for number in range(args.clients)))
    seconds = time.monotonic() - started
    times.sort()
    return {
        "kind": args.kind,
        "fresh": args.fresh,
        "clients": args.clients,
        "requests": len(times),
        "statuses": dict(statuses),
        "requests_per_s": round(len(times) / seconds, 1),
        "p50_ms": round(times[len(times) // 2], 1),
        "p99_ms": round(times[int(len(times) * 0.99)], 1),
        "generator_ms": round(1000 * time.process_time() / len(times), 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--kind", choices=("search", "embed"), default="search")
    parser.add_argument(
        "--path", default="/v1/search?k=10&q={}", help="of a search; {} is the query"
    )
    parser.add_argument("--fresh", type=int, default=0, help="1: every sentence is a new one")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--queries", required=True, help="a JSON list of queries")
    print(json.dumps(asyncio.run(load(parser.parse_args()))))
