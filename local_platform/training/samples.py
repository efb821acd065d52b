"""render_samples.jsonl: what the model really sees, for the first rows [P44]."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from local_platform.training.files import append_json_line
from local_platform.training.rows import Rows

LIMIT = 20
RENDERER = "chat_template"
EVERY_ANSWER, LAST_ANSWER = "all_assistant_messages", "last_assistant_message"


def write_samples(rows: Rows, tokenizer: PreTrainedTokenizerFast, path: Path, trained: str = EVERY_ANSWER) -> None:
    """The first examples in file order, as they were tokenised. Both sides of a pair are split 0 and 1 of its row."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("w", encoding="utf-8") as file:
        for index in range(min(LIMIT, len(rows))):
            append_json_line(file, _sample(rows, index, tokenizer) | {"train_on_what": trained})
    temporary.replace(path)


def _sample(rows: Rows, index: int, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    place = slice(int(rows.offsets[index]), int(rows.offsets[index + 1]))
    ids: list[int] = rows.ids[place].tolist()
    weights: list[float] = (rows.trained[place] * float(rows.weights[index])).tolist()
    return {
        "source_jsonl_row_index": int(rows.row[index]),
        "source_jsonl_line_number": int(rows.line[index]),
        "split_index": int((rows.row[:index] == rows.row[index]).sum()),
        "worker_id": 0,
        "renderer": RENDERER,
        "token_ids": ids,
        "decoded_tokens": [tokenizer.decode([token]) for token in ids],
        "token_weights": weights,
        "training_target_token_ids": ids[1:],
        "training_loss_weights": weights[1:],
    }
