"""The Prefect UI as one person uses it: forms, runs, tabs, and pictures that are kept."""

import pathlib
import re

import httpx

from tests.integration.conftest import wait_for

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
SCREENSHOTS = pathlib.Path(__file__).parent / "screenshots"


class Browser:
    """The UI as one person sees it, and every address that it asks anything of, other than the server's own."""

    def __init__(self, browser, url):
        self.url = url.removesuffix("/api")
        self.asked_elsewhere = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.context.set_default_timeout(120_000)
        self.context.route("**/*", self._keep_here)
        self.page = self.context.new_page()
        self.api = httpx.Client(base_url=url, timeout=120)

    def _keep_here(self, route):
        if route.request.url.startswith((self.url, "data:", "blob:")):
            route.continue_()
        else:
            self.asked_elsewhere.append(route.request.url)
            route.abort()

    def open_form(self, deployment):
        """The form of a custom run, by the way that a person takes: the deployment's page, Run, Custom run."""
        found = self.api.get(f"/deployments/name/{deployment}").raise_for_status().json()
        self.page.goto(f"{self.url}/deployments/deployment/{found['id']}")
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_text("Custom run").click()
        self.field("job").wait_for()

    def field(self, name):
        """The field of the form that stands under this name."""
        label = re.compile(rf"^{name}( \(Optional\))?$")
        return self.page.locator(".schema-form-property", has=self.page.get_by_text(label)).first

    def value(self, name):
        return self.field(name).locator("textarea, input").first.input_value()

    def fill(self, **values):
        for name, value in values.items():
            self.field(name).locator("textarea, input").first.fill(value)

    def see(self, *texts):
        """Waits until each of the texts is to be seen."""
        for text in texts:
            self.page.get_by_text(text).filter(visible=True).first.wait_for()

    def submit(self):
        self.page.get_by_role("button", name="Submit").click()

    def submitted_run(self):
        """Submits the form, once more where a busy server says so, and goes to the run's page; the run's id."""

        def taken():
            with self.page.expect_response("**/create_flow_run") as answer:
                self.submit()
            return None if answer.value.status == httpx.codes.SERVICE_UNAVAILABLE else answer.value.json()["id"]

        run_id = wait_for(taken, seconds=120, what="the server to take the run")
        self.page.goto(f"{self.url}/runs/flow-run/{run_id}")
        return run_id

    def run(self, run_id):
        return self.api.get(f"/flow_runs/{run_id}").raise_for_status().json()

    def try_to_run(self, deployment, **parameters):
        """What the server answers, asked again where it is too busy to."""

        def answer():
            given = self.api.post(f"/deployments/{deployment['id']}/create_flow_run", json={"parameters": parameters})
            return None if given.status_code == httpx.codes.SERVICE_UNAVAILABLE else given

        return wait_for(answer, seconds=120, what="the server's answer")

    def logs(self, run_id):
        """The lines on the run's page; the last ones come a moment after its end."""

        def found():
            wanted = {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200, "sort": "TIMESTAMP_ASC"}
            lines = [one["message"] for one in self.api.post("/logs/filter", json=wanted).raise_for_status().json()]
            return lines if any("Finished in state" in line for line in lines[-2:]) else None

        return wait_for(found, seconds=60, what="the log of the run's end")

    def runs_count(self):
        """How many runs anybody has asked for; the look at the deadlines, say, has a schedule."""
        by_hand = {"flows": {"name": {"any_": ["score", "backfill", "train", "promote", "rollback", "recall"]}}}
        return self.api.post("/flow_runs/count", json=by_hand).raise_for_status().json()

    def ended(self, run_id, *, attempt=1):
        """The run, when this attempt at it has ended."""

        def found():
            one = self.run(run_id)
            return one if one["state"]["type"] in ENDED and one["run_count"] >= attempt else None

        return wait_for(found, seconds=300, what=f"the run {run_id} to end")

    def tab(self, name):
        self.page.locator(".p-tab-navigation, .p-tabs").get_by_text(name, exact=True).first.click()

    def keep(self, name):
        """Keeps a picture of what is on the screen."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.wait_for_timeout(500)  # Charts and notes come in softly; nothing waits for this.
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")
