"""Tokens whose form leaves no doubt: their issuers publish it so that scanners find them.

The forms are the issuers'; tests/git/test_canaries.py holds them against gitleaks.
No form has an open end: each place of a text costs no more than a form is long.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Of a form, the characters that all its tokens are made of.
_A: Final = "[A-Za-z0-9]"
_W: Final = r"[\w-]"
_X: Final = "[0-9a-fA-F]"
_UUID: Final = f"{_X}{{8}}-{_X}{{4}}-{_X}{{4}}-{_X}{{4}}-{_X}{{12}}"

#: Kind → forms. What stands before a form's first `[`, `(` or `\` is how all its tokens begin.
FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "GitHub token": (
        *(f"gh{kind}_{_A}{{36}}" for kind in "pousr"),
        r"github_pat_\w{60}", r"ghs_\d{1,12}_eyJ[\w-]{30}",
    ),
    "GitLab token": (
        *(f"gl{kind}-{_W}{{20}}" for kind in
          ("pat", "ptt", "dt", "rt", "rtr", "oas", "imt", "ft", "ffct", "soat", "agent")),
        f"glcbt-{_W}{{20}}", "_gitlab_session=[0-9a-z]{32}", f"GR1348941{_W}{{20}}",
    ),
    "Atlassian token": (f"ATATT3{_W}{{60}}", f"ATCTT3{_W}{{60}}", f"ATBB{_A}{{32}}"),
    "Anthropic key": (f"sk-ant-[a-z0-9]{{3,10}}-{_W}{{40}}",),
    "OpenAI key": (
        f"sk-proj-{_W}{{40}}", f"sk-svcacct-{_W}{{40}}", f"sk-admin-{_W}{{40}}",
        f"sk-{_A}{{20}}T3BlbkFJ{_A}{{20}}",
    ),
    "key of a model's provider": (
        f"sk-or-v1-{_X}{{64}}", f"sk-lf-{_UUID}", f"sk-{_A}{{32,64}}(?![\\w-])", f"gsk_{_A}{{40}}",
        f"xai-{_A}{{60}}", f"pplx-{_A}{{40}}", f"hf_{_A}{{34}}", f"api_org_{_A}{{34}}",
        f"r8_{_A}{{37}}", f"nvapi-{_W}{{60}}", f"csk-{_A}{{40}}", f"tvly-{_W}{{30}}",
        f"lsv2_[a-z]{{2}}_{_X}{{32}}", f"pcsk_{_W}{{50}}", f"e2b_{_X}{{40}}", f"fc-{_X}{{32}}",
        f"sk_{_X}{{48}}", f"fw_{_A}{{22}}(?![\\w-])", f"tgp_v1_{_W}{{40}}", f"jina_{_W}{{50}}",
    ),
    "Daytona key": (f"dtn_{_X}{{64}}",),
    "AWS key": (
        *(f"{kind}[A-Z2-7]{{16}}(?![A-Za-z0-9])" for kind in ("AKIA", "ASIA", "ABIA", "ACCA")),
        "ABSK[A-Za-z0-9+/]{100}", f"bedrock-api-key-{_A}{{40}}",
    ),
    "Google key": (
        f"AIza{_W}{{35}}(?![\\w-])", rf"ya29\.{_W}{{30}}", f"GOCSPX-{_W}{{28}}",
    ),
    "Azure key": (
        "AccountKey=[A-Za-z0-9+/]{86}==", "SharedAccessKey=[A-Za-z0-9+/]{43}=",
        r"Q~(?<=[\w~.]{3}[0-9]Q~)[\w~.-]{31}", "SharedSecretValue=[A-Za-z0-9+/]{43}=",
    ),
    "npm token": (f"npm_{_A}{{36}}",),
    "PyPI token": (f"pypi-AgE{_W}{{50}}",),
    "token of a package registry": (
        f"rubygems_{_X}{{48}}", f"cio{_A}{{32}}(?![\\w-])", "CLOJARS_[0-9a-z]{60}",
        "oy2[a-z0-9]{43}(?![A-Za-z0-9])", f"dckr_pat_{_W}{{24}}", f"dckr_oat_{_W}{{24}}",
        f"AKCp{_A}{{60}}", f"cmVmd{_A}{{59}}",
    ),
    "Slack token": (
        rf"xox[abeoprs]-\d{_W}{{15}}", rf"xox[abeoprs]-{_A}{{40}}", rf"xapp-\d-{_W}{{20}}",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w+/]{40}",
    ),
    "token of a messenger": (
        *(rf"{digits}{_W}{{22,24}}\.{_W}{{6}}\.{_W}{{27}}" for digits in
          ("MT", "Mj", "Mz", "ND", "NT", "Nj", "Nz", "OD", "OT")),  # Base64 of a Discord id
        rf":AA(?<=[0-9]{{8}}:AA){_W}{{33}}(?![\w-])",  # Telegram
        rf"discord\.com/api/webhooks/\d{{17,20}}/{_W}{{60}}",
        rf"discordapp\.com/api/webhooks/\d{{17,20}}/{_W}{{60}}",
        rf"webhook\.office\.com/webhookb2/{_UUID}@{_UUID}/IncomingWebhook/{_X}{{32}}",
    ),
    "key of a mail service": (
        r"SG\.[\w=.-]{60}", f"key-{_X}{{32}}(?![\\w-])", f"xkeysib-{_X}{{64}}",
        rf"re_{_A}{{8}}_{_A}{{20}}", f"SK{_X}{{32}}(?![\\w-])",
        r"-us(?<=[0-9a-f]{32}-us)\d{1,2}(?![\w-])",
    ),
    "Stripe key": (
        *(f"{key}_{mode}_\\w{{20}}" for key in ("sk", "rk") for mode in ("live", "test", "prod")),
        f"whsec_{_A}{{32}}",
    ),
    "key of a payment service": (
        f"sq0atp-{_W}{{22}}", f"sq0csp-{_W}{{43}}", f"EAAA{_W}{{40}}",
        r"access_token\$production\$[0-9a-z]{16}\$[0-9a-f]{32}",
        *(f"shp{kind}_{_A}{{32}}" for kind in ("at", "ca", "pa", "ss", "ua")),
        f"rzp_live_{_A}{{14}}", f"FLWSECK-{_A}{{32}}", f"FLWSECK_TEST-{_A}{{12}}",
        f"access-production-{_UUID}", f"access-sandbox-{_UUID}",
        f"access-development-{_UUID}", r"duffel_live_[\w=-]{43}",
        r"duffel_test_[\w=-]{43}", f"EZAK{_A}{{54}}", f"EZTK{_A}{{54}}",
        f"shippo_live_{_X}{{40}}", f"shippo_test_{_X}{{40}}",
    ),
    "token of a cloud": (
        *(f"do{kind}_v1_{_X}{{64}}" for kind in "opr"), rf"v1\.0-{_X}{{24}}-{_X}{{146}}",
        f"HRKU-AA{_W}{{58}}", f"HRKU-{_UUID}", f"fo1_{_W}{{43}}", r"fm2_[\w+/]{100}",
        r"fm1[ar]_[\w+/]{100}", f"nfp_{_A}{{36}}", f"vcp_{_A}{{24}}", f"rnd_{_A}{{32}}",
        f"sbp_{_X}{{40}}", f"sb_secret_{_W}{{20}}", r"pscale_tkn_[\w=.-]{32}",
        r"pscale_oauth_[\w=.-]{32}", r"pscale_pw_[\w=.-]{32}", "napi_[a-z0-9]{60}",
        f"dapi{_X}{{32}}", f"pul-{_X}{{40}}", f"LTAI{_A}{{20}}(?![A-Za-z0-9])",
        f"AKID{_A}{{32}}(?![A-Za-z0-9])", "SCW[A-Z0-9]{17}(?![A-Za-z0-9])",
        f"AQVN{_W}{{35}}", f"sha256~{_W}{{43}}", f"tskey-[a-z]{{3,9}}-{_W}{{20}}",
        rf"sl\.{_W}{{130}}", r"atlasv1\.[\w=-]{60}", f"tk-us-{_W}{{48}}",
        f"4b1d{_A}{{38}}(?![A-Za-z0-9])",
    ),
    "token of a secret store": (
        rf"hvs\.{_W}{{24}}", rf"hvb\.{_W}{{24}}", rf"hvr\.{_W}{{24}}",
        *(rf"dp\.{kind}\.{_A}{{40}}" for kind in ("pt", "ct", "scim", "audit")),
        rf"dp\.st\.(?:[\w-]{{1,35}}\.)?{_A}{{40}}", r"ops_eyJ[A-Za-z0-9+/]{100}",
        r"A3-[A-Z0-9]{6}-[A-Z0-9]{6}-?[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}",
        "AGE-SECRET-KEY-1[0-9A-Z]{58}",
    ),
    "token of a monitoring service": (
        f"glsa_{_A}{{32}}_{_X}{{8}}", r"glc_[A-Za-z0-9+/]{32}", "eyJrIjoi[A-Za-z0-9]{60}",
        r"sntrys_eyJ[\w+/=]{60}", f"sntryu_{_X}{{64}}", "NRAK-[A-Z0-9]{27}", f"NRII-{_W}{{32}}",
        *(rf"dt0{kind}\.{_A}{{24}}\.{_A}{{60}}" for kind in ("c01", "s01", "s16")),
        f"hcaik_{_A}{{58}}",
    ),
    "token of a developer's service": (
        f"lin_api_{_A}{{40}}", f"lin_oauth_{_X}{{64}}", f"ntn_{_A}{{46}}",
        f"secret_{_A}{{43}}(?![A-Za-z0-9])", rf"pat{_A}{{14}}\.{_X}{{64}}", f"figd_{_W}{{38}}",
        f"PMAK-{_X}{{24}}-{_X}{{34}}", r"tfp_[\w=.-]{44}", f"CFPAT-{_W}{{43}}",
        *(rf"pat-{region}-{_UUID}" for region in ("na1", "na2", "eu1")),
        *(f"sq{kind}_{_X}{{40}}" for kind in "upa"), f"bkua_{_X}{{40}}", f"CCIPAT_{_W}{{40}}",
        rf"sgp_{_X}{{40}}", rf"sgp_{_X}{{16}}_{_X}{{40}}", f"sgp_local_{_X}{{40}}",
        rf"sk\.eyJ{_W}{{40}}\.{_W}{{20}}", f"EAAM{_A}{{100}}", f"EAAC{_A}{{100}}",
        rf"pat\.{_W}{{22}}\.{_A}{{24}}\.{_A}{{20}}", rf"sat\.{_W}{{22}}\.{_A}{{24}}\.{_A}{{20}}",
        r"fio-u-[\w=-]{60}", "rdme_[a-z0-9]{70}", f"pnu_{_A}{{36}}", f"ico-{_A}{{32}}(?![\\w-])",
        "API-[A-Z0-9]{26}(?![A-Za-z0-9])", f"p8e-{_A}{{32}}", f"_mmk(?<={_A}{{6}}_{_A}{{29}}_mmk)",
        f"sm_[aps]at_{_A}{{16}}", r"dnkey-[\w=-]{26}-[\w=-]{52}", f"figu_{_W}{{38}}",
        f"sdk-{_UUID}", f"s-s4t2[ua][df]-{_X}{{64}}", f"cfut_{_W}{{40}}", f"lob_live_{_X}{{35}}",
    ),
}  # fmt: skip


class TokenSpan(NamedTuple):
    """What is at text[start:end]."""

    kind: str
    start: int
    end: int


def _prefix(form: str) -> bytes:
    """How all tokens of a form begin."""
    return re.split(r"[\[(\\]", form.replace(r"\.", "."), maxsplit=1)[0].encode()


def _any_of(words: Iterable[bytes]) -> bytes:
    """A form of all the words that looks at each character of a text a few times at most.

    >>> _any_of([b"ghp_", b"gho_", b"sk-"])
    b'(?:g(?:h(?:o(?:_)|p(?:_)))|s(?:k(?:-)))'
    """
    branches: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for word in sorted(words):
        branches[word[:1]].append(word[1:])
    alternatives = (
        re.escape(first) + (b"" if b"" in rest else _any_of(rest))
        for first, rest in branches.items()
    )
    return b"(?:" + b"|".join(alternatives) + b")"


def _by_beginning() -> dict[bytes, list[tuple[str, re.Pattern[bytes]]]]:
    compiled = []
    for kind, forms in FORMS.items():
        for form in forms:
            beginning = _prefix(form)
            # In a database's file, say, the text before a token is another's end.
            is_distinct = "(?<=" in form or (len(beginning) > 3 and beginning.endswith(b"_"))
            boundary = "" if is_distinct else "(?<![A-Za-z0-9])"
            compiled.append((beginning, (kind, re.compile(f"{boundary}{form}".encode()))))
    beginnings = {beginning for beginning, _ in compiled}
    # What begins with another's beginning is found by that.
    return {
        shortest: [form for beginning, form in compiled if beginning.startswith(shortest)]
        for shortest in beginnings
        if not any(shortest != other and shortest.startswith(other) for other in beginnings)
    }


#: Beginning of a token → what it may be.
BY_BEGINNING: Final = _by_beginning()
BEGINNING: Final = re.compile(_any_of(BY_BEGINNING))


def find(text: bytes) -> Iterator[TokenSpan]:
    """The tokens of `text`, placeholders of their form among them; each as far as its form goes."""
    for beginning in BEGINNING.finditer(text):
        for kind, form in BY_BEGINNING[beginning[0]]:
            match = form.match(text, beginning.start())
            if match:
                yield TokenSpan(kind, match.start(), match.end())
