"""One pass over prompts without answers: sizes and repetitions. Keeps numbers per prompt, never text."""

from pathlib import Path

from runner.data.findings import Findings
from runner.data.profile import Profile, estimate_tokens
from runner.data.rows import keys_of, messages_of, read_lines, text_of


def profile_prompts(path: Path, broken: dict[int, str]) -> Profile:
    """The profile; tokens are those of the prompts. Prompts that are equal but for case and punctuation form one group.

    `broken` maps line numbers that the format check refused to its reasons.
    """
    profile, findings, seen = Profile(labelled=False), Findings(), dict[int, int]()
    for line in read_lines(path):
        profile.rows += 1
        messages = messages_of(line.value or {})
        if line.number in broken or not messages or messages[-1].get("role") != "user":
            reason = broken.get(line.number, "does not end with a user message")
            findings.add("broken_row", "error", line.number, reason)
            continue
        group = keys_of({"messages": messages}, sketch=False).group
        if first := seen.get(group):
            findings.add("exact_duplicate", "warning", line.number, f"the same as line {first}")
        seen.setdefault(group, line.number)
        profile.lines.append(line.number)
        profile.groups.append(group)
        profile.tokens.append(estimate_tokens(messages))
        profile.characters += sum(len(text_of(message)) for message in messages)
        profile.turns["multi-turn" if sum(m.get("role") == "user" for m in messages) > 1 else "single-turn"] += 1
    profile.findings = findings.listed()
    return profile
