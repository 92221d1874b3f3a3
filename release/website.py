"""The website as it is deployed: bundled by esbuild, rendered by Jinja, compressed; and openapi.yaml.

``python -m release.website`` builds them in ``.local/website``, the content of the layer ``WebsiteLayer``. A file under
``assets/`` has its digest in its name, so that a browser may keep it for ever (docs/decisions/0024-website.md).
"""

import gzip
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from release import usages
from release.build import ROOT, ToolError, run_tool

SOURCE: Final = ROOT / "website"
BUILT: Final = ROOT / ".local/website"
PACKAGES: Final = ROOT / ".local/npm/node_modules"
"""The packages of ``website/package.json``, installed by ``make setup``."""

DATAPASS: Final = "https://datapass.api.gouv.fr"
"""Where administrations request access."""

_PICTURES: Final = tuple(
    PACKAGES / "@gouvfr/dsfr/dist" / path
    for path in (
        "favicon/favicon.svg",
        "artwork/pictograms/environment/food.svg",
        "artwork/pictograms/leisure/paint.svg",
        "artwork/pictograms/buildings/school.svg",
        "artwork/pictograms/leisure/community.svg",
        "artwork/pictograms/document/document-signature.svg",
        "artwork/pictograms/system/technical-error.svg",
    )
)
"""The images of DSFR used by pages."""
_LANGUAGES: Final = {"python": "Python", "javascript": "JavaScript", "php": "PHP"}
_TABLE_BEGINS: Final = (
    '<div class="fr-table"><div class="fr-table__wrapper"><div class="fr-table__container" tabindex="0" role="region"'
    ' aria-label="Tableau {number}"><div class="fr-table__content"><table>'
)
_TABLE_ENDS: Final = "</table></div></div></div></div>"
_ESBUILD: Final = (
    *("--bundle", "--splitting", "--minify", "--format=esm", "--target=es2022", "--charset=utf8"),
    *("--legal-comments=eof", "--log-level=warning"),
    *("--entry-names=[name].[hash]", "--chunk-names=[name].[hash]", "--asset-names=[name].[hash]"),
    *("--loader:.svg=file", "--loader:.woff2=file", "--loader:.woff=empty"),
)
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


def build(folder: Path = BUILT) -> Path:
    """Replace the content of ``folder`` with the site and return it; raise ``ToolError`` when esbuild fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as name:
        bundled, made = Path(name) / "bundled", Path(name) / "made"
        assets = _bundle(bundled)
        contents = {f"assets/{file.name}": file.read_bytes() for file in bundled.iterdir()}
        contents |= {path: html.encode() for path, html in pages(assets)}
        contents["collection.json"] = (ROOT / "docs/collection.json").read_bytes()
        _write(contents, made / "python/website_pages")
        shutil.copy(ROOT / "docs/openapi.yaml", made / "python/website_pages")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return folder


def _bundle(folder: Path) -> dict[str, str]:
    """Bundle styles, scripts and images in ``folder``; return the name of each bundled file by that of its source."""
    sources = [str(path) for pattern in ("styles/*.css", "scripts/*.js") for path in sorted(SOURCE.glob(pattern))]
    report = folder.parent / "bundled.json"
    command = [str(PACKAGES / ".bin/esbuild"), *sources, f"--outdir={folder}", f"--metafile={report}", *_ESBUILD]
    path = f"{ROOT / '.local/tools/node/bin'}{os.pathsep}{os.environ['PATH']}"
    run_tool(command, folder.parent / "log", {"PATH": path, "NODE_PATH": str(PACKAGES)})
    outputs = json.loads(report.read_text())["outputs"]
    assets = {
        Path(output["entryPoint"]).name: Path(path).name for path, output in outputs.items() if "entryPoint" in output
    }
    for picture in _PICTURES:
        content = picture.read_bytes()
        assets[picture.name] = f"{picture.stem}.{sha256(content).hexdigest()[:8]}{picture.suffix}"
        (folder / assets[picture.name]).write_bytes(content)
    return assets


def pages(assets: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the path and the HTML of every page; the home page has an empty path, guides are under ``guide/``."""
    jinja = Environment(
        loader=FileSystemLoader(SOURCE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    words = {"usages": usages.usages(), "donnees": usages.donnees(), "champs": usages.fields(), "jeux": usages.jeux()}
    words |= {"datapass": _datapass()}

    def page(template: str, path: str, **more: str) -> tuple[str, str]:
        up = "../" * path.count("/")
        return path, jinja.get_template(template).render(path=path, up=up, assets=assets, **words, **more)

    for template in sorted((SOURCE / "pages").rglob("*.html")):
        path = str(template.relative_to(SOURCE / "pages").with_suffix(""))
        yield page(f"pages/{path}.html", "" if path == "accueil" else path)
    for path, guide in guides().items():
        title, content = guide.read_text().split("\n", 1)
        yield page("guide.html", path, title=title.removeprefix("# "), content=_rendered(content))


def guides() -> dict[str, Path]:
    """Return the file of each guide, by the path of its page: those by number, then those by civil identity."""
    by_number, by_identity = (sorted((ROOT / "docs" / folder).glob("*.md")) for folder in ("guides", "identite"))
    return {f"guide/{file.stem}": file for file in by_number} | {
        f"guide/identite-{file.stem}": file for file in by_identity
    }


def _rendered(markdown: str) -> str:
    """Return a guide in HTML, with the design system's tables, and the language of each program."""
    html: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    html = html.replace('.md"', '"')  # a guide links to another by its file
    html = html.replace('href="../guides/', 'href="').replace('href="../identite/', 'href="identite-')
    first, *tables = html.split("<table>")
    numbered = (f"{_TABLE_BEGINS.format(number=number)}{table}" for number, table in enumerate(tables, 1))
    html = "".join([first, *numbered]).replace("</table>", _TABLE_ENDS)
    for language, name in _LANGUAGES.items():
        html = html.replace(
            f'<pre><code class="language-{language}">', f'<pre tabindex="0" data-langage="{name}"><code>'
        )
    return html.replace("<pre><code", '<pre tabindex="0"><code')


def _datapass() -> str:
    """Return the address of the access request on DataPass; ``DATAPASS_URL`` names another server."""
    return f"{os.environ.get('DATAPASS_URL', '').rstrip('/') or DATAPASS}/api-particulier"


def _write(contents: Mapping[str, bytes], folder: Path) -> None:
    """Write each file under its digest, compressed when that is smaller, and the table of all files."""
    folder.mkdir(parents=True)
    table = {}
    for path, content in contents.items():
        compressed = gzip.compress(content, mtime=0)
        gains = len(compressed) < len(content)
        digest = sha256(content).hexdigest()
        (folder / digest).write_bytes(compressed if gains else content)
        table[path] = {"digest": digest, "type": _TYPES[Path(path).suffix or ".html"], "gzip": gains}
    (folder / "table.json").write_text(json.dumps(table, indent=1))
    (folder / "__init__.py").touch()


if __name__ == "__main__":
    try:
        build()
    except ToolError as failure:
        sys.exit(str(failure))
