#!/usr/bin/env python3
"""Coverage-guided fuzzing of what reads dumps and recordings: a try that finds a new line is kept.

    pip install atheris
    python tests/fuzz/guided.py dump --seconds 120
    python tests/fuzz/guided.py recording --seconds 120 --corpus out/fuzz/recording

Readers: dump (level-10 dumps of FlashInfer), template (definitions that its tracer dumped),
recording (frames of the recorder, with right checksums). What a reader refuses is an error of ours
or a line of its report; anything else, and a write outside, ends the run with the input in a file
crash-* of the working folder. Not part of the tests: theirs changes files at random.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(Path(__file__).parent)]

from kernelkit import cli  # noqa: E402
from kernelkit.errors import MissingDependencyError  # noqa: E402

Reader = Callable[[bytes], None]
TIMEOUT_S, MEMORY_MB = 20, 4096
KINDS = "HAFRECB"  # of frames


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("reader", choices=READERS, help="what is fuzzed")
    parser.add_argument("--seconds", type=cli.seconds, default=60.0, help="(default: 60)")
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="keep what found new lines there"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz; libFuzzer ends the process, with 77 where it found something."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> None:
    try:
        import atheris
    except ImportError:
        raise MissingDependencyError(
            "fuzzing by coverage needs atheris", next_step="pip install atheris"
        ) from None
    with atheris.instrument_imports(include=["kernelkit.capture", "kernelkit.dataset"]):
        make, seeds = READERS[args.reader]
        work = Path(tempfile.mkdtemp(prefix="kernelkit-fuzz-"))
        reader = make(work)
    corpus = args.corpus or work / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
        reader(seed)
    words = work / "words.txt"
    words.write_text("".join(f'"{word}"\n' for word in _words(seeds())))
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-max_total_time={args.seconds:.0f}", f"-timeout={TIMEOUT_S}",
         f"-rss_limit_mb={MEMORY_MB}", f"-dict={words}", "-max_len=16384", "-print_final_stats=1"],
        reader,
    )  # fmt: skip
    atheris.Fuzz()


def _words(seeds: Iterator[bytes]) -> list[str]:
    """The names in the samples: what a mutation of letters would not find."""
    return sorted({w.decode() for seed in seeds for w in re.findall(rb"[A-Za-z_.]{3,40}", seed)})


def _dump(work: Path) -> Reader:
    import test_fuzz_records as records

    root, sanitized = work / "dump", _sanitizer(work)

    def read(data: bytes) -> None:
        """Three lines are the metadata of three calls, the rest is the tensors of the second."""
        *texts, blob = (data.split(b"\n", 3) + [b""] * 3)[:4]
        for number, text in enumerate(texts, start=1):
            records._call(root, text, blob if number == 2 else None, number)
        sanitized(root)
        assert len(list(root.rglob("*"))) == 7  # three folders, their metadata, one blob

    return read


def _dump_seeds() -> Iterator[bytes]:
    import test_fuzz_records as records

    lines = [json.dumps(one).encode() for one in (records.RECORD, records.PLAN, records.RUN)]
    for count in (3, 2, 1):
        yield b"\n".join([*lines[:count], *[b""] * (3 - count), records.PLAN_BLOB])


def _recording(work: Path) -> Reader:
    import test_fuzz_records as records

    from kernelkit.capture.frames import FrameWriter

    root, sanitized = work / "recording", _sanitizer(work)
    root.mkdir()
    file = root / "a.kkrec"

    def read(data: bytes) -> None:
        file.unlink(missing_ok=True)
        writer = FrameWriter(file)
        for kind, payload in _frames(data):
            writer.add(kind, payload)
        writer.close()
        records.refused_or_read(lambda: records._read_all(file))
        sanitized(root)
        assert [path.name for path in root.iterdir()] == ["a.kkrec"]

    return read


def _frames(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Frames from bytes: a kind, two bytes of length, the payload."""
    while len(data) >= 3:
        length = int.from_bytes(data[1:3], "little")
        yield KINDS[data[0] % len(KINDS)], data[3 : 3 + length]
        data = data[3 + length :]


def _recording_seeds() -> Iterator[bytes]:
    import test_fuzz_records as records

    from kernelkit.capture.frames import FrameReader

    frames = [(frame.kind, frame.payload) for frame in FrameReader(records.RECORDING)][:40]
    assert {kind for kind, _ in frames} <= set(KINDS)
    small = [(kind, payload) for kind, payload in frames if len(payload) < 1 << 16]
    for count in (4, len(small)):
        yield b"".join(
            bytes([KINDS.index(kind)]) + len(payload).to_bytes(2, "little") + payload
            for kind, payload in small[:count]
        )


def _template(work: Path) -> Reader:
    from hostile import refused_or_read

    from kernelkit.capture.normalize import normalizer, raw

    folder = work / "template"
    folder.mkdir()

    def read(data: bytes) -> None:
        (folder / "dump.json").write_bytes(data)
        dumps = [one for one in raw.read(raw.find(folder)) if isinstance(one, raw.RawDump)]

        def normalized() -> None:
            for one in normalizer.normalize(dumps, normalizer.Source(), folder):
                json.dumps(one.as_dict()), one.as_text()

        refused_or_read(normalized)
        assert [path.name for path in folder.iterdir()] == ["dump.json"]

    return read


def _template_seeds() -> Iterator[bytes]:
    from fuzz_samples import DOCUMENTS

    tags = {"tags": ["fi_api:flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper.run"]}
    yield json.dumps({**DOCUMENTS["definition"], **tags}).encode()
    yield json.dumps({
        "name": "rmsnorm_h128", "op_type": "rmsnorm", "tags": ["fi_api:flashinfer.norm.rmsnorm"],
        "axes": {"batch_size": {"type": "var"}, "hidden_size": {"type": "const", "value": 128}},
        "inputs": {"hidden_states": {"shape": ["batch_size", "hidden_size"], "dtype": "bfloat16"},
                   "weight": {"shape": ["hidden_size"], "dtype": "bfloat16"},
                   "eps": {"shape": None, "dtype": "float32", "value": 1e-6}},
        "outputs": {"output": {"shape": ["batch_size", "hidden_size"], "dtype": "bfloat16"}},
        "constraints": [], "reference": "def run(hidden_states, weight, eps):\n    return weight\n",
    }).encode()  # fmt: skip


def _sanitizer(work: Path) -> Callable[[Path], object]:
    """What turns a folder of dumps or recordings into workloads, nothing written."""
    import test_fuzz_records as records
    from hostile import refused_or_read

    from kernelkit.capture.sanitize.pipeline import Settings, sanitize

    dataset = records.definitions_of_the_samples(work / "dataset")
    definitions = list(dataset.definitions().values())
    asked = Settings(dry_run=True, accept_incomplete=True)
    return lambda folder: refused_or_read(lambda: sanitize(folder, dataset, definitions, asked))


READERS: dict[str, tuple[Callable[[Path], Reader], Callable[[], Iterator[bytes]]]] = {
    "dump": (_dump, _dump_seeds),
    "recording": (_recording, _recording_seeds),
    "template": (_template, _template_seeds),
}


if __name__ == "__main__":
    raise SystemExit(main())
