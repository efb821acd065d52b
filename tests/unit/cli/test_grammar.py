import pytest

from cli.grammar import normalise


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("user list", "user list"),
        ("list users", "user list"),
        ("list user", "user list"),
        ("users list", "user list"),
        ("get supervised-fine-tuning-job j", "sftj get j"),
        ("list supervised-fine-tuning-jobs --filter x", "sftj list --filter x"),
        ("create dpo-job --dataset d", "dpoj create --dataset d"),
        ("list dpojs", "dpoj list"),
        ("list evaluators", "evaluator list"),
        ("create evj --evaluator e", "evaluation-job create --evaluator e"),
        ("create session -n hi", "session create -n hi"),
        ("create api-key --key-name k", "api-key create --key-name k"),
        ("dataset create -a acct id file", "-a acct dataset create id file"),
        ("dataset list --account-id=acct", "--account-id=acct dataset list"),
        ("list datasets -aacct --api-key k -p dev", "-aacct --api-key k -p dev dataset list"),
        ("session create -h", "session create -h"),
        ("whoami", "whoami"),
        ("session get -- -a", "session get -- -a"),
        ("list", "list"),
        ("", ""),
    ],
)
def test_both_grammars_and_global_flags_anywhere(typed: str, meant: str):
    assert normalise(typed.split()) == meant.split()
