"""From the settings to the small options of each room.

Used by `app.build` only: rooms never read settings themselves.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import yaml
from pydantic import SecretStr

from llmcore.accounts import AccountOptions
from llmcore.adapters import host as machine
from llmcore.catalog import Catalog, CatalogError
from llmcore.providers import LLMOptions, ProviderSettings, Retry, Timeouts
from llmcore.server import ServerOptions
from llmcore.session import RecordingOptions
from llmcore.settings import Settings, Target
from llmcore.templates import Template, bundled_template


def config_folder() -> Path:
    """Where the default settings and policy are."""
    return Path(str(files("llmcore.config")))


def static_folder() -> Path:
    """Where the dashboard's files are."""
    return Path(str(files("llmcore.static")))


def runbooks() -> list[dict[str, Any]]:
    """The bundled runbooks."""
    text = (config_folder() / "runbooks.yaml").read_text("utf-8")
    return list(yaml.safe_load(text)["runbooks"])


def templates(settings: Settings, catalog: Catalog) -> list[Template]:
    """The bundled templates that this host has the intents for, and those of the operator; raises CatalogError."""
    found = [_template(file, catalog, needed=False) for file in sorted((config_folder() / "templates").glob("*.yaml"))]
    known = {template.name: template for template in found if template}
    seen: set[str] = set()
    for file in _files(settings.templates.path):
        own = _template(file, catalog, needed=True)
        if own and own.name in seen:
            raise CatalogError(str(file), "name", f"{own.name} is the name of another template; choose another")
        if own:
            seen.add(own.name)
            known[own.name] = own
    return list(known.values())


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    """Templates of the operator, which may replace bundled ones."""
    for folder in folders:
        if not folder.is_dir():
            raise CatalogError(str(folder), "templates.path", "is no folder; correct LLMCORE_TEMPLATES__PATH")
        yield from sorted(folder.glob("*.y*ml"))


def _template(file: Path, catalog: Catalog, *, needed: bool) -> Template | None:
    try:
        data = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as unreadable:
        raise CatalogError(str(file), "template", f"cannot be read: {' '.join(str(unreadable).split())}") from None
    return bundled_template(data, str(file), catalog, needed=needed)


def revealed(secret: SecretStr | None) -> str | None:
    """The text of a secret, for the one place that needs it."""
    return secret.get_secret_value() if secret else None


def store_url(settings: Settings) -> str:
    """The address of the store."""
    return settings.store.url.get_secret_value()


def secrets(settings: Settings) -> Iterator[str]:
    """Every secret that may never be seen in any output."""
    llm = settings.llm
    found = [llm.openai_api_key, llm.anthropic_api_key, settings.admin_password, settings.server.webhook_token]
    found += [provider.api_key for provider in llm.providers.values()]
    found += list(settings.bus.keys.values())
    found += [bot.token for bot in settings.notify.telegram_bots.values()]
    yield from (text for secret in found if secret and (text := secret.get_secret_value()))
    addresses = (settings.store.url, settings.bus.url)
    yield from (password for url in addresses if (password := urlsplit(url.get_secret_value()).password))
    for url in (settings.store.url, settings.bus.url):
        if password := urlsplit(url.get_secret_value()).password:
            yield from {password, unquote(password)}


def attributes(settings: Settings) -> Callable[[str], Mapping[str, Any]]:
    """What policy may know of a target."""
    targets = settings.system.targets

    def of(name: str) -> Mapping[str, Any]:
        entry = machine.entry_of(name, targets)
        return targets[entry].attributes if entry else {}

    return of


def zone(settings: Settings) -> tzinfo:
    """Where the hours and days of rules are meant."""
    return UTC if settings.policy.timezone == "UTC" else ZoneInfo(settings.policy.timezone)


def llm(settings: Settings) -> LLMOptions:
    """The models that are switched on."""
    told = settings.llm
    names = {*told.chain, *told.providers}
    return LLMOptions(
        provider=told.provider,
        fallback=told.fallback,
        also=tuple(name for name in told.providers if name not in told.chain),
        providers={
            name: ProviderSettings(model=one.model, base_url=one.base_url, api_key=one.api_key)
            for name, one in ((name, told.of(name)) for name in names)
        },
        temperature=told.temperature,
        max_tokens=told.max_tokens,
        timeouts=Timeouts(
            connect_s=told.timeouts.connect_s,
            first_token_s=told.timeouts.first_token_s,
            between_tokens_s=told.timeouts.between_tokens_s,
        ),
        retry=Retry(attempts=told.retries + 1),
        script=str(told.script) if told.script else None,
    )


def server(settings: Settings) -> ServerOptions:
    """How the server listens."""
    told = settings.server
    return ServerOptions(
        host=told.host,
        port=told.port,
        origins=told.origins,
        tls_cert=told.tls.cert,
        tls_key=told.tls.key,
        webhook_token=told.webhook_token,
        static_root=static_folder(),
        frame_ancestors=told.frame_ancestors or ("'none'",),
        rate_limit=float(told.rate_limit),
        max_sockets=told.max_sockets,
        max_frame_bytes=settings.limits.frame_bytes,
        max_json_depth=settings.limits.json_depth,
        queue_bytes=settings.limits.client_buffer_bytes,
    )


def recordings(settings: Settings) -> RecordingOptions:
    """How long it is kept how requests were understood."""
    return RecordingOptions(days=settings.audit.recordings_days)


def accounts(settings: Settings) -> AccountOptions:
    """How long tokens live."""
    times = settings.server
    return AccountOptions(access_s=int(times.access_ttl_s), refresh_s=int(times.refresh_ttl_s))


def host(settings: Settings, scarce: Callable[[], bool] = lambda: False) -> machine.HostOptions:
    """What of this machine the bundled intents may touch; `scarce` is true while the disk is full."""
    told, folder = settings.system, settings.data_dir
    return machine.HostOptions(
        files=machine.FilesOptions(
            roots=tuple(map(str, told.roots)), trash=folder / "trash", private=(str(folder),), scarce=scarce
        ),
        logs=machine.LogsOptions(logs={name: str(path) for name, path in told.logs.items()}),
        targets=machine.TargetsOptions(
            targets={name: _target(one) for name, one in told.targets.items()}, output=folder / "targets"
        ),
        scripts=machine.ScriptsOptions(folder=told.scripts),
        notify=machine.NotifyOptions(
            bots={
                name: machine.Bot(token=bot.token, chat_ids=bot.chat_ids)
                for name, bot in settings.notify.telegram_bots.items()
                if bot.token is not None
            },
            allowed_hosts=settings.notify.allowed_hosts,
        ),
    )


def _target(told: Target) -> machine.Target:
    return machine.Target(
        unit=told.unit,
        start=told.start,
        stop=told.stop,
        restart=told.restart,
        status=told.status,
        scale=told.scale,
        replicas=told.replicas,
        attributes=told.attributes,
    )
