"""Drives the shop of client/examples/webapp in real browsers.

usage: shop.py PAGE SESSIONS [FOLDER]
PAGE is the shop's address, SESSIONS that of its Cloakroom, whose clock is turned. With FOLDER,
pictures of the pages are kept there.
"""

import faulthandler
import os
import sys
import tempfile

import redis
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

# A page that never comes ends the test.
faulthandler.dump_traceback_later(300, exit=True)
base, sessions = sys.argv[1].rstrip("/"), sys.argv[2]
pictures = sys.argv[3] if len(sys.argv) > 3 else None
clock = redis.Redis.from_url(sessions, decode_responses=True)


# So wide is a phone, in CSS pixels.
NARROW = 390


def browser(profile, phone=False):
    """A browser with cookies of its own."""
    options = webdriver.ChromeOptions()
    if phone:
        metrics = {"width": NARROW, "height": 844, "pixelRatio": 1}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.binary_location = os.environ.get("CLOAKROOM_CHROMIUM", "/usr/bin/chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",  # in a container it may not be had
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1200,1000",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    driver = os.environ.get("CLOAKROOM_CHROMEDRIVER", "/usr/bin/chromedriver")
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    started.set_page_load_timeout(120)
    return started


def picture(on, name):
    if pictures:
        on.save_screenshot(os.path.join(pictures, f"{name}.png"))


def fits(phone, name):
    """Nobody has to push a page aside to read it."""
    wide = phone.execute_script("return document.documentElement.scrollWidth")
    assert wide <= NARROW, f"{name} is {wide} wide"
    picture(phone, f"phone-{name}")


def text(on, selector):
    return on.find_element(By.CSS_SELECTOR, selector).text


def click(on, selector):
    """Clicks what loads a page, and waits until it is there."""
    old = on.find_element(By.TAG_NAME, "html")
    on.find_element(By.CSS_SELECTOR, selector).click()
    # Chromium says of an element of the old page that it is stale, or that its frame is gone.
    WebDriverWait(on, 60).until(lambda driver: driver.find_element(By.TAG_NAME, "html") != old)
    WebDriverWait(on, 60).until(
        lambda driver: driver.execute_script("return document.readyState") == "complete"
    )


def visits(on):
    on.get(base + "/")
    return int(text(on, "#visits"))


def log_in(on, name):
    on.get(base + "/")
    on.find_element(By.NAME, "name").send_keys(name)
    click(on, "#login button")
    assert text(on, ".who") == name


def is_out(on):
    on.get(base + "/")
    return not on.find_elements(By.CSS_SELECTOR, ".who")


with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
    laptop, phone = browser(one), browser(two, phone=True)
    try:
        # Visits are counted, each browser's for itself.
        assert [visits(laptop), visits(laptop), visits(phone)] == [1, 2, 1]
        fits(phone, "welcome")
        picture(laptop, "1-welcome")

        # No script of a page can read the cookie, and other sites cannot have it sent.
        cookie = laptop.get_cookie("session")
        assert cookie["httpOnly"] and cookie["sameSite"] == "Lax", cookie
        assert laptop.execute_script("return document.cookie") == ""
        before = cookie["value"]

        # The cart comes along when its owner logs in; the token does not stay.
        click(laptop, "button[value=duffel]")
        click(laptop, "button[value=duffel]")
        click(laptop, "button[value=rain]")
        assert "Raincoat is in your cart." in text(laptop, "#notice")
        log_in(laptop, "Ann <b>")
        assert "Welcome, Ann <b>!" in text(laptop, "#notice"), "and it is text, not a tag"
        assert laptop.get_cookie("session")["value"] != before
        cart = text(laptop, "#cart")
        assert "2 × Duffel coat" in cart and "477.00" in cart, cart
        picture(laptop, "2-cart")
        click(laptop, "button[aria-label='Remove Raincoat']")
        assert "Raincoat" not in text(laptop, "#cart")
        assert not laptop.find_elements(By.ID, "notice"), "a message is shown once"

        # From the cart to an order, which outlives the session.
        click(laptop, "#checkout")
        assert "378.00" in text(laptop, ".order"), text(laptop, "main")
        picture(laptop, "3-order")
        laptop.get(base + "/")
        assert "Nothing hangs here yet." in text(laptop, "#cart")

        # A second browser; each is seen from the other.
        log_in(phone, "Ann <b>")
        assert "You have ordered once before." in text(phone, "#notice")
        for page in ("orders", "sessions"):
            phone.get(f"{base}/{page}")
            fits(phone, page)
        laptop.get(base + "/sessions")
        rows = laptop.find_elements(By.CSS_SELECTOR, "#sessions tbody tr")
        assert len(rows) == 2 and "Chrome" in rows[0].text, [row.text for row in rows]
        assert phone.get_cookie("session")["value"] not in laptop.page_source
        picture(laptop, "4-sessions")

        # It ends the other one.
        click(laptop, "#sessions button")
        assert len(laptop.find_elements(By.CSS_SELECTOR, "#sessions tbody tr")) == 1
        assert is_out(phone) and not is_out(laptop)

        # Use keeps a session alive, and half an hour without ends it.
        clock.execute_command("CLOAKROOM", "ADVANCE", "29m")
        assert not is_out(laptop)
        clock.execute_command("CLOAKROOM", "ADVANCE", "29m")
        assert not is_out(laptop)
        clock.execute_command("CLOAKROOM", "ADVANCE", "31m")
        assert is_out(laptop)
        assert int(text(laptop, "#visits")) == 1, "a new session"
        picture(laptop, "5-expired")

        # Log out, here and everywhere.
        log_in(laptop, "Ann <b>")
        click(laptop, "#logout")
        assert is_out(laptop) and laptop.get_cookie("session")["value"]
        log_in(laptop, "Ann <b>")
        log_in(phone, "Ann <b>")
        phone.get(base + "/sessions")
        click(phone, "#everywhere")
        assert is_out(phone) and is_out(laptop)

        # The orders are still there.
        log_in(phone, "Ann <b>")
        phone.get(base + "/orders")
        assert "378.00" in text(phone, ".order")
        phone.set_window_size(420, 900)
        phone.get(base + "/")
        picture(phone, "6-narrow")
    finally:
        laptop.quit()
        phone.quit()

print("ok")
