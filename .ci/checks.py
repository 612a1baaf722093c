"""Checks of the repository that need no test runner: python .ci/checks.py NAME. Exit status 1 and a line on what is
wrong when one fails."""

import ast
import json
import re
import sys
from pathlib import Path

NBS = Path("nbs")


def notebooks():
    return [
        p
        for p in sorted(NBS.rglob("*.ipynb"))
        if not any(part.startswith((".", "_")) for part in p.parts) and "runs" not in p.parts
    ]


def sources(path, kind="code"):
    return ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


def modules():
    "Module name -> notebook, failing when two notebooks export the same one."
    found = {}
    for path in notebooks():
        for text in sources(path):
            if m := re.search(r"^#\|\s*default_exp\s+(\w+)", text, re.M):
                if m[1] in found:
                    sys.exit(f"default_exp {m[1]} in both {found[m[1]]} and {path}")
                found[m[1]] = path
    return found


def default_exp():
    print(f"{len(modules())} modules, each from one notebook")


def order():
    "A notebook imports only modules of notebooks that stand before it; a tutorial or entry notebook may import all."
    home = modules()
    for path in notebooks():
        if not re.match(r"\d+", path.name):
            continue
        for text in sources(path):
            if "#| export" not in text and "#| exporti" not in text:
                continue
            for name in re.findall(r"from bayes_lora_layers\.(\w+) import", text):
                if home[name].name >= path.name:
                    sys.exit(f"{path} imports {name}, which is not below it")
    print("imports point downwards")


def directives():
    "The papermill entry is rendered by plain Quarto, where nbdev's directives break."
    for text in sources(NBS / "run_sweep.ipynb"):
        if re.search(r"^#\|", text, re.M):
            sys.exit("nbs/run_sweep.ipynb carries an nbdev directive")
    print("run_sweep.ipynb carries no directive")


def imports():
    """Imports stand in cells of their own: nbdev's renderer runs a cell that imports, with all else in it. Hidden
    set-up cells may mix."""
    for path in notebooks():
        if path.name == "run_sweep.ipynb" or "examples" in path.parts:
            continue  # not for nbdev
        for text in sources(path):
            if re.search(r"^#\|\s*hide\b", text, re.M):
                continue
            kinds = [
                isinstance(n, (ast.Import, ast.ImportFrom))
                for n in ast.parse(re.sub(r"^[%!].*$", "", text, flags=re.M)).body
            ]
            if any(kinds) and not all(kinds):
                sys.exit(f"{path} mixes imports with other code: {text[:80]!r}")
    print("imports stand alone")


def names():
    """Every name that a notebook's code uses is defined in it, also where that code is not reached on this machine:
    which branch of a test runs can depend on what a training found."""
    import builtins
    import dis

    def codes(code):
        return [code, *(inner for c in code.co_consts if hasattr(c, "co_code") for inner in codes(c))]

    for path in notebooks():
        text = re.sub(r"^[%!].*$", "", "\n".join(sources(path)), flags=re.M)
        used, made = set(), {*dir(builtins), "__name__", "__annotations__", "get_ipython", "display"}
        for code in codes(compile(text, str(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)):
            for step in dis.get_instructions(code):
                if step.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
                    used.add(step.argval)
                elif step.opname in ("STORE_NAME", "STORE_GLOBAL"):
                    made.add(step.argval)
        if used - made:
            sys.exit(f"{path} uses {sorted(used - made)}, which it does not define")
    print("every name is defined")


def outputs():
    """Notebooks are committed as run: with outputs, none of them an error. The papermill entry is a template and has
    none."""
    for path in notebooks():
        found = [o for c in json.loads(path.read_text())["cells"] for o in c.get("outputs", [])]
        if any(o["output_type"] == "error" for o in found):
            sys.exit(f"{path} is committed with an error")
        if bool(found) == (path.name == "run_sweep.ipynb"):
            sys.exit(f"{path} is committed {'with' if found else 'without'} outputs")
    print("every notebook is committed as it ran")


def packaged():
    "The command line runs a copy of the papermill entry, which must be the same."
    source, copy = NBS / "run_sweep.ipynb", Path("bayes_lora_layers/run_sweep.ipynb")
    if "--write" in sys.argv:
        copy.write_bytes(source.read_bytes())
    elif not copy.exists() or copy.read_bytes() != source.read_bytes():
        sys.exit(f"{copy} is not {source}; run python .ci/checks.py packaged --write")
    print(f"{copy} is {source}")


def parameters():
    "The papermill cell, the Config dataclass and the configurations agree on names and defaults."
    import dataclasses, yaml
    from bayes_lora_layers.config import Config, config_from
    from bayes_lora_layers.study import read_study

    cell = next(
        "".join(c["source"])
        for c in json.loads((NBS / "run_sweep.ipynb").read_text())["cells"]
        if "parameters" in c["metadata"].get("tags", [])
    )
    given = {}
    exec(cell, {}, given)
    given.pop("__annotations__", None)
    if config_from(given) != Config():
        sys.exit("the parameters of run_sweep.ipynb differ from the defaults of Config")
    if list(given) != [f.name for f in dataclasses.fields(Config)]:
        sys.exit("the parameters of run_sweep.ipynb and Config differ in order")
    for path in sorted((NBS / "configs").glob("*.yaml")):
        if path.name.startswith("study_"): read_study(path)
        elif not path.name.startswith("cluster_"): config_from(yaml.safe_load(path.read_text()))
    print(f"{len(given)} parameters agree; configurations are valid")


def glossary():
    "The site explains the same words as the report."
    from bayes_lora_layers.files import script_json
    from bayes_lora_layers.report import GLOSSARY

    path = NBS / "glossary.html"
    text = path.read_text()
    made = re.sub(r'(?<=id="glossary">).*?(?=</script>)', lambda _: script_json(GLOSSARY), text)
    if "--write" in sys.argv:
        path.write_text(made)
    elif text != made:
        sys.exit(f"{path} explains other words than report.GLOSSARY; run python .ci/checks.py glossary --write")
    print(f"{len(GLOSSARY)} words explained")


def readme():
    "README.md is nbs/index.ipynb as Markdown: visible cells, text outputs indented, links made relative to the top."
    parts = []
    for c in json.loads((NBS / "index.ipynb").read_text())["cells"]:
        text = "".join(c["source"]).strip()
        if not text or c["cell_type"] == "raw" or re.search(r"^#\|\s*hide\b", text, re.M):
            continue
        if c["cell_type"] == "markdown":
            text = re.sub(r"\]\((?!https?:|#)([^)]+?)\)", lambda m: f"](nbs/{m[1]})", text)
            parts.append(text)
            continue
        code = "\n".join(l for l in text.splitlines() if not l.startswith("#|"))
        parts.append(f"```python\n{code}\n```")
        for o in c["outputs"]:
            if "image/png" in o.get("data", {}):
                continue
            shown = "".join(o.get("text", [])) or "".join(o.get("data", {}).get("text/plain", []))
            if o.get("name") != "stderr" and shown.strip():
                parts.append("\n".join("    " + l for l in shown.rstrip().splitlines()))
    made = "<!-- made from nbs/index.ipynb by .ci/checks.py readme; edit there -->\n\n" + "\n\n".join(parts) + "\n"
    if "--write" in sys.argv:
        Path("README.md").write_text(made)
    elif Path("README.md").read_text() != made:
        sys.exit("README.md is out of step with nbs/index.ipynb; run python .ci/checks.py readme --write")
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", made):
        if not Path(target).exists():
            sys.exit(f"README.md links to {target}, which is not there")
    print("README.md is in step with nbs/index.ipynb")


WIDTH = 120


def width():
    """Code is at most 120 columns wide, in notebooks and beside them, but for what a shell or the renderer wants on one
    line, and text that a page prints."""
    wide = []
    for path in notebooks():
        if path.parent.name == "examples":
            continue
        for text in sources(path):
            wide += [f"{path}: {line.strip()[:80]}" for line in _wide(text)]
    scripts = [p for p in Path(".ci").iterdir() if p.is_file()]
    assets = [p for kind in ("css", "html", "js") for p in Path("bayes_lora_layers").glob(f"*.{kind}")]
    for path in [*scripts, *assets, Path("quickstart.sh")]:
        wide += [f"{path}: {line.strip()[:80]}" for line in _wide(path.read_text())]
    if wide:
        sys.exit(f"{len(wide)} lines are wider than {WIDTH} columns:\n" + "\n".join(wide[:20]))
    print(f"no line of code is wider than {WIDTH} columns")


def _wide(text):
    "Lines that are too wide, but for text that a page prints, shell commands and directives of notebooks."
    prose = [m.span() for m in re.finditer(r'f""".*?"""', text, re.S)]
    at = 0
    for line in text.splitlines(keepends=True):
        said = any(low < at + len(line) and at < high for low, high in prose) or line.startswith(("!", "#|"))
        if len(line.rstrip("\n")) > WIDTH and not said:
            yield line
        at += len(line)


COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
MOVES_AXES = re.compile(r"\.permute\(|einsum\(|\.view\(|\.reshape\(|\.movedim\(|\.unflatten\(")


def plain():
    """Code that reads at once: at most one comprehension inside another in a statement, none inside that, and a comment
    with shapes beside each line that moves axes."""
    found = []
    for path in modules().values():
        for text in sources(path):
            if not re.match(r"#\|\s*exporti?\b", text):
                continue
            nested = [ast.unparse(s) for s in ast.walk(ast.parse(text)) if isinstance(s, ast.stmt) and _too_deep(s)]
            found += [f"{path}: nested comprehensions in {code[:80]}" for code in nested]
            lines = text.splitlines()
            for i, line in enumerate(lines):
                told = any(re.search(r"#.*\[", l) for l in lines[max(i - 1, 0) : i + 2])
                if MOVES_AXES.search(line) and not told:
                    found.append(f"{path}: no shape beside {line.strip()[:80]}")
    if found:
        sys.exit("\n".join(found))
    print("comprehensions are at most two deep, and shapes stand where axes move")


def _too_deep(statement):
    depths = []

    def look(node, depth):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                continue  # looked at by itself
            inner = depth + isinstance(child, COMPREHENSIONS)
            if inner > depth:
                depths.append(inner)
            look(child, inner)

    look(statement, 0)
    return max(depths, default=0) > 2 or depths.count(2) > 1


def documented():
    "Every public symbol has a docstring."
    import importlib

    missing = []
    for name in modules():
        module = importlib.import_module(f"bayes_lora_layers.{name}")
        for symbol in module.__all__:
            value = getattr(module, symbol)
            if (
                callable(value)
                and getattr(value, "__module__", "") == module.__name__
                and not (value.__doc__ or "").strip()
            ):
                missing.append(f"{name}.{symbol}")
    if missing:
        sys.exit(f"without a docstring: {', '.join(missing)}")
    print("every public function and class has a docstring")


def proc_nbs(folder: Path) -> Path:
    "A copy of the project in which nbdev has made the pages that it hands to Quarto; where they are."
    import shutil, subprocess

    for name in ("settings.ini", "setup.py", "_quarto.yml", "README.md", "CHANGELOG.md"):
        shutil.copy(name, folder)
    for name in ("nbs", "bayes_lora_layers"):
        shutil.copytree(name, folder / name, ignore=shutil.ignore_patterns("runs", "__pycache__", ".ipynb_checkpoints"))
    code = "from nbdev.serve import proc_nbs\nif __name__ == '__main__': print(proc_nbs(force=True, n_workers=0))"
    (folder / "proc.py").write_text(code)
    done = subprocess.run([sys.executable, "proc.py"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"proc_nbs failed: {done.stderr[-1500:]}")
    return folder / "_proc"


def site():
    """Up to the renderer: the sidebar lists every page once, links lead somewhere, YAML reads, and pages as nbdev hands
    them to Quarto have every word, a title, no stray directive and closed fences."""
    import tempfile, yaml
    from collections import Counter

    words = lambda texts: Counter(re.findall(r"\w+", " ".join(texts)))
    pages = {str(p.relative_to(NBS)) for p in notebooks()}

    def listed(contents):
        return [x for c in contents for x in (listed(c["contents"]) if isinstance(c, dict) else [c])]

    order = listed(yaml.safe_load((NBS / "sidebar.yml").read_text())["website"]["sidebar"]["contents"])
    if sorted(order) != sorted(pages):
        sys.exit(f"nbs/sidebar.yml and the notebooks differ in {sorted(set(order) ^ pages) or 'a page listed twice'}")
    quarto = yaml.safe_load(Path("_quarto.yml").read_text())
    if (NBS / "no_readme.ipynb").exists():
        sys.exit("nbs/no_readme.ipynb must not exist: nbdev_docs would write README.md from it")
    bare = [
        f"{p}: {text[:60]!r}"
        for p in notebooks()
        for c in json.loads(p.read_text())["cells"]
        if any("image/png" in o.get("data", {}) for o in c.get("outputs", []))
        and "fig-alt:" not in (text := "".join(c["source"]))
    ]
    if bare:
        sys.exit(f"pictures without alternative text: {bare}")
    for item in quarto["website"]["navbar"]["left"]:
        if item["href"] not in pages:
            sys.exit(f"_quarto.yml links to {item['href']}, which is not there")
    for path in notebooks():
        for text in sources(path, "markdown"):
            for target in re.findall(
                r"\]\((?!https?:|#|mailto:)([^)#\s]+)",
                re.sub(r"`[^`]*`|\$[^$]*\$", "", re.sub(r"```.*?```", "", text, flags=re.S)),
            ):
                if not (path.parent / target).exists():
                    sys.exit(f"{path} links to {target}, which is not there")
    with tempfile.TemporaryDirectory() as tmp:
        proc_nbs(Path(tmp))
        processed = {str(p.relative_to(Path(tmp) / "_proc")): p for p in (Path(tmp) / "_proc").rglob("*.ipynb")}
        beside = yaml.safe_load((Path(tmp) / "_proc/_quarto.yml").read_text())["format"]["html"]
        for name in (n for names in beside.values() for n in ([names] if isinstance(names, str) else names)):
            if not (Path(tmp) / "_proc" / name).exists():
                sys.exit(f"nbs/_quarto.yml names {name}, which does not reach the renderer")
        if set(processed) != pages:
            sys.exit(f"processed pages and notebooks differ in {sorted(set(processed) ^ pages)}")
        for name, path in processed.items():
            cells = json.loads(path.read_text())["cells"]
            lost = words(sources(NBS / name, "markdown")) - words("".join(c["source"]) for c in cells)
            if lost:
                sys.exit(
                    f"{name} loses {sum(lost.values())} words on the way to Quarto, such as {list(lost)[:8]}:"
                    " end the first cell after its `>` line"
                )
            front = "".join(cells[0]["source"])
            if not front.startswith("---") or not yaml.safe_load(front.strip().strip("-")).get("title"):
                sys.exit(f"{name} has no title as processed")
            for c in cells:
                text = "".join(c["source"])
                if c["cell_type"] == "markdown" and text.count("```") % 2:
                    sys.exit(f"{name} has an open fence: {text[:80]!r}")
                if c["cell_type"] == "markdown" and re.search(r"^#\|", text, re.M):
                    sys.exit(f"{name} shows a directive: {text[:80]!r}")
                if c["cell_type"] == "code" and (
                    m := re.search(r"^#\|\s*(export\w*|hide|default_exp|slow|long|exec_doc)\b", text, re.M)
                ):
                    sys.exit(f"{name} keeps the directive {m[0]!r}: {text[:80]!r}")
                if any(o["output_type"] == "error" for o in c.get("outputs", [])):
                    sys.exit(f"{name} shows an error: {text[:80]!r}")
    print(f"{len(pages)} pages in order, links lead somewhere, processed pages are clean")


def demo():
    """The default run learned something and left every file of the contract. How overconfident it is, and what its
    layers gain, is printed: it depends on the processor."""
    folder = Path("runs/digits")
    results = json.loads((folder / "layer_wise_results.json").read_text())
    if not results["map"]["accuracy"] > 0.25:
        sys.exit(f"the demo's MAP has {results['map']}")
    files = [
        "config.yaml",
        "environment.json",
        "adapter/adapter_model.safetensors",
        "checkpoints",
        "training.log",
        "posterior.safetensors",
        "predictions.safetensors",
        "summary_table.csv",
        "analysis_summary.json",
        "report.html",
        *(
            f"plots/{p}.png"
            for p in (
                "reliability_det",
                "reliability_full",
                "delta_ece_ranked",
                "delta_ece_sequential",
                "ece_comparison",
                *(f"reliability_layer.{l}" for l in range(12)),
            )
        ),
    ]
    missing = [f for f in files if not (folder / f).exists()]
    if missing:
        sys.exit(f"the run left no {missing}")
    seconds = json.loads((folder / "environment.json").read_text())["seconds"]
    print(
        f"MAP accuracy {results['map']['accuracy']:.3f}, ECE {results['map']['ece']:.3f};"
        f" {len(files)} files; {sum(seconds.values()):.0f} s"
    )


def verdict():
    "`explain` answers scripts with an object and an exit code."
    import subprocess

    done = subprocess.run(["bayes-lora-layers", "explain", "runs/digits", "--json"], capture_output=True, text=True)
    said = json.loads(done.stdout)
    first = next(iter(said.values()))
    if done.returncode != first["exit_code"]:
        sys.exit(f"explain ended with {done.returncode}, its JSON says {first['exit_code']}")
    print(f"{first['kind']}: {first['answer']}")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
