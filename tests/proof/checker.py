"""The independent checker: judges a run by its records alone.

It imports nothing but the standard library and none of our code. It reads
  - the witness log: one JSON object a line: call_id, attempt, epoch, args, effect
  - the acks: one JSON object a line, written by the client: {"acked": "submit", "job": ID} …
  - the history of each job as `aetheris trace JOB -o jsonl` prints it
and gives the list of broken rules. Usage: python checker.py WITNESS ACKS HISTORY...
"""

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

ENDS = {"job.succeeded", "job.failed", "job.cancelled"}
CLOSED = {"call.succeeded", "call.failed"}


def lines(path):
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines() if line]


def canonical_digest(args):
    text = json.dumps(args, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def check_chain(job, events, broken):
    prev = hashlib.sha256(f"aetheris:1:{job}".encode()).hexdigest()
    for at, event in enumerate(events, start=1):
        if event["seq"] != at:
            broken.append(f"{job}: event {at} has seq {event['seq']}")
            return
        if event["prev"] != prev:
            broken.append(f"{job}: event {at} does not continue the chain")
            return
        prev = event["hash"]


def check_job(job, events, broken):
    check_chain(job, events, broken)
    epoch, ended, cancelled = 0, None, False
    doubtful = {}
    decisions = Counter()
    for event in events:
        kind, step = event["type"], event["step"]
        if event["epoch"] < epoch:
            broken.append(f"{job}: the epoch falls at {event['seq']}")
        epoch = event["epoch"]
        if ended and kind not in {"call.settled", "call.evidence"}:
            broken.append(f"{job}: {kind} after {ended}")
        if kind in ENDS:
            ended = kind
            cancelled = cancelled or kind == "job.cancelled"
        if kind == "call.intended":
            if cancelled:
                broken.append(f"{job}: an intent after the cancel, at {event['seq']}")
            if step in doubtful:
                broken.append(f"{job}: call {step} left in_doubt by nobody's order")
        if kind == "call.in_doubt":
            doubtful[step] = event
        if kind == "call.settled":
            if not event["actor"] and not event["data"].get("rule"):
                broken.append(f"{job}: call {step} was settled by nobody")
            doubtful.pop(step, None)
        if kind in CLOSED and step in doubtful:
            broken.append(f"{job}: call {step} left in_doubt without a settlement")
        if kind == "approval.decided":
            decisions[step] += 1
            if decisions[step] > 1:
                broken.append(f"{job}: approval {step} was decided twice")


def check_effects(effects, histories, broken):
    per_call = {}
    for effect in effects:
        per_call.setdefault(effect["call_id"], []).append(effect)
    for call, seen in per_call.items():
        job, _, step = call.partition(".")
        events = [event for event in histories.get(job, []) if event["step"] == step]
        described = next((event["data"] for event in events if event["data"].get("tool")), {})
        kind = described.get("effect", seen[0].get("effect"))
        if kind == "pure":
            continue
        intents = {
            (event["data"].get("n", 1), event["epoch"])
            for event in events
            if event["type"] == "call.intended"
        }
        digest = described.get("digest", "").removeprefix("sha256:")
        for effect in seen:
            if (effect["attempt"], effect["epoch"]) not in intents:
                broken.append(
                    f"{call}: an effect of attempt {effect['attempt']} in epoch "
                    f"{effect['epoch']} has no intent"
                )
            if digest and canonical_digest(effect["args"]) != digest:
                broken.append(f"{call}: the effect has other arguments than the intent")
        if kind in {"unsafe", "probe"}:
            ordered = sum(
                event["type"] == "call.settled" and event["data"].get("verdict") == "did_not_happen"
                for event in events
            )
            if len(seen) > 1 + ordered:
                broken.append(f"{call}: {len(seen)} effects, {ordered} repeats were ordered")
        if kind == "key" and len({effect["key"] for effect in seen}) > 1:
            broken.append(f"{call}: resent under another key")


def check_acks(acks, histories, broken):
    for ack in acks:
        events = histories.get(ack["job"])
        if not events:
            broken.append(f"{ack['job']}: {ack['acked']} was acknowledged and the job is gone")
            continue
        kinds = {event["type"] for event in events}
        wanted = {
            "submit": "job.submitted",
            "approve": "approval.decided",
            "cancel": "job.cancelled",
            "settle": "call.settled",
        }.get(ack["acked"])
        if wanted and wanted not in kinds:
            broken.append(f"{ack['job']}: {ack['acked']} was acknowledged and is not recorded")


def check(witness, acks, histories):
    """Give the broken rules. `histories`: job id -> events."""
    broken = []
    for job, events in histories.items():
        check_job(job, events, broken)
    check_effects(witness, histories, broken)
    check_acks(acks, histories, broken)
    return broken


def main(witness, acks, *histories):
    found = {}
    for path in histories:
        events = [event for event in lines(path) if event["type"] != "end"]
        if events:
            found[events[0]["job_id"]] = events
    broken = check(lines(witness), lines(acks), found)
    for one in broken:
        print(one)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
