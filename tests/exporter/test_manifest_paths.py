"""What a manifest may point at: folders, samples and code below the git root, and models of the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.manifest import Entry, ManifestErrors, Samples, SamplesError, parse, read_samples


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git checkout with a manifest's folder, models, and something secret beside it."""
    root = tmp_path / "repository"
    for folder in (".git", "work/models/bert-base", "work/models/gpt2", "shared/vit", "outside-of-work"):
        (root / folder).mkdir(parents=True)
    (root / ".git" / "config").write_text("token")
    (root / "work" / "models" / "bert-base" / "config.json").write_text("{}")
    (root / "work" / "README").write_text("")
    (tmp_path / "secret" / "model").mkdir(parents=True)
    (tmp_path / "secret" / "texts.txt").write_text("password")
    return root


def entry(folder: Path, line: str) -> Entry:
    text = f"version: 1\nmodels:\n  - name: a\n    {line}\n"
    if not line.startswith("model:"):
        text = text.replace("- name: a", "- name: a\n    model: org/a")
    (found,) = parse(text.encode(), folder / "export.yml").entries
    return found


def error(folder: Path, line: str) -> str:
    with pytest.raises(ManifestErrors) as caught:
        entry(folder, line)
    (only,) = caught.value.errors
    return only.message


class TestModel:
    @pytest.mark.parametrize(
        "value",
        [
            "gpt2",
            "google-bert/bert-base-uncased",
            "org/name_with.dots-1",
            "sentence-transformers/all-MiniLM-L6-v2",
            "models-of-mine/bert",
        ],
    )
    def test_on_the_hub(self, repository: Path, value: str) -> None:
        assert entry(repository / "work", f"model: {value}").checkpoint is None

    @pytest.mark.parametrize(
        ("value", "folder"),
        [
            ("./models/bert-base", "work/models/bert-base"),
            ("models/bert-base", "work/models/bert-base"),
            ("models/bert-base/", "work/models/bert-base"),
            ("models/./gpt2/../bert-base", "work/models/bert-base"),
            ("../shared/vit", "shared/vit"),
            (".", "work"),
            ("models", "work/models"),
        ],
    )
    def test_in_a_folder(self, repository: Path, value: str, folder: str) -> None:
        found = entry(repository / "work", f"model: {value}")
        assert found.checkpoint == repository / folder
        assert found.root == repository

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("./models/bert-bas", "there is no folder './models/bert-bas'; did you mean './models/bert-base'?"),
            ("./modles/bert-base", "there is no folder './modles/bert-base'; did you mean './models/bert-base'?"),
            ("./nothing-like-it", "there is no folder './nothing-like-it'"),
            (
                "models/bert_base",
                "there is no folder 'models/bert_base'; did you mean 'models/bert-base'? "
                "(A model of that id on the Hub: add its 'revision'.)",
            ),
            ("./README", "'./README' is a file, not a folder"),
            ("README", "'README' is a file, not a folder"),
            ("/models/bert", "'/models/bert' is an absolute path; write it relative to the manifest's folder"),
            ("C:/models", "'C:/models' is an absolute path; write it relative to the manifest's folder"),
            ("models\\bert", "'models\\\\bert': expected '/' between folders; did you mean 'models/bert'?"),
            ("~/bert", "'~/bert': '~' means nothing here; write a path relative to the manifest's folder"),
            ("../../secret/model", "'../../secret/model' leaves the repository"),
            ("../.git", "'../.git' leads into '.git', which holds nothing for a manifest"),
            ("org/name/extra", "there is no folder 'org/name/extra'"),
            (
                "https://huggingface.co/google-bert/bert-base-uncased/tree/main",
                "expected a folder or an id on the Hub, got a URL; did you mean 'google-bert/bert-base-uncased'?",
            ),
            ("org/-name", "'org/-name' is neither a folder here nor an id on the Hub ('name' or 'org/name')"),
            ("org/na--me", "'org/na--me' is neither a folder here nor an id on the Hub ('name' or 'org/name')"),
            ("org/name.git", "'org/name.git' is neither a folder here nor an id on the Hub ('name' or 'org/name')"),
            ("bert base", "'bert base' is neither a folder here nor an id on the Hub ('name' or 'org/name')"),
            ("x" * 97, f"'{'x' * 80}…' is neither a folder here nor an id on the Hub ('name' or 'org/name')"),
            ("./" + "x" * 300, f"'./{'x' * 78}…' can't be a path: too long, or it holds unprintable characters"),
        ],
    )
    def test_refused(self, repository: Path, value: str, message: str) -> None:
        assert error(repository / "work", f"model: {value}") == message

    def test_a_revision_says_hub(self, repository: Path) -> None:
        found = entry(repository / "work", "model: models/bert_base\n    revision: main")
        assert found.checkpoint is None
        assert found.revision == "main"

    def test_a_folder_has_no_revision(self, repository: Path) -> None:
        message = error(repository / "work", "model: models/bert-base\n    revision: main")
        assert message == "'models/bert-base' is a folder, and a folder has no 'revision'; leave 'revision' out"

    def test_without_git_the_manifests_folder_is_the_border(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "model").mkdir()
        assert error(tmp_path / "work", "model: ../model") == "'../model' leaves the manifest's folder"

    def test_a_git_worktree_is_a_checkout(self, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir()
        (tmp_path / "model").mkdir()
        (tmp_path / ".git").write_text("gitdir: elsewhere")
        assert entry(tmp_path / "work", "model: ../model").checkpoint == tmp_path / "model"


class TestLinks:
    def test_within_the_repository(self, repository: Path) -> None:
        (repository / "work" / "link").symlink_to("../shared/vit")
        assert entry(repository / "work", "model: ./link").checkpoint == repository / "shared" / "vit"

    @pytest.mark.parametrize("value", ["./link", "./link/model", "link", "models/../link"])
    def test_out_of_the_repository(self, repository: Path, value: str) -> None:
        (repository / "work" / "link").symlink_to("../../secret")
        assert "symbolic link that leaves the repository" in error(repository / "work", f"model: {value}")

    def test_out_by_a_folder_above_a_link(self, repository: Path) -> None:
        (repository / "work" / "deep").symlink_to("../../secret/model")
        assert "symbolic link that leaves the repository" in error(repository / "work", "model: ./deep/../model")

    def test_into_git(self, repository: Path) -> None:
        (repository / "work" / "texts.txt").symlink_to("../.git/config")
        assert "symbolic link" in error(repository / "work", "validate: {samples: texts.txt}")

    def test_of_a_file_in_the_model(self, repository: Path) -> None:
        model = repository / "work" / "models" / "gpt2"
        (model / "tokenizer.json").symlink_to("../../../../secret/texts.txt")
        message = error(repository / "work", "model: ./models/gpt2")
        assert message == "'./models/gpt2/tokenizer.json' is a symbolic link that leaves the repository"

    def test_as_a_hub_cache_has_them(self, repository: Path) -> None:
        cache = repository / "work" / "cache"
        (cache / "blobs").mkdir(parents=True)
        (cache / "blobs" / "0123").write_text("{}")
        (cache / "snapshots" / "main").mkdir(parents=True)
        (cache / "snapshots" / "main" / "config.json").symlink_to("../../blobs/0123")
        assert entry(repository / "work", "model: ./cache/snapshots/main").checkpoint

    def test_in_a_circle(self, repository: Path) -> None:
        (repository / "work" / "one").symlink_to("two")
        (repository / "work" / "two").symlink_to("one")
        assert error(repository / "work", "model: ./one").startswith("there is no folder './one'")


class TestConfig:
    @pytest.fixture
    def folder(self, repository: Path) -> Path:
        code = "raise SystemExit('never run')\nclass MyOnnxConfig: ...\nclass Other: ...\nAlias = Other\n"
        (repository / "work" / "export_configs.py").write_text(code)
        return repository / "work"

    @pytest.mark.parametrize("name", ["MyOnnxConfig", "Alias"])
    def test_found(self, folder: Path, name: str) -> None:
        found = entry(folder, f"config: export_configs.py:{name}").custom_config
        assert found is not None
        assert found.path == folder / "export_configs.py"
        assert found.class_name == name

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("export_configs.py:MyOnxConfig", "no class 'MyOnxConfig'; did you mean 'MyOnnxConfig'?"),
            ("export_config.py:MyOnnxConfig", "no file 'export_config.py'; did you mean 'export_configs.py'?"),
            ("models.py/x.py:A", "there is no file 'models.py/x.py'"),
            ("../../secret/a.py:A", "leaves the repository"),
            ("/a.py:A", "is an absolute path"),
        ],
    )
    def test_refused(self, folder: Path, value: str, message: str) -> None:
        assert message in error(folder, f"config: {value}")


class TestSamples:
    def test_texts(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes("\ufeffGrüße\r\n\n  indented\n包裹".encode())
        assert read_samples(tmp_path / "a.txt") == Samples(
            path=tmp_path / "a.txt", kind="texts", texts=("Grüße", "  indented", "包裹")
        )

    def test_fields(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text('{"text": "a", "text_pair": "b"}\n\n{"text": ["c"]}\n')
        samples = read_samples(tmp_path / "a.jsonl")
        assert samples.kind == "fields"
        assert samples.fields == ({"text": "a", "text_pair": "b"}, {"text": ["c"]})

    @pytest.mark.parametrize(("kind", "names"), [("images", ("a.PNG", "b.jpg")), ("sounds", ("a.wav", "b.wav"))])
    def test_folders(self, tmp_path: Path, kind: str, names: tuple[str, ...]) -> None:
        for name in (*names, ".DS_Store"):
            (tmp_path / name).touch()
        samples = read_samples(tmp_path)
        assert samples.kind == kind
        assert [path.name for path in samples.files] == list(names)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.txt", b"\n \n", "'a.txt' holds 0 samples; expected 1 to 32"),
            ("a.txt", b"x\n" * 33, "'a.txt' holds 33 samples; expected 1 to 32"),
            ("a.jsonl", b"{}x\n", "a.jsonl:1 is not JSON"),
            ("a.jsonl", b'{"a": 1}\n\n[1]\n', "a.jsonl:3: expected an object"),
            ("a.jsonl", b"{}", "a.jsonl:1: expected an object"),
            ("a.jsonl", b"[" * 100_000, "a.jsonl:1 is not JSON"),
            ("a.jsonl", b'{"a": 1}\n' * 33, "holds 33 samples"),
            ("a.txt", b"\xff", "'a.txt' is not UTF-8"),
            ("a.txt", b"x" * (1024 * 1024 + 1), "'a.txt' is larger than 1,048,576 bytes"),
            ("a.csv", b"text", "'a.csv': expected a .txt, a .jsonl, or a folder"),
        ],
        ids=lambda value: f"{value[:10]!r}",
    )
    def test_refused(self, tmp_path: Path, name: str, content: bytes, message: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SamplesError) as caught:
            read_samples(tmp_path / name)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ((), "holds 0 samples"),
            (("a.png", "b.wav"), "holds images and wav files; expected one kind"),
            (("a.png", "notes.md"), "notes.md' is neither an image nor a wav file"),
            (tuple(f"{number}.png" for number in range(33)), "holds 33 samples; expected 1 to 32"),
        ],
        ids=lambda value: f"{len(value)}",
    )
    def test_folders_refused(self, tmp_path: Path, names: tuple[str, ...], message: str) -> None:
        for name in names:
            (tmp_path / name).touch()
        with pytest.raises(SamplesError) as caught:
            read_samples(tmp_path)
        assert message in str(caught.value)

    def test_of_a_manifest(self, repository: Path) -> None:
        folder = repository / "work" / "pictures"
        folder.mkdir()
        (folder / "cat.png").symlink_to("../../../secret/texts.txt")
        message = error(repository / "work", "validate: {samples: pictures}")
        assert message == "'pictures/cat.png' is a symbolic link that leaves the repository"
        (folder / "cat.png").unlink()
        assert error(repository / "work", "validate: {samples: pictures}").startswith("'pictures' holds 0 samples")
        (folder / "cat.png").touch()
        found = entry(repository / "work", "validate: {samples: pictures}").samples
        assert found is not None
        assert found.files == (folder / "cat.png",)
