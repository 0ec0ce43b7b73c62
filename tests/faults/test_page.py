"""docs/faults.md says what the tests hold, and the table misses no row that `detect` answers for."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ELSEWHERE = {76, 78, 79, 80}  # configuration files, cluster, training, plugin


def test_page_and_table_agree_with_the_tests():
    command = [sys.executable, ROOT / "tools" / "make_faults_page.py", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert result.returncode == 0, result.stderr


def test_every_row_is_there():
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = {int(line.split("|")[1]) for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()}
    assert rows == set(range(1, 83)) - ELSEWHERE
