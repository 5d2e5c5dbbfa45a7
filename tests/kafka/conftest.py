"""The broker of the tests, started once; they are skipped where its jars are not."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kafka.running_broker import Broker, why_no_broker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    why = why_no_broker()
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kafka)
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    started = Broker(tmp_path_factory.mktemp("kafka"))
    yield started
    started.kill()


@pytest.fixture
def topic(broker: Broker, request: pytest.FixtureRequest) -> str:
    """The name of a topic of this test's own; not made yet."""
    del broker
    return "".join(c if c.isalnum() else "-" for c in request.node.name)


@pytest.fixture
def source(broker: Broker, topic: str) -> Callable[[], str]:
    return lambda: f"kafka:{broker.address}/{topic}"
