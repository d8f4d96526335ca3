"""The commands about reports that exist: `report`, `verify` and `publish` on the command line."""

from __future__ import annotations

import hashlib
import json
import zipfile

import pytest
from click.testing import CliRunner

from entrypoint import assets
from entrypoint.cli import main
from entrypoint.reports import Placed
from exporter.results import ExportError, FormatResult, ModelResult, Report, SavedFile, Status


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """A folder as a run leaves it: one model in one format, with a file in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    files = []
    for path, content in {"bert/onnx/model.onnx": b"weights", "bert/onnx/parts/one": b"part"}.items():
        file = tmp_path / "export" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        files.append(SavedFile(path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest()))
    result = FormatResult(format="onnx", status=Status.PASSED, files=tuple(files))
    report = Report(
        status=Status.PASSED,
        models=(ModelResult(name="bert", model="./bert", status=Status.PASSED, formats=(result,)),),
    )
    (tmp_path / "export/export-report.json").write_text(report.to_json())
    return tmp_path / "export"


def placed(folder) -> list[Placed]:
    report = Report.model_validate_json((folder / "export-report.json").read_text())
    return [Placed(folder, model) for model in report.models]


@pytest.fixture
def call(monkeypatch, capsys):
    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["export-action", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code), written.out + written.err

    return call


def test_verify(call, exported):
    assert call("verify") == (0, "All 2 files are what was judged.\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.write_bytes(b"weighty"), "has other content"),
        (lambda file: file.write_bytes(b"w"), "has 1 bytes instead of 7"),
        (lambda file: file.unlink(), "is missing"),
        (lambda file: (file.rename(file.with_name("x")), file.symlink_to("x")), "symbolic link"),
    ],
)
def test_verify_says_what_differs(call, exported, change, said):
    change(exported / "bert/onnx/model.onnx")
    code, printed = call("verify", "export")
    assert code == 1
    assert f"export/bert/onnx/model.onnx {said}" in printed or said in printed
    assert "1 of 2 files are not what was judged." in printed


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../x"])
def test_a_report_can_not_name_files_elsewhere(call, exported, path):
    report = json.loads((exported / "export-report.json").read_text())
    report["models"][0]["formats"][0]["files"][0]["path"] = path
    (exported / "export-report.json").write_text(json.dumps(report))
    code, printed = call("verify")
    assert code == 1
    assert "has a path that leaves its folder" in printed


def test_without_a_report(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed = call("verify")
    assert code == 2
    assert "There is no export-report.json in export." in printed


def test_report_merges(call, exported, tmp_path):
    code, printed = call("report", "export", "--output-dir", "merged")
    assert code == 0
    assert "Model export: 1 model passed" in printed
    assert (tmp_path / "merged/export-report.md").read_text().startswith("# ✅")


def test_publish_needs_a_token(call, exported, monkeypatch):
    for name in ("GITHUB_TOKEN", "GH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    code, printed = call("publish", "--repository", "org/models", "--tag", "v1")
    assert code == 2
    assert "There is no token" in printed


def test_publish(call, exported, monkeypatch, fake, state):
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_job")
    monkeypatch.setenv("GITHUB_API_URL", fake.api_url)
    code, printed = call("publish", "--repository", "org/models", "--tag", "v1")
    assert code == 0, printed
    (release,) = state.releases.values()
    assert {asset.name for asset in release.assets.values()} == {"bert-onnx.zip", "export-report.json", "SHA256SUMS"}


def test_publish_without_rights(call, exported, monkeypatch, fake):
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_readonly")
    monkeypatch.setenv("GITHUB_API_URL", fake.api_url)
    code, printed = call("publish", "--repository", "org/models", "--tag", "v1")
    assert code == 3
    assert "contents: write" in printed


def test_an_artifact_is_packed_the_same_every_time(exported, tmp_path):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    (first,) = assets.pack(placed(exported), tmp_path / "first")
    (exported / "bert/onnx/model.onnx").touch()
    (second,) = assets.pack(placed(exported), tmp_path / "second")
    assert first.title == second.title == "bert-onnx.zip"
    assert first.path.read_bytes() == second.path.read_bytes()
    with zipfile.ZipFile(first.path) as zipped:
        assert {name: zipped.read(name) for name in zipped.namelist()} == {
            "model.onnx": b"weights",
            "parts/one": b"part",
        }


def test_a_name_in_a_report_can_not_lead_anywhere(exported, tmp_path):
    (placed_model,) = placed(exported)
    model = placed_model.model.model_copy(update={"name": "../../../../escaped"})
    (packed,) = assets.pack([Placed(exported, model)], tmp_path)
    assert packed.path.parent == tmp_path


def test_nothing_is_packed_that_was_not_judged(exported, tmp_path):
    (exported / "bert/onnx/parts/one").write_bytes(b"else")
    with pytest.raises(ExportError, match="not what was judged"):
        assets.pack(placed(exported), tmp_path)


def test_help_names_every_command():
    from entrypoint.cli import cli

    printed = CliRunner().invoke(cli, ["--help"]).output
    assert all(
        name in printed for name in ("features", "plan", "publish", "report", "run", "schema", "validate", "verify")
    )
