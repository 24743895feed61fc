"""Chromium, and what a person does with it."""
import importlib.resources
import json
import os

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60
AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
DESKTOP, PHONE = (1400, 900), (390, 800)


class Browser:
    def __init__(self, language="en-US"):
        options = webdriver.ChromeOptions()
        for argument in ["--headless=new", "--no-proxy-server", "--disable-dev-shm-usage", f"--lang={language}", f"--user-data-dir={profile()}"]:
            options.add_argument(argument)
        if os.environ.get("NO_SANDBOX"):
            options.add_argument("--no-sandbox")
        options.accept_insecure_certs = True
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        service = webdriver.ChromeService(f"{os.environ['WORK']}/driver")
        self.driver = webdriver.Chrome(options, service)
        self.size(DESKTOP)

    def size(self, size):
        # A window has a least width; a device may be narrower.
        width, height = size
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})

    def go(self, path):
        self.driver.get(f"{os.environ['url']}/#/{path}")

    def find(self, css):
        return self.until(lambda: self.driver.find_elements(By.CSS_SELECTOR, css))[0]

    def until(self, question):
        """Waits until the question has an answer; a page that changes meanwhile asks again."""
        return WebDriverWait(self.driver, PATIENCE, 0.1, ignored_exceptions=(Exception,)).until(lambda _: question())

    def text(self):
        return self.driver.find_element(By.TAG_NAME, "body").text

    def shows(self, *texts):
        for text in texts:
            try:
                self.until(lambda: text in self.text())
            except Exception as error:
                raise AssertionError(f"'{text}' is not shown, but:\n{self.text()}") from error

    def click(self, text, within="body"):
        """Clicks the button or link with this text."""
        def clicked():
            for element in self.driver.find_elements(By.CSS_SELECTOR, f"{within} button, {within} a"):
                if element.text == text and element.is_displayed():
                    element.click()
                    return True
            return False
        self.until(clicked)

    def type(self, name, text):
        element = self.find(f"[name='{name}']")
        if element.get_attribute("type") != "file":
            element.clear()
        element.send_keys(text)

    def log_in(self, token):
        self.find("#token").send_keys(token)
        self.find("#login button").click()

    def complaints(self):
        """What the browser complained of: scripts that fail, and what the policy forbids."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE" and "status of 4" not in entry["message"]]

    def violations(self):
        """What axe-core finds in the view as it is."""
        if not self.driver.execute_script("return window.axe !== undefined"):
            self.driver.execute_script(AXE)
        found = self.driver.execute_async_script("const done = arguments[0]; axe.run(document, {}).then((result) => done(result.violations), (error) => done([{ id: String(error), nodes: [] }]))")
        return [f"{each['id']}: {json.dumps([node['html'][:200] + ' ' + (node.get('failureSummary') or '')[:300] for node in each['nodes'][:3]])}" for each in found]

    def shot(self, name):
        folder = os.environ.get("SHOTS")
        if folder:
            self.driver.save_screenshot(f"{folder}/{name}.png")


def profile():
    path = f"{os.environ['WORK']}/browser/profile-{os.urandom(4).hex()}"
    return path
