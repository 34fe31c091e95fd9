"""What is taken for a secret, what is not, and that what is shown has none."""

import pytest

from tasks.core.secret_parts import holds_secret, masked, secrets_in, stands_in_text

GONE = "CAN4RY-xyz"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"http://bob:{GONE}@prefect:4200/api", "http://***@prefect:4200/api"),
        (f"http://bob:{GONE}/x@prefect/api", "http://***@prefect/api"),
        (f"https://{GONE}@host/db", "https://***@host/db"),
        (f"abfs://box@a.dfs.core.windows.net/x?account_key={GONE}&y=1", "abfs://***@a.dfs.core.windows.net/x?account_key=***&y=1"),
        (f"abfs://a/x?sv=1&sig={GONE}", "abfs://a/x?sv=1&sig=***"),
        (f"postgresql://h/db?auth={GONE}", "postgresql://h/db?auth=***"),
        (f"drv://h/?jwt={GONE}", "drv://h/?jwt=***"),
        (f'{{"password": "{GONE}"}}', '{"password": ***}'),
        (f"postgresql://h/db?p%61ssword={GONE}", "postgresql://h/db?password=***"),
        (f"https://s3/x?X-Amz-Signature={GONE}", "https://s3/x?X-Amz-Signature=***"),
    ],
)  # fmt: skip
def test_a_secret_is_known_whatever_its_form(address, shown):
    assert holds_secret(address)
    assert any(GONE in one for one in secrets_in(address))
    assert masked(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:4200/api",
        "./lake",
        "mongodb://h/db?authSource=admin&authMechanism=SCRAM",
        "snowflake://acc/db?authenticator=externalbrowser",
        "data/auth=1/sig=2/x.parquet",
    ],
)
def test_what_is_none_is_shown(address):
    assert not holds_secret(address)
    assert (secrets_in(address), masked(address)) == ([], address)


@pytest.mark.parametrize(
    "text",
    [
        f'PASSWORD = "{GONE}"',
        f"client(api_key='{GONE}')",
        f'connect("host=h user=bob password={GONE}")',
        'aws_secret_access_key = "AKIA/CANARYCANARY"',
        f"# https://a.blob.core.windows.net/x?sig={GONE}",
        f"git+https://{GONE}@github.com/x",
        f'{{"token": "{GONE}"}}',
    ],
)
def test_a_file_gives_a_secret_away(text):
    assert stands_in_text(text)


@pytest.mark.parametrize(
    "text",
    [
        'password = os.environ["WAREHOUSE_PASSWORD_2"]',
        'login(secret="WAREHOUSE_2_URI")',
        "def login(user, password=None, token=default_1): ...",
        "connect(host=h, password=pw1)",
        'f"host={host} password={password}"',
        '"host=%s user=%s password=%s"',
        "TOKEN_COLUMN = 'customer_token'",
        "SELECT token FROM t WHERE secret = :secret_1 AND password = 'none'",
        "https://example.org/@user, mail ann@example.org",
    ],
)
def test_a_program_that_only_names_one_does_not(text):
    assert not stands_in_text(text)
