"""``qfedfm kme``: key managers by ETSI GS QKD 014, and their client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qfedfm.qkd.kme.client import KmeClient

app = typer.Typer(help="Serve and fetch keys by ETSI GS QKD 014.", no_args_is_help=True)

_Url = Annotated[str, typer.Option("--kme", metavar="URL", help="The key manager, https://host:port.")]
_Certificate = Annotated[Path, typer.Option(help="Your certificate (PEM).")]
_Key = Annotated[Path, typer.Option(help="Its private key (PEM).")]
_Authority = Annotated[Path, typer.Option("--ca", help="Certificate of the key manager's authority (PEM).")]


@app.command(short_help="Make certificates and settings for a trial.")
def certificates(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write them.")],
    managers: Annotated[
        list[str] | None,
        typer.Option("--kme", metavar="NAME=SAE,…", help="A key manager and its applications; at least two of these."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address of the key managers.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65000, help="Port of the first; the others follow.")] = 8443,
) -> None:
    """Make an authority, certificates, master keys and settings (default: kme-a=sae-a and kme-b=sae-b)."""
    from qfedfm.qkd.extra import qkd

    qkd("cryptography")
    from qfedfm.core.errors import ConfigError
    from qfedfm.qkd.kme.certificates import trial

    places: dict[str, list[str]] = {}
    for text in managers or ["kme-a=sae-a", "kme-b=sae-b"]:
        name, equals, saes = text.partition("=")
        if not equals or name in places:
            raise ConfigError(f"--kme {text!r}", "NAME=SAE,SAE,… with a name of its own, such as kme-a=sae-a")
        places[name] = saes.split(",")
    written = trial(folder, places, host, port)
    typer.echo(f"Serve with: qfedfm kme serve {' '.join(map(str, written))}")


@app.command(short_help="Serve keys.")
def serve(
    settings: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Settings of one or several key managers.")],
) -> None:
    """Serve keys until Ctrl-C, over links that are simulated: every key says so."""
    from qfedfm.qkd.extra import qkd

    qkd("aiohttp")
    qkd("cryptography")
    import asyncio

    from qfedfm.qkd.kme.serve import serve as run
    from qfedfm.qkd.kme.settings import Settings

    asyncio.run(run([Settings.load(path) for path in settings], typer.echo))


@app.command(short_help="Say how many keys there are.")
def status(
    slave: Annotated[str, typer.Argument(metavar="SAE", help="The application to share keys with.")],
    kme: _Url,
    certificate: _Certificate,
    key: _Key,
    ca: _Authority,
) -> None:
    """Print the status of the link to another application's key manager, as JSON."""
    typer.echo(_client(kme, certificate, key, ca).status(slave).model_dump_json(indent=1, exclude_none=True))


@app.command(short_help="Fetch keys.")
def get(
    peer: Annotated[str, typer.Argument(metavar="SAE", help="The application to share keys with.")],
    kme: _Url,
    certificate: _Certificate,
    key: _Key,
    ca: _Authority,
    out: Annotated[Path, typer.Option(help="A new file for the keys, of mode 600.")],
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="A key that the other one has started.")
    ] = None,
    number: Annotated[int | None, typer.Option(min=1, help="How many new keys.")] = None,
    size: Annotated[int | None, typer.Option(min=8, help="Bits of each.")] = None,
) -> None:
    """Fetch new keys, or those whose ids the other application has sent; print their ids."""
    from qfedfm.core.errors import ConfigError, QfedfmError
    from qfedfm.qkd.vault import write_private

    if ids and (number is not None or size is not None):
        raise ConfigError("--id with --number or --size", "one or the other: a key that is there has its size")
    found = _client(kme, certificate, key, ca)
    write_private(out, b"")  # before a key is used up for a file that cannot be written
    try:
        keys = found.dec_keys(peer, ids) if ids else found.enc_keys(peer, number, size)
    except QfedfmError:
        out.unlink()  # empty, so that the next try may have its name
        raise
    out.write_text(keys.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8")
    for each in keys.keys:
        typer.echo(str(each.key_ID))


def _client(url: str, certificate: Path, key: Path, ca: Path) -> KmeClient:
    from qfedfm.qkd.extra import qkd

    qkd("cryptography")
    from qfedfm.qkd.kme.client import client

    return client(url, certificate, key, ca)
