"""The report in a headless Chromium: python .ci/browser.py RUN_FOLDER [SCREENSHOTS]. Its explorer must show the numbers
of the result files for 50 random sets of layers, work by keyboard, and ask for nothing outside the file."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Error, sync_playwright

from bayes_lora_layers.explorer import shown_sets
from bayes_lora_layers.report import _hostile_copy, render_report
from bayes_lora_layers.results import read_run
from bayes_lora_layers.verdict import ANALYSED, read_set_gains, with_interval

folder, shots = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
run = read_run(folder)
results, layers, n = run.results, run.results.layers, run.results.n_test
rng, checked = np.random.default_rng(0), 0


def chromium(p):
    return p.chromium.launch(
        executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
    )


def choose(page, positions):
    for box in page.query_selector_all(".bll-layers input"):
        if box.is_checked() != (int(box.get_attribute("value")) in positions):
            box.click()
    wanted = ",".join(map(str, sorted(positions)))
    page.wait_for_function("key => document.querySelector('.bll').dataset.shown?.endsWith('|' + key)", arg=wanted)


def shown(page, what="metric"):
    return {m: float(page.get_attribute(f"[data-{what}='{m}']", "data-value") or "nan") for m in ANALYSED}


def expect(found, wanted, where, tolerance=2e-6):
    global checked
    checked += 1
    for m in ANALYSED:
        if not abs(found[m] - wanted[m]) < tolerance:
            sys.exit(f"{where}: the page shows {m}={found[m]}, the files have {wanted[m]}")


def at_run_prior(page):
    "The run's own prior is the first; a recommended set may be shown under another."
    rule = page.locator(".bll [data-part='rules'] input[value='0']")
    if rule.count():
        return rule.check() if rule.is_visible() else None
    common = page.locator(".bll [data-part='rules'] input[value='common']")
    slider = page.query_selector("[data-part='slider']")
    if common.count() and common.is_visible():
        common.check()
    for step in range(int(slider.get_attribute("max")) + 1):
        slider.evaluate("(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", step)
        page.wait_for_timeout(150)
        if "this run's" in page.inner_text("[data-part='value']"):
            return
    sys.exit("the page offers no prior of the run's own")


with sync_playwright() as p:
    browser = chromium(p)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    asked, errors = [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(f"file://{(folder / 'report.html').resolve()}")
    page.wait_for_selector(".bll[data-shown]", state="attached")
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=shots / "desktop.png")
        page.screenshot(path=shots / "whole.png", full_page=True)
    for predictive in results.predictives:
        sets = shown_sets(run, predictive)
        if len(results.predictives) > 1:
            page.check(f".bll input[value='{predictive}']")
        chosen = results.predictives[predictive].recommended
        preset = page.get_by_role("button", name="recommended", exact=True)
        if chosen and preset.count():
            preset.click()
            page.wait_for_timeout(150)
            expect(shown(page), chosen.metrics, f"{predictive}, recommended, under its prior", 2e-5)
        at_run_prior(page)
        metrics = [s.metrics(n) for s in sets.sums]
        if sets.keys is None:
            for mask in rng.integers(0, len(sets.sums[0]), 50):
                choose(page, {i for i in range(len(layers)) if mask >> i & 1})
                expect(shown(page), {m: metrics[0][m][mask] for m in ANALYSED}, f"{predictive}, set {mask:b}")
                of_run = [s for s in results.predictives[predictive].values() if not s.precision]
                named = {sum(1 << layers.index(l) for l in s.layers): s for s in of_run}
                # named sets are shown as the tables have them, from more resamples
                known = named[mask].delta["ece"].estimate if mask in named else read_set_gains(folder)["ece"][0, mask]
                if mask and abs(shown(page, "gain")["ece"] - known) > 2e-6:
                    sys.exit(f"{predictive}, set {mask:b}: another gain than in the files")
        for name, scored in results.predictives[predictive].named().items():
            if scored.precision: continue  # shown under a prior of its own
            choose(page, {layers.index(l) for l in scored.layers})
            expect(shown(page), scored.metrics, f"{predictive}, {name}", 2e-5)
            said, d = page.inner_text("[data-gain='ece']").replace("\u2212", "-"), scored.delta["ece"]
            if with_interval(d) != said:
                sys.exit(f"{predictive}, {name}: the page says {said}, the files {d}")
        # every prior that the page offers, on one set
        choose(page, {len(layers) - 1})
        key = 1 << len(layers) - 1 if sets.keys is None else sets.keys.index((len(layers) - 1,))
        slider = page.query_selector("[data-part='slider']")
        for step in range(int(slider.get_attribute("max")) + 1):
            slider.evaluate("(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", step)
            page.wait_for_timeout(150)
            value = float(page.inner_text("[data-part='value']").split(" ")[0])
            at = next(
                i for i, v in enumerate(v for _, v in sets.priors) if len(set(v)) == 1 and abs(v[0] / value - 1) < 6e-3
            )
            expect(shown(page), {m: metrics[at][m][key] for m in ANALYSED}, f"{predictive}, prior {value}")
        page.reload()
        page.wait_for_selector(".bll[data-shown]", state="attached")
    if len(results.predictives) == 2 and shown_sets(run, "sampled").keys is not None:
        page.check(".bll input[value='sampled']")
        choose(page, {0, 2, 5})
        if "not computed" not in page.inner_text("[data-part='said']"):
            sys.exit("a set that was not sampled is not said to be so")
        page.reload()
        page.wait_for_selector(".bll[data-shown]", state="attached")
    # every test set: the named sets there are as in its results
    for at, (split, found) in list(enumerate(results.splits.items()))[1:]:
        page.locator(".bll [data-part='splits'] input").nth(at).check()
        for predictive, sets in found.predictives.items():
            if len(found.predictives) > 1: page.check(f".bll input[value='{predictive}']")
            for name, scored in sets.named().items():
                if scored.precision: continue
                choose(page, {layers.index(l) for l in scored.layers})
                page.wait_for_timeout(150)
                expect(shown(page), scored.metrics, f"{split}, {predictive}, {name}", 2e-5)
    if len(results.splits) > 1:
        page.reload()
        page.wait_for_selector(".bll[data-shown]", state="attached")
    # keyboard: the first layer by space, the prior by an arrow
    at_run_prior(page)
    page.focus(".bll-layers input")
    was = page.is_checked(".bll-layers input")
    page.keyboard.press("Space")
    if page.is_checked(".bll-layers input") == was:
        sys.exit("space does not toggle a layer")
    if int(page.get_attribute("[data-part='slider']", "max")):
        before, slider = page.inner_text("[data-part='value']"), page.locator("[data-part='slider']")
        page.focus("[data-part='slider']")
        at_the_end = slider.input_value() == slider.get_attribute("max")
        page.keyboard.press("ArrowLeft" if at_the_end else "ArrowRight")
        try:
            moved = "before => document.querySelector(\"[data-part='value']\").textContent !== before"
            page.wait_for_function(moved, arg=before, timeout=5000)
        except Error:
            sys.exit("arrow keys do not move the prior")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    phone = browser.new_page(viewport={"width": 390, "height": 844})
    phone.goto(page.url)
    phone.wait_for_selector(".bll[data-shown]", state="attached")
    if phone.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") > 0 or wide > 0:
        sys.exit("the page scrolls sideways")
    for width in range(
        390, 1300, 65
    ):  # the table must never lie over the diagram, and what can be touched must be large enough
        phone.set_viewport_size({"width": width, "height": 900})
        table, diagram = (phone.locator(f".bll [data-part='{part}']").bounding_box() for part in ("table", "diagram"))
        if (
            table["x"] + table["width"] > diagram["x"] + 1
            and table["y"] < diagram["y"] + diagram["height"]
            and diagram["y"] < table["y"] + table["height"]
            and table["x"] < diagram["x"] + diagram["width"]
        ):
            sys.exit(f"at {width} pixels the explorer's table lies over its diagram: {table} {diagram}")
        if phone.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") > 0:
            sys.exit(f"at {width} pixels the page scrolls sideways")
    small = phone.evaluate(
        """[...document.querySelectorAll('.bll label, .bll button, .bll select')].filter(e => e.offsetParent &&
        e.getBoundingClientRect().height < 23.9).map(e => e.textContent)"""
    )
    if small:
        sys.exit(f"too small to touch: {small[:5]}")
    phone.set_viewport_size({"width": 390, "height": 844})
    # a run as a stranger could hand it over: nothing in it is obeyed, and no section is lost
    with tempfile.TemporaryDirectory() as tmp:
        stranger = browser.new_page()
        dialogs = []
        stranger.on("dialog", lambda d: (dialogs.append(d.message), d.dismiss()))
        stranger.goto(f"file://{render_report(_hostile_copy(read_run(folder), tmp + '/run'))}")
        stranger.wait_for_selector(".bll[data-shown]", state="attached")
        stranger.wait_for_timeout(500)
        sections = [
            q.evaluate("[...document.querySelectorAll('h2')].map(h => h.textContent)") for q in (page, stranger)
        ]
        if dialogs or stranger.title() != page.title() or sections[0] != sections[1]:
            sys.exit(f"the page obeys a stranger: {dialogs}, {stranger.title()!r}, {sections}")
        if shots:
            stranger.screenshot(path=shots / "stranger.png", full_page=True)
    if shots:
        phone.screenshot(path=shots / "phone.png", full_page=True)
        page.locator(".bll").screenshot(path=shots / "explorer.png")
        dark = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark")
        dark.goto(page.url)
        dark.wait_for_selector(".bll[data-shown]", state="attached")
        dark.screenshot(path=shots / "dark.png", full_page=True)
        page.pdf(path=shots / "report.pdf", format="A4")
    if os.environ.get("AXE"):  # path of axe.min.js, from npm's axe-core
        for scheme in ("light", "dark"):
            read = browser.new_page(color_scheme=scheme)
            read.goto(page.url)
            read.wait_for_selector(".bll[data-shown]", state="attached")
            read.add_script_tag(path=os.environ["AXE"])
            found = [
                f"{v['impact']} {v['id']} ({len(v['nodes'])}): {v['nodes'][0]['html'][:120]}"
                for v in read.evaluate("axe.run()")["violations"]
            ]
            if found:
                sys.exit(f"axe finds, {scheme}: " + "; ".join(found))
    outside = [u for u in asked if not u.startswith(("file://", "data:", "blob:"))]
    if outside or errors:
        sys.exit(f"asked for {outside}, errors {errors}")
    size = (folder / "report.html").stat().st_size
    if size > 5e6:
        sys.exit(f"report.html has {size / 1e6:.1f} MB; expected less than 5")
print(f"{checked} sets shown as in the result files; keyboard works; nothing asked from outside; {size / 1e6:.1f} MB")
