"""Which values of arguments and variables are taken for credentials, and what is left of texts that hold them."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tftrainer.messages.contract import Failure, Reason
from tftrainer.withholding import MARKER, Plain, arguments_without, is_credential, variable_without

VALUE = "9f2c1d7ab3e84c55"
CREDENTIALS = [
    "WANDB_API_KEY",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "GITHUB_TOKEN",
    "GITHUB_PAT",
    "DB_PASSWORD",
    "PGPASSWORD",
    "MYSQL_PWD",
    "MYSQL_PASS",
    "DBPASSWORD",
    "PASSWD",
    "SECRET",
    "CLIENT_SECRET",
    "SECRET_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_KEY",
    "AZURE_CLIENT_SECRET",
    "CREDENTIALS",
    "SERVICE_CREDENTIAL",
    "COMET_API_KEY",
    "NEPTUNE_API_TOKEN",
    "SENTRY_DSN",
    "API_KEY_1",
    "TOKEN2",
    "API_KEY_PROD",
    "SSH_PRIVATE_KEY",
    "apiKey",
    "accessToken",
    "api-key",
    "logger.api_key",
    "token",
    "password",
    "wandb.token",
    "ACCESS_TOKEN",
    "SLACK_SAS",
    "AZURE_STORAGE_CONNECTION_STRING",
    "passphrase",
]
NONE = [
    "MAX_TOKENS",
    "TOKENIZERS_PARALLELISM",
    "TOKEN_COUNT",
    "num_token",
    "eos_token",
    "pad-token",
    "BOS_TOKEN",
    "tokenizer.pad_token",
    "PWD",
    "OLDPWD",
    "PATTERN",
    "KEYS",
    "use_auth_token",
    "no_password",
    "TF_CPP_MIN_LOG_LEVEL",
    "EPOCHS",
    "PASSES",
    "SECRET_NAME",
    "WANDB_PROJECT",
    "PASSWORD_FILE",
    "MONKEY",
    "KEYBOARD",
    "label_key",
    "AWS_REGION",
    "COMPASS",
    "bypass",
    "forward_pass_count",
    "DESIGN_PATTERN",
    "has_password",
    "API_KEY_FILE",
]


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_name_that_speaks_of_a_credential_withholds_the_value_wherever_it_stands(name: str) -> None:
    assert variable_without(name, VALUE) == MARKER
    assert arguments_without([f"--{name}={VALUE}", f"{name}={VALUE}", f"--{name}", VALUE, "--epochs", "3"]) == (
        f"--{name}={MARKER}",
        f"{name}={MARKER}",
        f"--{name}",
        MARKER,
        "--epochs",
        "3",
    )


@pytest.mark.parametrize("name", NONE)
def test_a_name_that_only_resembles_one_keeps_its_value(name: str) -> None:
    assert not is_credential(name, "some_value")
    assert arguments_without([f"--{name}=some_value", f"--{name}", "some_value"])[0] == f"--{name}=some_value"


@pytest.mark.parametrize("value", ["", "true", "False", "0", "none", "${inputs.token}/file", "${bucket}/tokens.txt"])
def test_a_switch_or_a_place_is_no_credential(value: str) -> None:
    assert variable_without("HF_TOKEN", value) == value
    assert arguments_without(["--token", value]) == ("--token", value)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgres://user:CANARY@host/db", f"postgres://user:{MARKER}@host/db"),
        ("postgresql+psycopg2://user:p@ss/CANARY@host:5432/db?x=1", f"postgresql+psycopg2://user:{MARKER}@host:5432/db?x=1"),
        ("redis://:CANARY@cache:6379/0", f"redis://:{MARKER}@cache:6379/0"),
        ("https://CANARYCANARYCANARY@git.example.com/x.git", f"https://{MARKER}@git.example.com/x.git"),
        ("https://example.com/x?api_key=CANARY&epochs=3", f"https://example.com/x?api_key={MARKER}&epochs=3"),
        ("https://example.com/x?X-Amz-Signature=CANARY&a=1", f"https://example.com/x?X-Amz-Signature={MARKER}&a=1"),
        ("https://blob.example.com/x?sv=1&sig=CANARY%3D", f"https://blob.example.com/x?sv=1&sig={MARKER}"),
        ('{"api_key": "CANARY", "epochs": 3}', f'{{"api_key": "{MARKER}", "epochs": 3}}'),
        ("user=me,password=CANARY,epochs=3", f"user=me,password={MARKER},epochs=3"),
        ("Authorization: Bearer CANARY0123456789", f"Authorization: {MARKER} {MARKER}"),
        ("hf_CANARYCANARYCANARY", MARKER),
        ("AccountName=x;AccountKey=CANARY==;Suffix=y", f"AccountName=x;AccountKey={MARKER};Suffix=y"),
        ("-----BEGIN RSA PRIVATE KEY-----\nCANARY\n-----END RSA PRIVATE KEY-----\n", f"{MARKER}\n"),
        ("-----BEGIN PRIVATE KEY-----\nCANARY\n", MARKER),
    ],
)
def test_what_is_a_credential_in_any_text_is_withheld_and_the_rest_stays(text: str, left: str) -> None:
    assert variable_without("SETTINGS", text) == left
    assert arguments_without([text]) == (left,)


@pytest.mark.parametrize(
    "text",
    [
        "http://host:8080/x@y",
        "http://host:8080",
        "s3://bucket/key@2",
        "https://example.com/a:b@c",
        "me@example.com",
        "--user=me@example.com",
        "--lr=1e-3",
        "--sep=:",
        "a:b=c",
        "basic training",
        "--mirror=https://user@example.com/",
        "--monkey=key",
        "--password-file=/run/x",
    ],
)
def test_addresses_and_options_without_a_credential_stay_as_they_are(text: str) -> None:
    assert arguments_without([text]) == (text,)


def test_the_word_after_an_option_is_withheld_unless_it_is_an_option_itself() -> None:
    assert arguments_without(["--password", "-starts-with-dash", "--token", "--epochs", "3"]) == (
        "--password",
        MARKER,
        "--token",
        "--epochs",
        "3",
    )


def test_a_value_that_is_withheld_once_is_withheld_in_every_other_text() -> None:
    plain = Plain.of(["--db", "postgres://me:hunter2@db/x"], {"HF_TOKEN": "correct horse"}, ["from a Secret"])
    failure = Failure(
        reason=Reason.SCRIPT_RAISED,
        message="login as me with hunter2 failed",
        exception="ValueError: correct horse",
        traceback="x = 'from a Secret'\n",
    )
    assert plain.without_in(failure) == Failure(
        reason=Reason.SCRIPT_RAISED,
        message=f"login as me with {MARKER} failed",
        exception=f"ValueError: {MARKER}",
        traceback=f"x = '{MARKER}'\n",
    )


def test_a_failure_at_its_bounds_keeps_to_them_although_the_marker_is_longer() -> None:
    failure = Failure(reason=Reason.SCRIPT_RAISED, message="hunter2" * 142)
    assert len(Plain.of((), {}, ["hunter"]).without_in(failure).message) == 1024


def test_short_words_are_not_looked_for_in_other_texts() -> None:
    assert Plain.of((), {"PASSWORD": "x"}).without("an x stays") == "an x stays"


WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@given(st.lists(WORDS, max_size=8))
def test_arguments_keep_their_number_and_nothing_is_withheld_twice(arguments: list[str]) -> None:
    once = arguments_without(arguments)
    assert len(once) == len(arguments)
    assert arguments_without(once) == once


@given(
    st.sampled_from(["--password={}", "--api-key={}", "postgres://me:{}@db.example.com/x", "token={}"]),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789!$%^*()_+-~@/.", min_size=8, max_size=40).filter(
        # In an address, digits before a slash are a port.
        lambda text: not re.match(r"\d{1,5}/", text)
    ),
)
def test_no_canary_survives_whatever_stands_around_it(form: str, noise: str) -> None:
    middle = len(noise) // 2
    secret = f"{noise[:middle]}CANARY{noise[middle:]}"
    arguments = [form.format(secret)]
    assert "CANARY" not in "".join(arguments_without(arguments))
    assert "CANARY" not in Plain.of(arguments).without(f"the script said: {arguments[0]} is wrong")


@pytest.mark.parametrize(
    "text", ["a:" * 1024, "a=" * 1024, "://:" * 512, "x://" + "a:" * 999, "-----BEGIN PRIVATE KEY-----" * 70, "=:" * 999]
)
def test_no_argument_takes_long(text: str) -> None:
    started = time.process_time()
    arguments_without([text] * 4)
    Plain.of([text] * 4).without(text)
    assert time.process_time() - started < 1
