"""The settings of a server: address, access, limits."""

from dataclasses import dataclass

from pipelines.errors import UsageError

# Of a request's line and headers together.
MAX_HEAD_BYTES = 64 << 10
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Options of `sensegrep serve`.

    Attributes:
      corpus: path or URL.
      host, port: where it listens; port 0 takes a free one.
      model: where the corpus's model is now, if it moved.
      device: auto, cpu, cuda or cuda:N.
      cache_dir: for files of a remote corpus's index.
      refresh_seconds: between two looks for a newer snapshot.
      api_key: what clients must send as a bearer token; None lets everybody ask.
      allow_hosts: names a request's Host header may have; empty: see `checked_hosts`.
      allow_origins: origins of pages elsewhere that may ask (CORS).
      max_query_chars: characters of a query or a word.
      max_k: lines of one search.
      max_tokens: tokens in one request for embeddings.
      max_body_bytes: of a request.
      max_requests: requests in work at once; more get 429.
      max_seconds: of one request, its body's arrival and its answer's departure included.
      batch_tokens: tokens encoded together.
      log_json: write each log line as a JSON object.
      log_queries: write queries to the log.
    """

    corpus: str
    host: str = "127.0.0.1"
    port: int = 8000
    model: str | None = None
    device: str = "auto"
    cache_dir: str | None = None
    refresh_seconds: float = 10.0
    api_key: str | None = None
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    max_query_chars: int = 2000
    max_k: int = 1000
    max_tokens: int = 8192
    max_body_bytes: int = 2 << 20
    max_requests: int = 64
    max_seconds: float = 30.0
    batch_tokens: int = 2048
    log_json: bool = False
    log_queries: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port is {self.port}; give 1 to 65535, or 0 for a free one")
        for name in ("max_query_chars", "max_k", "max_tokens", "max_body_bytes", "max_requests"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-").removesuffix("-bytes")
                raise UsageError(f"--{flag} is {getattr(self, name)}; give at least 1")
        if self.batch_tokens < 1:
            raise UsageError(f"--batch-tokens is {self.batch_tokens}; give at least 1")
        for name in ("refresh_seconds", "max_seconds"):
            if getattr(self, name) <= 0:
                flag = name.replace("_", "-").removesuffix("-seconds")
                flag = "max-seconds" if flag == "max" else flag
                raise UsageError(f"--{flag} is {getattr(self, name)}; give more than 0 seconds")
        if self.api_key is not None and (not self.api_key.isascii() or not self.api_key.strip()):
            raise UsageError("--api-key must be a non-empty word of ASCII characters")
        for origin in self.allow_origins:
            if not origin.startswith(("http://", "https://")) or origin.endswith("/"):
                raise UsageError(
                    f"--allow-origin is {origin!r}; write an origin like https://example.org"
                )

    @property
    def checked_hosts(self) -> tuple[str, ...]:
        """The names a Host header may have; empty where any will do.

        On a loopback address only this machine's own names will do: otherwise a page elsewhere
        could reach the server under a name of its own (DNS rebinding).
        """
        if self.allow_hosts:
            return (*self.allow_hosts, *LOOPBACK)
        return LOOPBACK if self.host in LOOPBACK else ()


def parse_seconds(text: str) -> float:
    """Read `10s`, `500ms`, `2m` or a plain number of seconds.

    Raises:
      ValueError: if it is none of these.
    """
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    number = text.strip()
    factor = 1.0
    for unit in ("ms", "s", "m", "h"):
        if number.endswith(unit):
            number, factor = number.removesuffix(unit), units[unit]
            break
    try:
        return float(number) * factor
    except ValueError:
        raise ValueError(f"{text!r} is not a duration; expected one such as 10s or 500ms") from None
