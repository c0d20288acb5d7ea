"""The settings as frozen values; one class a section.

Built by `loading`, read by `app` and `cli`. Names, types and defaults stand in `config/settings.schema.json`, which a
test holds against these classes; so nothing here has a default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

ALIASES: Mapping[str, str] = {"chatgpt": "openai", "claude": "anthropic"}
"""Other names of bundled providers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait for a model, in seconds."""

    connect_s: float
    first_token_s: float
    between_tokens_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """Names replaced before a text goes to a vendor."""

    enabled: bool
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Settings of one provider."""

    model: str | None
    base_url: str | None
    api_key: SecretStr | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Llm:
    """Which language model is asked, if any."""

    provider: str
    model: str | None
    default_models: Mapping[str, str]
    base_url: str | None
    openai_api_key: SecretStr | None
    anthropic_api_key: SecretStr | None
    fallback: tuple[str, ...]
    providers: Mapping[str, Provider]
    temperature: float | None
    max_tokens: int
    retries: int
    timeouts: Timeouts
    script: Path | None
    masking: Masking

    @property
    def chain(self) -> tuple[str, ...]:
        """The chosen provider and its fallbacks, each once, in the order they are asked."""
        return tuple(dict.fromkeys([self.provider, *self.fallback]))

    def of(self, name: str) -> Provider:
        """What counts for one provider.

        `model` belongs to the chosen provider, others have their default. `base_url` belongs to `local` where that is
        in the chain, otherwise to the chosen provider. The entry in `providers` goes before both.
        """
        own = self.providers.get(name)
        keys = {"openai": self.openai_api_key, "anthropic": self.anthropic_api_key}
        addressed = "local" if "local" in self.chain else self.provider
        return Provider(
            model=(own and own.model)
            or (self.model if name == self.provider else None)
            or self.default_models.get(name),
            base_url=(own and own.base_url) or (self.base_url if name == addressed else None),
            api_key=(own and own.api_key) or keys.get(name),
        )

    @property
    def notice(self) -> str | None:
        """How to switch a model on whose key is there while `provider` is offline; None if there is nothing to say."""
        found = [name for name in ("openai", "anthropic") if self.of(name).api_key]
        if self.provider != "offline" or not found:
            return None
        names = " and ".join(found)
        return f"A key for {names} is set but nothing is sent out; LLMCORE_LLM__PROVIDER={found[0]} switches it on."


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where everything durable is kept."""

    url: SecretStr
    """An SQLAlchemy URL; secret because it may hold a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """How runs find a node that works them."""

    kind: Literal["auto", "local", "procrastinate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """This process among the nodes that share a store."""

    lease_s: float
    """How long others leave its runs alone when it is not heard of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """Messages to and from other services."""

    url: SecretStr
    prefix: str
    keys: Mapping[str, SecretStr]
    """Publisher name -> the secret it signs with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A service and how it is controlled."""

    unit: str | None
    start: tuple[str, ...] | None
    stop: tuple[str, ...] | None
    restart: tuple[str, ...] | None
    status: tuple[str, ...] | None
    scale: tuple[str, ...] | None
    replicas: tuple[str, ...] | None
    attributes: Mapping[str, str | bool | int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What of this machine the bundled intents may touch."""

    roots: tuple[Path, ...]
    scripts: Path | None
    logs: Mapping[str, Path]
    targets: Mapping[str, Target]


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramBot:
    """One bot and the chats it writes to."""

    token: SecretStr | None
    chat_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Where messages may be sent."""

    telegram_bots: Mapping[str, TelegramBot]
    allowed_hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Encryption; both or none."""

    cert: Path | None
    key: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The web server."""

    host: str
    port: int
    origins: tuple[str, ...]
    frame_ancestors: tuple[str, ...]
    webhook_token: SecretStr | None
    rate_limit: int
    """Requests a second and user; 0: no limit."""
    max_sockets: int
    access_ttl_s: int
    refresh_ttl_s: int
    tls: Tls


@dataclass(frozen=True, slots=True, kw_only=True)
class Packs:
    """Packs of the user's own."""

    path: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSettings:
    """Templates of the user's own."""

    path: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Who may do what; no file: the default policy."""

    file: Path | None
    timezone: str
    """IANA name of the zone in which hours and days of rules are meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettings:
    """Plans that wait for a person."""

    expires_s: float
    execute_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """What is kept to look back at."""

    recordings_days: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds against overload, in bytes and levels."""

    frame_bytes: int
    json_depth: int
    client_buffer_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Host statistics on `/stats`."""

    interval_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The program's own log."""

    level: Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one process."""

    data_dir: Path
    admin_password: SecretStr | None
    llm: Llm
    store: StoreSettings
    queue: QueueSettings
    node: NodeSettings
    bus: BusSettings
    system: System
    notify: Notify
    server: Server
    packs: Packs
    templates: TemplateSettings
    policy: PolicySettings
    approval: ApprovalSettings
    audit: AuditSettings
    limits: Limits
    stats: Stats
    log: Log
