"""Turn a finished run's notebook into a page of the docs: python .ci/example.py OUT.ipynb nbs/examples/NAME.ipynb
'Title' ['Remark']. The title is set and a remark put on top; progress bars and papermill's stamps are dropped, and
the report's sections become cells."""

import sys

import nbformat

source, target, title, *remark = sys.argv[1:]
nb = nbformat.read(source, as_version=4)
front = next(c for c in nb.cells if c.cell_type == "raw")
front.source = "\n".join(f"title: {title}" if l.startswith("title:") else l for l in front.source.splitlines())
for text in remark:
    nb.cells.insert(1, nbformat.v4.new_markdown_cell(text))
for c in nb.cells:
    c.metadata = {"tags": c.metadata["tags"]} if c.metadata.get("tags") else {}
    if c.cell_type == "code":
        c.outputs = [o for o in c.outputs if o.get("name") != "stderr"]
at = next(i for i, c in enumerate(nb.cells) if c.cell_type == "code" and c.source.startswith("display_report("))
shown, sections = nb.cells[at], []
for o in shown.outputs:  # headings among outputs are in no table of contents, so they become cells
    if "text/markdown" in o.get("data", {}):
        sections.append(nbformat.v4.new_markdown_cell(o.data["text/markdown"]))
        continue
    if not sections or sections[-1].cell_type == "markdown":
        sections.append(nbformat.v4.new_code_cell(shown.source))
    sections[-1].outputs.append(o)
nb.cells[at : at + 1] = sections
nb.metadata = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
nbformat.write(nb, target)
