"""Every implementation of a port, for the suites beside this."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from llmcore.adapters.sql import SqlStore, StoreOptions, open_store


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)])
def store_options(request: pytest.FixtureRequest, data_dir: Path) -> StoreOptions:
    """Where an empty store is."""
    if request.param == "postgres":
        return StoreOptions(url=request.getfixturevalue("postgres_url"), head_dir=data_dir)
    return StoreOptions(url=f"sqlite:///{data_dir}/llmcore.db")


@pytest_asyncio.fixture
async def store(store_options: StoreOptions) -> AsyncIterator[SqlStore]:
    """An open, empty store."""
    opened = await open_store(store_options)
    yield opened
    await opened.close()
