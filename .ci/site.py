"""The pages of the site in a browser, without Quarto: python .ci/site.py PACKAGES [SCREENSHOTS].

Pages as nbdev hands them to Quarto become HTML by pandoc (Quarto's own reader), with the class names of Quarto's cells,
its two themes, and our `site.css` and `focus.html`. Each is looked at light and dark, wide and narrow: no page may
scroll sideways, and axe-core may find nothing serious. PACKAGES is a folder with `bootswatch`, `mathjax` and `axe-core`
as `npm pack` and tar leave them."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

import yaml
from checks import proc_nbs
from playwright.sync_api import sync_playwright

PACKAGES, SHOTS = Path(sys.argv[1]).resolve(), Path(sys.argv[2]) if len(sys.argv) > 2 else None


def markdown(text: str) -> str:
    made = subprocess.run(
        ["pandoc", "-f", "markdown", "-t", "html", "--mathjax", "--highlight-style=tango"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout


def output(o: dict, alt: str) -> str:
    "One output, in the elements and classes that Quarto gives it."
    data, text = o.get("data", {}), lambda v: "".join(v)
    if o["output_type"] == "stream":
        return (
            f'<div class="cell-output cell-output-{o["name"]}"><pre><code>{escape(text(o["text"]))}</code></pre></div>'
        )
    if "image/png" in data:
        image = f'alt="{escape(alt)}" src="data:image/png;base64,{text(data["image/png"])}"'
        inner = f'<figure class="figure"><p><img class="img-fluid figure-img" {image}></p></figure>'
    elif "text/html" in data:
        inner = text(data["text/html"])
    elif "text/markdown" in data:
        inner = markdown(text(data["text/markdown"]))
    else:
        inner = f'<pre><code>{escape(text(data.get("text/plain", "")))}</code></pre>'
    return f'<div class="cell-output cell-output-display">{inner}</div>'


def body(path: Path) -> tuple[str, str]:
    "Title and content of a page."
    cells = json.loads(path.read_text())["cells"]
    front = yaml.safe_load("".join(cells[0]["source"]).strip().strip("-"))
    parts = []
    for c in cells[1:]:
        source = "".join(c["source"])
        if c["cell_type"] == "markdown":
            parts.append(markdown(source))
            continue
        if c["cell_type"] != "code":
            continue
        shown = "\n".join(l for l in source.splitlines() if not l.startswith("#|"))
        alt = (re.search(r'^#\|\s*fig-alt:\s*"(.*)"', source, re.M) or ("", ""))[1]
        code = (
            markdown(f"```python\n{shown}\n```")
            if shown.strip() and "echo: false" not in source and "remove-input" not in c["metadata"].get("tags", [])
            else ""
        )
        parts.append(
            f'<div class="cell">{code.replace("sourceCode python", "sourceCode python code-with-copy")}'
            f'{"".join(output(o, alt) for o in c.get("outputs", []))}</div>'
        )
    return front["title"], "\n".join(parts)


def page(path: Path, dark: bool) -> str:
    title, content = body(path)
    theme, sheets = "darkly" if dark else "cosmo", [
        f"bootswatch/dist/{'darkly' if dark else 'cosmo'}/bootstrap.min.css"
    ]
    links = "".join(f'<link rel="stylesheet" href="{(PACKAGES / s).as_uri()}">' for s in sheets)
    own = (path.parents[len(path.relative_to(ROOT).parts) - 1] / "site.css").read_text()
    after = "".join((ROOT / name).read_text() for name in beside["include-after-body"])
    mathjax = f'<script src="{(PACKAGES / "mathjax/es5/tex-chtml-full.js").as_uri()}"></script>'
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>{links}
<style>pre > code.sourceCode {{white-space: pre-wrap}} div.sourceCode {{overflow: auto}} {own}</style>{mathjax}</head>
<body class="{theme} quarto-{'dark' if dark else 'light'}">
<div id="quarto-content" class="page-columns container"><main class="content" id="quarto-document-content">
<header id="title-block-header" class="quarto-title"><h1 class="title">{escape(title)}</h1></header>
{content}</main></div>{after}</body></html>"""


with tempfile.TemporaryDirectory() as tmp, sync_playwright() as p:
    ROOT = proc_nbs(Path(tmp))
    beside = yaml.safe_load((ROOT / "_quarto.yml").read_text())["format"]["html"]
    if isinstance(beside["include-after-body"], str):
        beside["include-after-body"] = [beside["include-after-body"]]
    axe = (PACKAGES / "axe-core/axe.min.js").read_text()
    browser = p.chromium.launch(
        executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
    )
    found, pages = [], sorted(p for p in ROOT.rglob("*.ipynb") if p.match(os.environ.get("PAGES", "*")))
    for path in pages:
        name = str(path.relative_to(ROOT))
        for dark in (False, True):
            made = Path(tmp) / "page.html"
            made.write_text(page(path, dark))
            for width in (1280, 390):
                tab = browser.new_page(viewport={"width": width, "height": 900})
                tab.goto(made.as_uri())
                tab.evaluate("MathJax.startup.promise")
                tab.evaluate("dispatchEvent(new Event('load'))")
                over = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
                if over > 0:
                    found.append(f"{name} at {width}: scrolls {over} px sideways")
                tab.evaluate(axe)
                for v in tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]:
                    if v["impact"] in ("serious", "critical"):
                        found.append(
                            f"{name} {'dark' if dark else 'light'} at {width}: {v['impact']} {v['id']}"
                            f" x{len(v['nodes'])}, such as {v['nodes'][0]['html'][:120]}"
                        )
                if SHOTS:
                    SHOTS.mkdir(parents=True, exist_ok=True)
                    tab.screenshot(path=SHOTS / f"{path.stem}.{'dark' if dark else 'light'}.{width}.png")
                tab.close()
    browser.close()
print("\n".join(found))
print(f"{len(pages)} pages, {len(found)} faults")
sys.exit(bool(found))
