"""Keys and tokens of named services, by the forms that these gave them so that they can be recognised."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from itertools import pairwise

from ftsdk.data.privacy.kind import Check, Gate, Kind

__all__ = ["CREDENTIALS"]

_GITLEAKS = "https://github.com/gitleaks/gitleaks/blob/master/config/gitleaks.toml"
_FEWEST_CHARACTERS = 8
"""Distinct characters of a real key; `sk-xxxxxxxxxxxxxxxxxxxx` in a manual has fewer."""
_FEWEST_CASE_CHANGES = 6
"""Changes between capitals and small letters in a key without digits; half as many do where there are digits."""


def _varied(text: str, start: int, end: int) -> int:
    """Accept what has many different characters."""
    return end if len(set(text[start:end])) >= _FEWEST_CHARACTERS else start


def _random(text: str, start: int, end: int) -> int:
    """Accept what looks drawn at random: many characters behind the prefix, not letters of one case alone."""
    body = re.split("[-_]", text[start:end], maxsplit=1)[-1]
    is_mixed = any(map(str.isdigit, body)) or not (body.islower() or body.isupper())
    return end if len(set(body)) >= _FEWEST_CHARACTERS and is_mixed else start


def _drawn(text: str, start: int, end: int) -> int:
    """Accept a key behind a short prefix, where words may follow too: cases change as often as in no name."""
    body = text[start:end]
    changes = sum(one.isupper() != other.isupper() for one, other in pairwise(filter(str.isalpha, body)))
    has_digits = any(map(str.isdigit, body))
    return end if changes >= (_FEWEST_CASE_CHANGES // 2 if has_digits else _FEWEST_CASE_CHANGES) else start


def _jwt(text: str, start: int, end: int) -> int:
    """Accept a token whose header is JSON that names an algorithm."""
    head = text[start:end].partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError):
        return start
    return end if isinstance(header, dict) and "alg" in header else start


def _private_key(text: str, start: int, end: int) -> int:
    """Accept a key with its content; a heading alone is documentation."""
    lines = text[start:end].split("-----")
    return end if len(set(lines[2])) >= 2 * _FEWEST_CHARACTERS else start


def _kind(
    name: str,
    pattern: str,
    needs: Sequence[str],
    *,
    source: str = _GITLEAKS,
    check: Check = _random,
    gate: Gate = "token",
    flags: re.RegexFlag = re.NOFLAG,
) -> Kind:
    return Kind(
        name=name,
        placeholder=name.upper(),
        gate=gate,
        pattern=re.compile(pattern, re.ASCII | flags),
        needs=tuple(needs),
        check=check,
        source=source,
    )


_START = r"(?<![A-Za-z0-9_-])"
_END = r"(?![A-Za-z0-9])"

CREDENTIALS: tuple[Kind, ...] = (
    _kind(
        "private_key",
        r"-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:[^-]|-(?!----)){0,20000}+-----END[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"|(?:(?:\s|\\[nr])*+[A-Za-z0-9+/=]{16,200}+){1,400}+)",
        ["PRIVATE KEY"],
        source="https://www.rfc-editor.org/rfc/rfc7468#section-10",
        check=_private_key,
        gate="begin",
    ),
    _kind(
        "aws_access_key",
        rf"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{{16}}{_END}",
        ["AKIA", "ASIA", "ABIA", "ACCA"],
        source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html",
        check=_varied,
    ),
    _kind(
        "aws_secret_key",
        r"aws[\w .-]{0,20}(?:secret|access)[\w .-]{0,20}[\"']?\s{0,3}[:=]{1,2}>?\s{0,3}[\"']?"
        r"(?P<value>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        ["aws", "AWS", "Aws"],
        source="https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html",
        check=_drawn,
        flags=re.IGNORECASE,
    ),
    _kind(
        "azure_storage_key",
        r"AccountKey\s{0,2}=\s{0,2}(?P<value>[A-Za-z0-9+/]{86}==)",
        ["AccountKey"],
        source="https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string",
    ),
    _kind("azure_client_secret", rf"(?<![\w~.-])[\w~.-]{{3}}\dQ~[\w~.-]{{31,34}}{_END}", ["Q~"], check=_drawn),
    _kind(
        "github_token",
        rf"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{{36,255}}|github_pat_[A-Za-z0-9]{{22}}_[A-Za-z0-9]{{59}}){_END}",
        ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        source="https://docs.github.com/authentication/keeping-your-account-and-data-secure/about-authentication-to-github",
    ),
    _kind(
        "gitlab_token",
        rf"{_START}(?:gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas|ffct)-[\w-]{{20,320}}+"
        rf"(?:\.[0-9a-z]{{2}}\.?[0-9a-z]{{7}})?"
        rf"|GR1348941[\w-]{{20,50}}){_END}",
        (
            "glpat-",
            "gldt-",
            "glft-",
            "glsoat-",
            "glrt-",
            "glcbt-",
            "glimt-",
            "glptt-",
            "glagent-",
            "gloas-",
            "glffct",
            "GR",
        ),
        source="https://docs.gitlab.com/security/tokens/#token-prefixes",
    ),
    _kind(
        "anthropic_key",
        rf"{_START}sk-ant-[a-z]{{2,8}}[0-9]{{2}}-[\w-]{{20,200}}{_END}",
        ["sk-ant-"],
        source="https://docs.anthropic.com/en/api/admin-api/apikeys/get-api-key",
    ),
    _kind("openrouter_key", rf"{_START}sk-or-v1-[0-9a-f]{{64}}{_END}", ["sk-or-"]),
    _kind(
        "openai_key",
        rf"{_START}sk-(?:(?:proj|svcacct|admin|None)-[\w-]{{20,250}}|[A-Za-z0-9]{{32,64}}){_END}",
        ["sk-"],
    ),
    _kind(
        "huggingface_token",
        rf"{_START}(?:hf_[A-Za-z0-9]{{30,60}}|api_org_[A-Za-z0-9]{{30,60}}){_END}",
        ["hf_", "api_org_"],
        source="https://huggingface.co/docs/hub/security-tokens",
    ),
    _kind(
        "together_key",
        rf"{_START}tgp_v1_[\w-]{{40,60}}{_END}|together[\w .-]{{0,20}}(?:key|token)[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"']?"
        r"(?P<value>[0-9a-fA-F]{64})(?![0-9a-fA-F])",
        ["tgp_v1_", "together", "TOGETHER", "Together"],
        source="https://docs.together.ai/docs/api-keys-authentication",
        flags=re.IGNORECASE,
    ),
    _kind(
        "modal_token",
        rf"{_START}a[ks]-[A-Za-z0-9]{{20,32}}{_END}",
        ["ak-", "as-"],
        source="https://modal.com/docs/reference/modal.config",
        check=_drawn,
    ),
    _kind(
        "google_key",
        rf"{_START}(?:AIza[\w-]{{35}}|GOCSPX-[\w-]{{28}}|ya29\.[\w-]{{20,2000}})(?![\w-])",
        ["AIza", "GOCSPX-", "ya29."],
        source="https://cloud.google.com/docs/authentication/api-keys",
    ),
    _kind(
        "slack_token",
        rf"{_START}(?:xox[abeoprs](?:\.xox[bp])?-[0-9A-Za-z-]{{10,250}}|xapp-\d-[0-9A-Za-z]{{5,20}}-\d{{5,20}}-[0-9a-z]{{20,100}}){_END}"
        r"|(?P<value>(?<=hooks\.slack\.com/services/)T\w{5,15}/B\w{5,15}/\w{20,30})",
        ["xox", "xapp-", "hooks.slack.com"],
        source="https://api.slack.com/authentication/token-types",
    ),
    _kind(
        "stripe_key",
        rf"{_START}(?:[rs]k_(?:live|test|prod)_[A-Za-z0-9]{{16,250}}|whsec_[A-Za-z0-9+/]{{32,64}}){_END}",
        ["k_live_", "k_test_", "k_prod_", "whsec_"],
        source="https://docs.stripe.com/keys",
    ),
    _kind(
        "jwt",
        r"(?<![\w.-])eyJ[\w-]{10,2000}\.eyJ[\w-]{6,8000}\.[\w-]{10,2000}(?![\w-])",
        ["eyJ"],
        source="https://www.rfc-editor.org/rfc/rfc7519",
        check=_jwt,
    ),
    _kind("npm_token", rf"{_START}npm_[A-Za-z0-9]{{36}}{_END}", ["npm_"]),
    _kind(
        "pypi_token",
        rf"{_START}pypi-AgE[\w-]{{40,1000}}",
        ["pypi-AgE"],
        source="https://docs.github.com/en/code-security/secret-scanning/introduction/supported-secret-scanning-patterns",
    ),
    _kind("sendgrid_key", rf"{_START}SG\.[\w-]{{22}}\.[\w-]{{43}}(?![\w-])", ["SG."]),
    _kind(
        "twilio_key",
        rf"(?<![A-Za-z0-9])(?:SK|AC)[0-9a-fA-F]{{32}}{_END}",
        ["SK", "AC"],
        source="https://www.twilio.com/docs/glossary/what-is-a-sid",
    ),
    _kind(
        "groq_key",
        rf"{_START}gsk_[A-Za-z0-9]{{40,60}}{_END}",
        ["gsk_"],
        source="https://console.groq.com/docs/quickstart",
    ),
    _kind("xai_key", rf"{_START}xai-[A-Za-z0-9]{{60,90}}{_END}", ["xai-"], source="https://docs.x.ai/docs/tutorial"),
    _kind("perplexity_key", rf"{_START}pplx-[A-Za-z0-9]{{40,56}}{_END}", ["pplx-"]),
    _kind(
        "replicate_token",
        rf"{_START}r8_[A-Za-z0-9]{{37}}{_END}",
        ["r8_"],
        source="https://replicate.com/docs/topics/security/api-tokens",
    ),
    _kind(
        "fireworks_key",
        rf"{_START}fw_[A-Za-z0-9]{{22,32}}{_END}",
        ["fw_"],
        source="https://docs.fireworks.ai/api-reference/introduction",
        check=_drawn,
    ),
    _kind("databricks_token", rf"{_START}dapi[0-9a-f]{{32}}(?:-\d)?{_END}", ["dapi"]),
    _kind("digitalocean_token", rf"{_START}do[opr]_v1_[0-9a-f]{{64}}{_END}", ["_v1_"]),
    _kind("shopify_token", rf"{_START}shp(?:at|ca|pa|ss)_[0-9a-fA-F]{{32}}{_END}", ["shp"]),
    _kind(
        "telegram_token",
        r"(?<![\w-])\d{8,10}:AA[\w-]{33}(?![\w-])",
        [":AA"],
        source="https://core.telegram.org/bots/features#botfather",
    ),
)
"""The more specific ones first."""
