"""What the tests ask from inside the image: prints a JSON object of what it finds. Runs there with nothing of ours.

It makes small preprocessors of every kind, keeps them as a checkpoint does, and loads them as the action would.
"""

import base64
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SENTENCES = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs"] * 20


def sentencepiece_tokenizer(folder: Path) -> int:
    import sentencepiece
    import transformers

    model = folder / "spiece"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_prefix=str(model), vocab_size=34, minloglevel=2
    )
    tokenizer = transformers.BertGenerationTokenizer(f"{model}.model")
    tokenizer.save_pretrained(folder / "saved")
    return len(transformers.AutoTokenizer.from_pretrained(folder / "saved")("the quick fox").input_ids)


def tiktoken_tokenizer(folder: Path) -> int:
    import transformers
    from transformers.convert_slow_tokenizer import TikTokenConverter

    ranks = "".join(f"{base64.b64encode(bytes([byte])).decode()} {byte}\n" for byte in range(256))
    (folder / "tokenizer.model").write_text(ranks)
    backend = TikTokenConverter(vocab_file=str(folder / "tokenizer.model")).converted()
    return len(transformers.PreTrainedTokenizerFast(tokenizer_object=backend)("abc").input_ids)


def image_processor(folder: Path) -> int:
    import transformers
    from PIL import Image

    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    return processor(Image.new("RGB", (48, 40)), return_tensors="np").pixel_values.shape[-1]


def feature_extractor(folder: Path) -> int:
    import numpy
    import soundfile
    import transformers

    soundfile.write(folder / "tone.wav", numpy.zeros(16_000), 16_000)
    sound, rate = soundfile.read(folder / "tone.wav")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    return extractor(sound, sampling_rate=rate, return_tensors="np").input_values.shape[-1]


def works(make) -> object:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return make(Path(folder))
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def as_worker(*command: str) -> str:
    worker = pwd.getpwnam("worker")
    done = subprocess.run(
        command, user=worker.pw_uid, group=worker.pw_gid, extra_groups=[], capture_output=True, text=True
    )
    return (done.stdout + done.stderr).strip()


def main() -> None:
    python = sys.executable
    tools = ("cc", "gcc", "g++", "c++", "ld", "as", "make", "cmake", "cargo", "pip", "/opt/venv/bin/pip")
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    found = {
        "process": os.getpid(),
        "directory": str(Path.cwd()),
        "user": os.getuid(),
        "environment": dict(os.environ),
        "worker": pwd.getpwnam("worker").pw_uid,
        "worker runs": as_worker(python, "-I", "-c", "import os, exporter; print(os.getuid())"),
        "worker writes": as_worker(python, "-I", "-c", f"open({str(Path(python).parent / 'x')!r}, 'w')"),
        "tools": [tool for tool in tools if shutil.which(tool, path=path)],
        "git": shutil.which("git", path=path),
        "preprocessors": {
            make.__name__: works(make)
            for make in (sentencepiece_tokenizer, tiktoken_tokenizer, image_processor, feature_extractor)
        },
    }
    import torch

    found["cuda"] = torch.version.cuda
    found["bytecode"] = Path(torch.__cached__).is_file()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
