"""Reads text files, summarises them in parallel, asks, and delivers one report.

`aetheris run digest README.md` takes a file or a folder. The summary is extractive: the
sentences that share most words with the rest of the text, in their own order.
"""

import os
import re
from collections import Counter
from pathlib import Path

from aetheris import NotSent, Refused, agent, current_call, tool

MAX_FILES = 50
MAX_BYTES = 1_000_000
SHORTEST, LONGEST = 5, 60
"""Words of a sentence that can stand in a summary."""
TEXTS = {".md", ".txt", ".rst"}


@tool(effect="pure")
def find_texts(place: str) -> list[str]:
    """List the text files at a path."""
    path = Path(place)
    if path.is_file():
        return [str(path)]
    if not path.is_dir():
        raise Refused(f"there is no file or folder {place}")
    found = sorted(str(one) for one in path.rglob("*") if one.suffix in TEXTS and one.is_file())
    return found[:MAX_FILES]


@tool(effect="pure")
def summarise(file: str, sentences: int) -> dict:
    """Give the sentences of a file that say most of it."""
    text = Path(file).read_bytes()[:MAX_BYTES].decode("utf-8", "replace")
    text = re.sub(r"```.*?```|<!--.*?-->|^[#|>].*?$", " ", text, flags=re.DOTALL | re.MULTILINE)
    found = [one.strip() for one in re.split(r"(?<=[.!?])\s+", " ".join(text.split()))]
    found = [one for one in found if SHORTEST <= len(one.split()) <= LONGEST]
    counts = Counter(word for one in found for word in _words(one))

    def weight(sentence: str) -> float:
        words = _words(sentence)
        return sum(counts[word] for word in words) / (len(words) or 1)

    best = set(sorted(found, key=weight, reverse=True)[:sentences])
    return {"file": file, "summary": [one for one in found if one in best]}


def _words(sentence: str) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", sentence.lower()))


@tool(effect="unsafe")
def deliver(report: str, folder: str) -> dict:
    """Put the report into the outbox: one new file, which is never overwritten."""
    call = current_call()
    outbox = Path(folder)
    target = outbox / f"{call.id}.md"
    try:
        outbox.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(report)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise Refused(f"{target} exists") from error
    except PermissionError as error:
        raise NotSent(str(error)) from error
    return {"delivered": str(target)}


@agent("digest")
async def digest(ctx, message):
    """Digest text files into one report that a person approves."""
    files = await ctx.call(find_texts, place=message or ".")
    if not files:
        return f"no text files in {message}"
    parts = await ctx.gather(
        *(lambda file=file: ctx.call(summarise, file=file, sentences=3) for file in files)
    )
    report = "\n\n".join(
        f"# {part['file']}\n" + "\n".join(f"- {one}" for one in part["summary"]) for part in parts
    )
    decision = await ctx.approval(f"Deliver a report on {len(files)} files?", details=report)
    if not decision.approved:
        return f"not delivered: {decision.comment}"
    found = await ctx.call(deliver, report=report, folder="outbox")
    return found["delivered"]
