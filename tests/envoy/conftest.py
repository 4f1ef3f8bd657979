"""What live tests of translation share: three sidecars and one pod without."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shop_mesh import shop
from sidecars import Sidecars, missing, sidecars


@pytest.fixture
async def lab() -> AsyncIterator[Sidecars]:
    if reason := missing():
        pytest.skip(reason)
    async with sidecars() as running:
        running.apply(shop())
        for number, name in enumerate(("storefront", "catalog", "inventory"), start=1):
            await running.start(name, number)
        await running.start("outsider", 9, sidecar=False)
        yield running
        assert running.ads.rejected == []
