"""The documents make a site, and a warning on the way is an error."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_site_is_built_without_a_warning(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site" / "operations" / "index.html").is_file()
    reference = tmp_path / "site" / "reference"
    assert "SIEClient.encode" in (reference / "sdk/index.html").read_text()
    assert "/v1/encode/{model}" in (reference / "sie-gateway/index.html").read_text()
    assert "/v1/configs/batch" in (reference / "sie-config/index.html").read_text()
