"""The Prefect page itself, in headless Chromium: what a person sees and clicks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser import keep_screenshot, open_page
from tests.flows.conftest import wait_for
from tests.flows.served import PATIENCE, Served, serving

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("browser") / "checkout") as found:
        yield found


@pytest.fixture
def page() -> Iterator[Page]:
    with open_page() as found:
        yield found


def test_retry_is_clicked_and_the_stage_completes(served: Served, page: Page) -> None:
    served.checkout.set_mode("bad input")
    assert served.checkout.run("dvc", "repro", PREFECT_API_URL=served.url).returncode != 0
    page.goto(f"{served.page}/runs")
    page.get_by_text("toy@4", exact=True).first.click()
    page.get_by_text("Failed", exact=True).first.wait_for()
    page.get_by_text("error: data/toy.png: is no image").first.wait_for()
    keep_screenshot(page, "retry-1-failed")
    assert not served.is_clean()

    served.checkout.set_mode("good")
    page.get_by_role("button", name="Retry", exact=True).click()
    page.get_by_text("Retry toy@4?").wait_for()
    page.locator(".p-modal__footer").get_by_role("button", name="Retry", exact=True).click()
    completed(page)
    page.get_by_text("a worker's line").nth(1).wait_for()  # the log has both attempts
    keep_screenshot(page, "retry-2-completed")
    assert served.newest().run_count == 2
    assert served.is_clean()


def test_start_with_force_is_clicked_and_the_stage_runs_again(served: Served, page: Page) -> None:
    served.checkout.set_mode("good")
    assert served.checkout.run("dvc", "repro", PREFECT_API_URL=served.url).returncode == 0
    deployment = served.ask("read_deployment_by_name", "toy/local")
    page.goto(f"{served.page}/deployments/deployment/{deployment.id}")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").first.click()
    form = page.locator("form")
    form.get_by_role("spinbutton").first.fill("4")
    form.get_by_role("switch").first.click()  # force
    keep_screenshot(page, "start-1-form")
    known = served.newest().id
    form.get_by_role("button", name="Submit", exact=True).click()
    wait_for(lambda: served.newest().id != known)
    started = served.newest()
    assert started.parameters == {"experts": 4, "force": True}
    page.goto(f"{served.page}/runs/flow-run/{started.id}")
    completed(page)
    page.get_by_text("EBCORE_FORCE is 1").first.wait_for()
    keep_screenshot(page, "start-2-completed")
    assert served.is_clean()


def completed(page: Page) -> None:
    """Waits until the page says so, by itself."""
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=1000 * PATIENCE)
