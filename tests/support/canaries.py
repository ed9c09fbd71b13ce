"""Made-up secrets in every place that people keep them, and harmless files that look alike.

All values are made as the tests run: this file goes into the image, and is searched like any other.
"""

from __future__ import annotations

import base64
import json
import random
import string
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)

_RANDOM: Final = random.Random(20261125)  # noqa: S311 - the same in each run
_ALNUM: Final = string.ascii_letters + string.digits


def word(length: int, letters: str = _ALNUM) -> str:
    """A random value with letters of both cases and digits."""
    value = "".join(_RANDOM.choice(letters) for _ in range(length - 3))
    return f"{value}7{letters[-1]}{letters[0]}"


def _hex(length: int) -> str:
    return word(length, string.digits + "abcdef")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_RSA: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_EC: Final = ec.generate_private_key(ec.SECP256R1())
_ED25519: Final = ed25519.Ed25519PrivateKey.generate()
_PASSWORD: Final = BestAvailableEncryption(b"pass")


def _der(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, form: PrivateFormat) -> bytes:
    return key.private_bytes(Encoding.DER, form, NoEncryption())


def _pem(form: PrivateFormat) -> str:
    return _RSA.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


_PEM: Final = _pem(PrivateFormat.PKCS8)


def _java_store(tag: int) -> bytes:
    """A JKS file with one entry: 1 is a private key, 2 a certificate."""
    entry = tag.to_bytes(4) + b"\0\5alias" + bytes(8)
    entry += b"\0\5X.509" if tag == 2 else b""
    return b"\xfe\xed\xfe\xed" + b"\0\0\0\2" + b"\0\0\0\1" + entry + b"\0\0\0\4data" + bytes(20)


def _jwt() -> str:
    parts = ({"alg": "HS256"}, {"sub": word(12), "exp": 4_000_000_000})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join(part.rstrip("=") for part in encoded) + "." + word(43)


def _bytes(files: dict[str, str | bytes]) -> dict[str, bytes]:
    return {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}


_LOGIN: Final = _base64(f"ada:{word(14)}")
#: Credential stores, by their usual names.
STORES: Final = _bytes({
    "a/.docker/config.json": f'{{"auths": {{"registry.acme.io": {{"auth": "{_LOGIN}"}}}}}}',
    "a/.kube/config": f"users:\n- user:\n    token: {word(40)}\n",
    "infra/terraform.tfstate": f'{{"outputs": {{"password": {{"value": "{word(12)}"}}}}}}',
    "infra/terraform.tfstate.backup": '{"version": 4}',
    "a/.cargo/credentials.toml": f'[registry]\ntoken = "{word(32)}"\n',
    "a/.vault-token": word(26),
    "a/.envrc": f"use flake\nexport SERVICE_SECRET={word(12)}\n",
    "a/.codex/auth.json": f'{{"OPENAI_API_KEY": "{word(30)}"}}',
    "a/.claude/.credentials.json": f'{{"claudeAiOauth": {{"accessToken": "{word(30)}"}}}}',
    ".mcp.json": json.dumps({"headers": {"Authorization": f"Bearer {word(24)}"}}),
    ".cursor/mcp.json": json.dumps({"env": {"ACME_API_KEY": word(12)}}),
    "sub/.npmrc": f"//npm.acme.io/:_auth={_LOGIN}\n",
    "sub2/.npmrc": f"//npm.acme.io/:_password={_base64(word(9))}\n",
    "a/gcloud/application_default_credentials.json": f'{{"refresh_token": "1//{word(40)}"}}',
    "a/gcloud/credentials.db": b"SQLite format 3\0" + bytes(80),
    "a/.aws/credentials": f"[default]\naws_secret_access_key = {word(40)}\n",
    "a/.aws/config": f"[profile x]\naws_secret_access_key = {word(40)}\n",
    "a/.azure/accessTokens.json": f'[{{"accessToken": "{word(60)}"}}]',
    "a/.azure/msal_token_cache.json": "{}",
    "a/.config/gh/hosts.yml": f"github.com:\n    oauth_token: {word(20)}\n",
    "a/.config/glab-cli/config.yml": f"token: {word(20)}\n",
    "a/pip.conf": f"[global]\nindex-url = https://ada:{word(12)}@pypi.acme.io/simple\n",
    "a/.gem/credentials": f"---\n:rubygems_api_key: {word(20)}\n",
    "a/.bundle/config": f'BUNDLE_GEMS__ACME__IO_TOKEN: "{word(14)}"\n',
    "a/.m2/settings.xml": f"<server><password>{word(12)}</password></server>",
    "a/.gradle/gradle.properties": f"signing.password={word(10)}\nnexusPassword={word(10)}\n",
    "a/auth.json": f'{{"github-oauth": {{"github.com": "{word(20)}"}}}}',
    "b/auth.json": f'{{"http-basic": {{"repo.acme.io": {{"password": "{word(12)}"}}}}}}',
    "a/.netrc": f"machine x login y password {word(10)}",
    "a/.pgpass": f"db:5432:*:ada:{word(10)}",
    "a/.my.cnf": f"[client]\npassword={word(10)}\n",
    "a/.pypirc": f"[pypi]\npassword = {word(10)}\n",
    "a/.s3cfg": f"secret_key = {word(10)}\n",
    "a/.yarnrc.yml": f'npmAuthToken: "{word(20)}"\n',
    "a/bunfig.toml": f'[install.registry]\ntoken = "{word(20)}"\n',
    "a/NuGet.Config": f'<add key="ClearTextPassword" value="{word(10)}" />',
    "a/.config/containers/auth.json": "{}",
    "a/.config/rclone/rclone.conf": f"[x]\npass = {word(22)}\n",
    "a/.terraformrc": f'credentials "x" {{ token = "{word(20)}" }}',
    "infra/prod.tfvars": f'db_password = "{word(12)}"\n',
    "a/.pulumi/credentials.json": "{}",
    "a/.streamlit/secrets.toml": f'key = "{word(8)}"\n',
    "a/.dev.vars": f"KEY={word(9)}\n",
    "a/.htpasswd": f"ada:$apr1${word(20)}",
    "a/.gnupg/private-keys-v1.d/AB.key": b"(private-key x)",
    "a/.bash_history": f"mysql -p{word(8)}\n",
    "k8s/admin.kubeconfig": "apiVersion: v1\n",
    "a/.git-credentials": f"https://ada:{word(12)}@_GITHUB.com\n",
    "a/.local/share/opencode/auth.json": "{}",
    "a/.pi/agent/auth.json": "{}",
    "a/.gemini/oauth_creds.json": "{}",
    "a/credentials.csv": f"User,Access key,Secret access key\nada,{word(20)},{word(40)}\n",
    "a/secrets.yaml": f"db:\n  password: {word(9)}\n",
    "a/local.settings.json": f'{{"Values": {{"AzureSignalRAccessKey": "{word(20)}"}}}}',
})  # fmt: skip


_NAMES: Final = [
    ".env", "e/.env~", "e/.env.bak", "e/.env.swp", "e/#.env#", "e/.env-prod", "e/.env (1)",
    "e/id_rsa.bak", "e/id_ed25519.old", "e/.id_rsa.swp", "e/copy of id_rsa", "e/id_rsa.orig",
    "e/.netrc.save", "e/.aws/credentials~", "e/.kube/config.bak", "e/.env.2026-01-02",
    "e/server.key.bak", "e/store.p12~", "e/.npmrc.un~/.env.swo",
]  # fmt: skip
#: What editors and careful people leave beside a secret.
COPIES: Final = _bytes({name: f"KEY={word(9)}\n" for name in _NAMES}) | _bytes({
    "e/.npmrc~": f"//npm.acme.io/:_authToken={word(20)}\n",
    "e/.npmrc.orig": f"//npm.acme.io/:_authToken={word(20)}\n",
})  # fmt: skip


_PKCS12_STORE: Final = pkcs12.serialize_key_and_certificates(b"n", _RSA, None, None, _PASSWORD)
_ESCAPED: Final = _PEM.replace("\n", "\\n")
_OPENSSH: Final = _ED25519.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
_ED25519_DER: Final = _ED25519.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
_JWK: Final = {"kty": "EC", "crv": "P-256", "x": word(43), "y": word(43), "d": word(43)}
#: Private keys in every form, in files whose names say nothing.
KEYS: Final = _bytes({
    "k/pem.txt": _PEM,
    "k/pkcs1.txt": _pem(PrivateFormat.TraditionalOpenSSL),
    "k/encrypted.txt": _RSA.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, _PASSWORD
    ),
    "k/openssh.txt": _OPENSSH,
    "k/account.json": json.dumps({"type": "service_account", "private_key": _PEM}),
    "k/nested.json": json.dumps({"inner": json.dumps({"private_key": _PEM})}),
    "k/key.go": "const key = `" + _PEM + "`\n",
    "k/key.js": "const key = " + " +\n  ".join(f"'{line}\\n'" for line in _PEM.split("\n")),
    "k/values.yaml": "key: |\n" + "".join(f"    {line}\n" for line in _PEM.split("\n")),
    "k/one-line.yaml": f'key: "{_ESCAPED}"\n',
    "k/secret.yaml": f"data:\n  tls.key: {_base64(_PEM)}\n",
    "k/rsa.der": _der(_RSA, PrivateFormat.TraditionalOpenSSL),
    "k/pkcs8.bin": _der(_RSA, PrivateFormat.PKCS8),
    "k/ec.bin": _der(_EC, PrivateFormat.TraditionalOpenSSL),
    "k/ec8.bin": _der(_EC, PrivateFormat.PKCS8),
    "k/ed.bin": _ED25519_DER,
    "k/encrypted.bin": _RSA.private_bytes(Encoding.DER, PrivateFormat.PKCS8, _PASSWORD),
    "k/store.bin": _PKCS12_STORE,
    "k/java.bin": _java_store(1),
    "k/openpgp.bin": b"\x95\x03\x98\x04" + bytes(4) + b"\x01" + bytes(400),
    "k/tab.bin": b"\x05\x02\x00\x00\x00\x4e\x00\x02" + bytes(60),
    "k/passwords.bin": bytes.fromhex("03d9a29a67fb4bb5") + bytes(60),
    "k/putty.txt": "PuTTY-User-" + f"Key-File-3: ssh-ed25519\nEncryption: none\n{word(40)}\n",
    "k/age.txt": "AGE-SECRET-KEY-1" + word(58, string.ascii_uppercase + "23456789"),
    "k/wg.conf": f"[Interface]\nPrivateKey = {word(43)}=\n",
    "k/jwk.json": json.dumps(_JWK),
    "k/utf16.reg": _PEM.encode("utf-16"),
})  # fmt: skip


_GITHUB: Final = "ghp_" + word(36)
_FILLER: Final = "2026-01-02T03:04:05Z GET /readyz 200 1.2 ms\n" * 28_000
_AWS: Final = "AKIA" + word(16, "ABCDEFGHIJKLMNOP234567").upper()
#: Tokens within other text, in every encoding, beyond the first megabyte, in binary files.
TOKENS: Final = _bytes({
    "t/notes.md": f"use {_GITHUB} for it\n",
    "t/utf16.txt": f"token {_GITHUB}\n".encode("utf-16"),
    "t/utf16be.txt": f"token {_GITHUB}\n".encode("utf-16-be"),
    "t/utf16le.txt": f"token {_GITHUB}\n".encode("utf-16-le"),
    "t/utf32.txt": f"token {_GITHUB}\n".encode("utf-32"),
    "t/bom.txt": f"token {_GITHUB}\n".encode("utf-8-sig"),
    "t/build.log": f"{_FILLER}Authorization: token {_GITHUB}\n{_FILLER}",
    "t/data.sqlite": b"SQLite format 3\0" + bytes(6000) + b"\x17x" + _GITHUB.encode() + b"\0\1",
    "t/module.pyc": b"\xcb\r\r\n" + bytes(12) + b"\xfa\x28" + _GITHUB.encode() + bytes(9),
    "t/encoded.yaml": f"data:\n  token: {_base64(_GITHUB)}\n",
    "t/url.txt": f"https://{_GITHUB}@_GITHUB.com/acme/x.git\n",
    "t/dsn.py": f'DSN = "postgres://app:{word(12)}@db.acme.io/app"\n',
    "t/jwt.txt": f"Cookie: session={_jwt()}\n",
    "t/aws.ts": f"const id = '{_AWS}'\n",
    "t/secret.ts": f"const secretAccessKey = '{word(40)}'\n",
    "t/app.yml": f"spring:\n  datasource:\n    password: {word(20)}\n",
    "t/settings.py": f'SECRET_KEY = "{word(50)}"\n',
    "t/slack.sh": f"curl https://hooks.slack.com/services/T{word(8)}/B{word(8)}/{word(24)}\n",
    "t/curl.sh": f'curl -H "Authorization: Bearer {word(32)}" https://acme.io\n',
    "t/flags.sh": f"deploy --api-token {word(32)}\n",
    "t/anthropic.txt": "sk-ant-" + "api03-" + word(95),
    "t/openai.txt": "sk-" + "proj-" + word(80),
    "t/stripe.rb": "Stripe.api_key = 'sk_" + f"live_{word(24)}'\n",
    "t/telegram.js": f"bot('1234567890:A{'A'}{word(33)}')\n",
    "t/sendgrid.txt": f"SG.{word(22)}.{word(43)}",
    "t/azure.txt": f"DefaultEndpointsProtocol=https;AccountKey={word(86)}==\n",
    "t/google.txt": "AI" + f"za{word(35)}\n",
    "t/hf.txt": "hf_" + word(34),
    "t/dotted.properties": f"acme.client.secret={word(24)}\n",
})  # fmt: skip


#: Paths and contents, each of which no image may hold.
CANARIES: Final = {**STORES, **COPIES, **KEYS, **TOKENS}


_PUBLIC: Final = _RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
_PUBLIC_SSH: Final = _ED25519.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
_PUBLIC_DER: Final = _RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
_BEGIN: Final = "-----BEGIN PRIVATE KEY-----"
_HASHES: Final = "".join(f'  integrity: "sha512-{word(86)}=="\n' for _ in range(40))
_EXPIRED: Final = {"alg": "HS256"}, {"sub": word(12), "exp": 1_500_000_000}
_OLD_JWT: Final = ".".join(
    base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in _EXPIRED
)
#: Paths and contents that hold no secret.
LOOKALIKES: Final = _bytes({
    ".env.example": "TOKEN=\n", "x/.env.sample": "TOKEN=your-token\n", "x/env.d.ts": "x\n",
    "x/example.env": "TOKEN=changeme\n", "x/.env.example~": "TOKEN=\n",
    ".npmrc": "//registry.npmjs.org/:_authToken=${NPM_TOKEN}\nalways-auth=true\n",
    "x/.npmrc": "auth-type=legacy\nregistry=https://npm.acme.io/\n",
    "x/y/.npmrc": "//npm.acme.io/:_authToken=…\n",
    "x/z/.npmrc": "//npm.acme.io/:_authToken=<your token here>\n_auth=xxxxxxxxxxxx\n",
    "docs/npm.md": "Write `//registry.npmjs.org/:_authToken=xxxxxxxxxxxxxxxxxxxx` there.\n",
    "docs/dots.md": "`npm config set //npm.acme.io/:_authToken=...`\n",
    "test/ini.rs": '"//registry.npmjs.org/:_authToken=my-token-123"\n',
    "test/scope.rs": '"//npm.acme.io/:_authToken=path-scoped-token"\n',
    "test/basic.ts": "'//npm.acme.io/:_auth=Zm9vOmJhcg=='\n",
    "test/auth.ts": "const headers = { authorization: 'Bearer my-secret-token' }\n",
    "x/.docker/config.json": '{"credsStore": "desktop", "auths": {}}',
    "x/.yarnrc.yml": 'npmAuthToken: "${NPM_TOKEN:-}"\nnodeLinker: node-modules\n',
    "x/settings.xml": "<server><password>${env.MAVEN_PASSWORD}</password></server>",
    "x/gradle.properties": "org.gradle.jvmargs=-Xmx2g\nsigning.keyId=\na.b=true\n",
    "x/.envrc": "use flake\nsource_up\nexport KUBECONFIG=$PWD/kube\nexport TOKEN=$(pass x)\n",
    "x/pip.conf": "[global]\nindex-url = https://pypi.acme.io/simple\n",
    "x/locales/auth.json": '{"password": "Password", "token": "Token"}',
    "x/secrets.yaml": "password: {{ .Values.password }}\ntoken: <sealed>\n",
    "x/dev.tfvars": 'region = "eu-west-1"\ndb_password = ""\n',
    ".vscode/mcp.json": '{"headers": {"Authorization": "Bearer ${input:token}"}}',
    "x/mcp.json": '{"env": {"API_KEY": "YOUR_API_KEY"}}',
    "x/id_rsa.pub": _PUBLIC_SSH, "x/public.pem": _PUBLIC, "x/public.der": _PUBLIC_DER,
    "x/trust.bin": _java_store(2), "android/app/debug.keystore": _java_store(2),
    "docs/pem.md": f"{_BEGIN}\n...\n-----END PRIVATE KEY-----\n",
    "docs/pem2.md": f"{_BEGIN}\nMIIEvQIBADANBg…\n", "docs/pem3.md": f"grep -- '{_BEGIN}' *\n",
    "docs/aws.md": "AKIA" + "IOSFODNN7EXAMPLE, wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY\n",
    "docs/github.md": f"ghp_{'x' * 36} or ghp_{'0' * 36}\n",
    "docs/slack.md": "SLACK_TOKEN=xoxb-your-token-goes-here-please\n",
    "docs/stripe.md": "sk_" + "test_4eC39HqLyjWDarjtT1zdp7dc, pk_" + f"live_{word(24)}\n",
    "docs/urls.md": "postgres://user:password@localhost/db redis://:secret@127.0.0.1:6379\n",
    "docs/urls2.md": "https://user:pass1234@example.com/x http://a:b@c.invalid\n",
    "docs/jwt.md": f"{_OLD_JWT}.{word(43)}\n",
    "compose.yml": "POSTGRES_PASSWORD: postgres\nDB_PASSWORD: ${DB_PASSWORD:?missing}\n",
    "ci.yml": "token: ${{ secrets.GITHUB_TOKEN }}\nNODE_AUTH_TOKEN: ${{ secrets.NPM }}\n",
    "src/config.ts": "const apiKey = process.env.API_KEY_OF_SERVICE_2!\nlet token = get()\n",
    "src/names.ts": "export const accessTokenCookieName2 = 'acme_access_token_v2'\n",
    "src/enum.go": "const PasswordResetToken2FA = iota\nvar token = tokenFromRequest2(r)\n",
    "pnpm-lock.yaml": _HASHES,
    "src/uuid.ts": "const id = '6f1a3c52-9c1e-4b7a-8d2f-0a1b2c3d4e5f'\n",
    "sums.txt": "".join(f"{_hex(64)}  file{number}.tar.gz\n" for number in range(40)),
    "x/hosts.yml": "all:\n  hosts:\n    web1:\n", "src/key.ts": f"cacheKey: '{word(32)}'\n",
    "src/token.css": ":root { --token-color-primary-500: #0a1b2c3d; }\n",
    "image.svg": f'<image href="data:image/png;base64,{_base64(word(300))}"/>\n',
    "src/csv.ts": "nextPageToken: undefined, pageTokenSize2: 100\n",
})  # fmt: skip
