"""Pictures of the operator's page: `python -m tests.ops.screenshots FOLDER`, or `make screenshots`.

All of them to look at in the folder; and those of docs/ops.md anew, where they belong.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, async_playwright

from tests.ops.browser import ARGUMENTS, chromium
from tests.ops.scene import Scene, a_scene, play
from tests.support.gateway import migrated_database, new_world, running_simulators

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
# Of one screen each, for docs/ops.md.
DOCUMENTED = {
    "overview": ("overview", "light", "desktop"),
    "delivery": ("delivery", "dark", "desktop"),
    "phone": ("training", "light", "phone"),
}
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}


def pages(scene: Scene) -> dict[str, str]:
    return {
        "overview": "/ops",
        "trainings": "/ops/trainings",
        "training": f"/ops/trainings/{scene.ids['failing']}",
        "training-overdue": f"/ops/trainings/{scene.ids['overdue']}",
        "training-suspended": f"/ops/trainings/{scene.ids['suspended']}",
        "training-queued": f"/ops/trainings/{scene.ids['queued']}",
        "deliveries": "/ops/deliveries",
        "delivery": f"/ops/deliveries/{scene.ids['delivery']}",
        "resend": f"/ops/deliveries/{scene.ids['delivery']}/resend",
        "endpoints": "/ops/endpoints",
        "endpoint": f"/ops/endpoints/{scene.ids['endpoint']}",
        "nothing": "/ops/trainings/trn_nothing",
    }


async def take(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(exist_ok=True)
    with running_simulators() as simulators, tempfile.TemporaryDirectory() as scratch:
        template = await asyncio.to_thread(migrated_database, Path(scratch))
        async with new_world(simulators, template) as world, a_scene(world) as scene:
            await play(scene)
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
                for scheme in SCHEMES:
                    for width in WIDTHS:
                        await _take_all(browser, scene, folder, scheme, width)
                await browser.close()


async def _take_all(browser: Browser, scene: Scene, folder: Path, scheme: Scheme, width: str) -> None:
    across, down = WIDTHS[width]
    context = await browser.new_context(viewport={"width": across, "height": down}, color_scheme=scheme)
    page = await context.new_page()
    for name, path in pages(scene).items():
        await page.goto(scene.url + path)
        await page.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)
        for picture, taken in DOCUMENTED.items():
            if taken == (name, scheme, width):
                await page.screenshot(path=PICTURES / f"ops-{picture}.png")
    await context.close()


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
