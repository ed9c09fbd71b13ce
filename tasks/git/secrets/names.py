"""Files that are secrets by their names: environment files, keys, the credential stores of clouds,
clusters, containers, package managers and agents; and the copies that editors make of them.

Names are compared in lower case. A form with a slash is the end of a path.
"""

from __future__ import annotations

import functools
import re
from fnmatch import fnmatchcase, translate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What it is → names of files that hold nothing else, whatever their content is.
NAMES: Final[Mapping[str, str]] = {
    "environment file": """
        .env .env.* *.env .env-* .env_* .dev.vars .dev.vars.* .env~*""",
    "credentials": """
        .netrc _netrc .authinfo .git-credentials .pgpass pgpass.conf .my.cnf .mylogin.cnf .pypirc
        .s3cfg .boto .passwd-s3fs .htpasswd .dockercfg .vault-token .vault_token .vault_pass
        .vault-pass .vault_password .vault_pass.txt .ansible_vault_pass* .consul-token .nomad-token
        .smbcredentials .fetchmailrc .msmtprc .cvspass .databrickscfg .sentryclirc .terraformrc
        terraform.rc credentials.tfrc.json kaggle.json .modal.toml .erlang.cookie .xauthority
        application_default_credentials.json access_tokens.db accesstokens.json oauth_creds.json
        msal_token_cache.* service_principal_entries.* .credentials.json kubeconfig kubeconfig.y*ml
        *.kubeconfig *.kubeconfig.y*ml rclone.conf sftp-config.json .ftpconfig filezilla.xml
        sitemanager.xml recentservers.xml logins.json cookies.sqlite chap-secrets credentials
        credentials.csv rootkey.csv *accesskeys.csv
        .aws/sso/cache/*.json .aws/cli/cache/*.json .azure/*token* gcloud/credentials.db
        gcloud/legacy_credentials/* gcloud/legacy_credentials/*/* .kube/config .kube/*config
        .kube/config.* .kube/cache/oidc-login/* .kube/*.conf containers/auth.json .oci/config
        .cargo/credentials.toml .gem/credentials.y*ml .composer/auth.json composer/auth.json
        .m2/settings-security.xml pypoetry/auth.toml uv/credentials/*.toml .bundle/credentials*
        gh/hosts.yml gh/hosts.yaml glab-cli/config.yml .config/hub doctl/config.yaml
        hcloud/cli.toml scw/config.yaml linode-cli .pulumi/credentials.json .fly/config.yml
        netlify/config.json .netlify/config.json com.vercel.cli/auth.json .vercel/auth.json
        .wrangler/config/default.toml .supabase/access-token .railway/config.json .circleci/cli.yml
        configstore/firebase-tools.json .travis/config.yml .huggingface/token huggingface/token
        huggingface/stored_tokens .streamlit/secrets.toml .snowflake/connections.toml
        .snowsql/config .dbt/profiles.yml argocd/config helm/registry/config.json .mc/config.json
        .cloudflared/*.json .codex/auth.json .claude/credentials.json
        opencode/auth.json .opencode/auth.json .pi/auth.json .pi/agent/auth.json
        github-copilot/hosts.json github-copilot/apps.json .codeium/config.json goose/secrets.yaml
        amp/secrets.json .factory/auth.json .cursor/auth.json .gemini/.env* .config/op/config
        .subversion/auth/*/* .ssh/identity .step/secrets/* etc/shadow etc/gshadow .msf4/*.yml""",
    "private key": """
        id_rsa id_dsa id_ecdsa id_ed25519 id_ecdsa_sk id_ed25519_sk id_xmss *_rsa *_dsa *_ecdsa
        *_ed25519 ssh_host_*_key *.ppk .gnupg/private-keys-v1.d/* secring.gpg *.agekey
        solana/id.json""",
    "key file": """
        *.p12 *.pfx *.jks *.keystore *.kdbx *.kdb *.key *.bks *.keytab krb5cc_* *.keychain
        *.keychain-db key3.db key4.db""",
    "state of Terraform": "*.tfstate *.tfstate.* *.tfstate-*",
    "history of a shell": """
        .bash_history .zsh_history .sh_history .fish_history fish/fish_history .psql_history
        .mysql_history .sqlite_history .python_history .node_repl_history .rediscli_history
        .irb_history""",
}
#: Configuration that holds credentials or none: its content decides, and needs less to be one.
STORES: Final = """
    .envrc .envrc.* .npmrc npmrc .yarnrc .yarnrc.yml bunfig.toml .bunfig.toml pip.conf pip.ini
    .condarc nuget.config gradle.properties settings.xml auth.json .docker/config.json
    config.docker.json .cargo/config.toml .cargo/config .bundle/config .aws/config .mcp.json
    mcp.json *.mcp.json mcp_settings.json .claude.json claude_desktop_config.json opencode.json*
    .claude/settings*.json .codex/config.toml .gemini/settings.json .continue/config.*
    .aider.conf.yml .pi/agent/*.json *.tfvars *.tfvars.json local.settings.json secrets.y*ml
    secrets.json secrets.toml secrets.ini secrets.properties secrets.xml secrets.conf
    credentials.json credentials.y*ml credentials.toml credentials.ini credentials.xml
    credentials.properties token.json client_secret*.json *service*account*.json
    ngrok.yml .gitconfig .hgrc .curlrc .wgetrc .renviron
    wpa_supplicant.conf .mongorc.js .muttrc .flaskenv wp-config.php"""
#: Meant to be shared. The key that Android signs every debug build with has a published password.
EXAMPLES: Final = re.compile(
    r".*[._-](?:example|sample|template|dist|tmpl|tpl|skeleton|schema)s?"
    r"|(?:.*[._-])?(?:example|sample|template)s?\.env"
    r"|debug\.keystore",
    re.DOTALL,
)
#: What editors, package managers and careful people make of a name (vi, Emacs, Kate, nano, dpkg).
_COPY_ENDS: Final = re.compile(
    r"(?:~\d{0,3}~?|\.(?:bak|backup|bkp|orig|old|prev|save|saved|copy|tmp|temp|rej|sw[a-px]|un~|"
    r"kate-swp|dpkg-(?:old|dist|new)|rpm(?:save|new|orig)|ucf-(?:old|dist)|disabled|local)\d{0,3}|"
    r"[-_.](?:bak|backup|old|orig|copy)\d{0,3}|[-_ .]{0,2}copy(?: \d{1,3})?| \(\d{1,3}\)|\.\d{1,3}|"
    r"[-.]\d{4}-?\d\d-?\d\d)\Z"
)
_COPY_STARTS: Final = re.compile(r"\A(?:copy of |backup of |\.?#|\.~lock\.)")
_MOST_LAYERS: Final = 3


class _Forms:
    """Names and ends of paths to compare with, and what each stands for."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        listed = [(form, kind) for kind, forms in kinds.items() for form in forms.split()]
        plain = {form: kind for form, kind in listed if not {"/", "*"} & {*form}}
        globs = [form for form, _ in listed if "/" not in form and form not in plain]
        paths = [form for form, _ in listed if "/" in form]
        self._kinds = dict(listed)
        self._plain = plain
        self._globs = globs
        any_glob = "|".join(map(translate, globs))
        self._any_glob = re.compile(any_glob)
        self._paths = paths
        self._folders = {form.split("/")[0] for form in paths}
        self.kind_of_name = functools.lru_cache(maxsize=1 << 14)(self._kind_of_name)

    def kind(self, path: str) -> str | None:
        folders = path.split("/")
        name = folders.pop()
        kind = self.kind_of_name(name)
        if kind or self._folders.isdisjoint(folders):
            return kind
        ends = {"/".join([*folders[at:], spelling]) for spelling in _originals(name)
                for at, folder in enumerate(folders) if folder in self._folders}  # fmt: skip
        matches = (form for form in self._paths for end in ends if fnmatchcase(end, form))
        return self._kinds.get(next(matches, ""))

    def _kind_of_name(self, name: str) -> str | None:
        for spelling in _originals(name):
            if spelling in self._plain:
                return self._plain[spelling]
            if self._any_glob.match(spelling):
                form = next(form for form in self._globs if fnmatchcase(spelling, form))
                return self._kinds[form]
        return None


_NAMES: Final = _Forms(NAMES)
_STORES: Final = _Forms({"configuration": STORES})


def by_name(path: bytes, *, tracked: bool) -> str | None:
    """What a file of this name is, when no image may hold it. What git tracks may be an example."""
    text = path.decode(errors="replace").lower()
    kind = _NAMES.kind(text)
    if kind and tracked and _is_example(text.rpartition("/")[2]):
        return None
    return kind


def is_store(path: bytes) -> bool:
    """Whether a file of this name is configuration that may hold credentials."""
    return _STORES.kind(path.decode(errors="replace").lower()) is not None


def _is_example(name: str) -> bool:
    return any(EXAMPLES.fullmatch(spelling) for spelling in _originals(name))


def _originals(name: str) -> list[str]:
    """The name, and what it is a copy of.

    >>> _originals("#id_rsa.bak#")
    ['#id_rsa.bak#', 'id_rsa.bak', 'id_rsa']
    """
    names = [name]
    for _ in range(_MOST_LAYERS):
        inner = _COPY_STARTS.sub("", names[-1]).removesuffix("#")
        inner = _COPY_ENDS.sub("", inner) if inner == names[-1] else inner
        if inner in {names[-1], ""}:
            break
        names.append(inner)
    # vi's swap file of x is .x.swp.
    hidden = [inner[1:] for inner in names[1:] if name.startswith(".") and len(inner) > 1]
    return [*names, *hidden]
