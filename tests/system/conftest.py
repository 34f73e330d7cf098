"""What several modules of these tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.system.gaps import PROXIES, Waiting, waiting_answers


@pytest.fixture(scope="session")
def waiting(require: Callable[[object, str], None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waiting]:
    """Answers with long gaps, under way from the first test that asks for them to the last."""
    here = [kind for kind in PROXIES if kind.binary()]
    require(here, "a reverse proxy")
    with waiting_answers(here, tmp_path_factory.mktemp("waiting")) as waiting:
        yield waiting
