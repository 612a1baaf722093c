"Packaging, read from settings.ini: the one place where name, version and requirements are written."
import re
import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read("settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]

# links of the README lead into the repository; on PyPI they have to say where that is
readme = re.sub(r"(!?)\]\((?!https?:|#)([^)]+)\)", lambda m: f"]({cfg['git_url']}/blob/{cfg['branch']}/{m[2]})", Path("README.md").read_text(encoding="utf-8"))
readme = re.sub(r"(!\[[^\]]*\]\([^)]*)/blob/", r"\1/raw/", readme)

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme,
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    license="MIT",
    project_urls={"Documentation": cfg["doc_host"] + cfg["doc_baseurl"], "Source": cfg["git_url"], "Issues": cfg["git_url"] + "/issues", "Changelog": cfg["git_url"] + "/blob/" + cfg["branch"] + "/CHANGELOG.md"},
    classifiers=["Development Status :: 3 - Alpha", "Intended Audience :: Science/Research", "License :: OSI Approved :: MIT License", "Programming Language :: Python :: 3", "Topic :: Scientific/Engineering :: Artificial Intelligence"],
    keywords=cfg["keywords"],
    packages=find_packages(include=[cfg["lib_name"]]),
    package_data={cfg["lib_name"]: ["run_sweep.ipynb", "*.css", "*.html", "*.js"]},
    python_requires=">=" + cfg["min_python"],
    install_requires=shlex.split(cfg["requirements"]),
    extras_require={k: shlex.split(cfg[f"{k}_requirements"]) for k in ("dev", "ray", "corruptions")},
    entry_points={"nbdev": [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"], "console_scripts": shlex.split(cfg["console_scripts"])},
    zip_safe=False,
)
